package millstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/runtime/statedir"
)

// Config says how an App runs. ApplicationID and Brokers have to be set; everything else has a
// default:
//
//	field               default
//	StateDir            <user cache directory>/millstream
//	Workers             GOMAXPROCS
//	Guarantee           AtLeastOnce
//	CommitInterval      100ms
//	SessionTimeout      10s
//	HeartbeatInterval   3s, at most a third of SessionTimeout
//	RebalanceTimeout    60s
//	MaxProcessingTime   5m
//	StopTimeout         30s
//	MemoryBudget        64 MB
//	Standbys            0
//	AcceptableLag       10000
//	Tags, StandbyTags   none
//	MaxTaskIdle         0: wait for what is on the broker, no longer
//	ReplicationFactor   -1: the broker's default
//	TopicConfig         none beyond what each kind of topic needs
//	ClientID            ApplicationID
//	InstanceID          none: the group is left when the App stops
//	Rack                none
//	Compression         none
//	TLS, SASL           off
//	Dialer              net.Dialer
//	Logger              slog.Default()
//	Events              none
//	OnDecodeError       failure.Stop()
//	OnProcessError      failure.Stop()
//	OnProduceError      failure.Stop()
//	OnTaskError         failure.StopApp()
type Config struct {
	// ApplicationID is the name of the consumer group, the prefix of all internal topics, and the name
	// of the state directory. The instances of one service share it. It may have letters, digits, '.',
	// '_' and '-'.
	ApplicationID string
	// Brokers are some of the cluster's brokers, as host:port. The others are learnt from them.
	Brokers []string

	// StateDir is the directory for the stores, which are in <StateDir>/<ApplicationID>. One process
	// at a time can use that. An App that finds its state there restores only what its changelogs have
	// gained since. A path that begins with "~" is refused: only a shell expands it. Run returns an
	// error when other users (outside the directory's group) can write to the application's directory,
	// or one of them owns it (root accepts every owner), and warns when they can read it.
	StateDir string
	// Workers is the number of goroutines that process records. A task, which is one partition of one
	// sub-topology, runs on one.
	Workers int
	// Guarantee is how often each record counts when processes, sessions or connections fail: at least
	// once, or exactly once. docs/guarantees.md has the details.
	Guarantee Guarantee
	// CommitInterval is how often progress is committed under load. After a crash, what was processed
	// since is processed again. With ExactlyOnce it is 5 s at most, since a transaction must not last long.
	CommitInterval time.Duration
	// SessionTimeout is how long the group waits for a heartbeat before it assigns this App's tasks to
	// others. Brokers accept what is between their settings group.min.session.timeout.ms (6 s by default)
	// and group.max.session.timeout.ms (30 minutes); with another value Run returns an error.
	SessionTimeout time.Duration
	// HeartbeatInterval is the time between two heartbeats. At most a third of SessionTimeout is
	// sensible.
	HeartbeatInterval time.Duration
	// RebalanceTimeout is how long a rebalance waits for a member to settle the tasks that are
	// revoked, and to join again.
	RebalanceTimeout time.Duration
	// MaxProcessingTime is how long a call of a user's function may take with one record, retries
	// within it included, or one of Events or of failure.DecideTask. After that the App leaves its group at once, so that
	// others may run the tasks, and stops with an error that names the step and the record.
	MaxProcessingTime time.Duration
	// StopTimeout bounds the end of Run: settling what is processed, closing the stores, leaving the
	// group. What is not settled by then is processed again after the next start.
	StopTimeout time.Duration
	// MemoryBudget is how much memory all stores together may use for rows, in bytes. One compressed
	// batch of records that a producer has written may take as much, and at least 128 MiB, when it is
	// decompressed. A larger one is not read, and OnDecodeError, or the policy of its topic, decides
	// about its records. While stores are scanned through App.OpenStore, rows that are kept for the scans
	// may take as much, once more. Not counted is what leads to rows in files, 16 bytes for each page of
	// 16 KiB: 14 MB for 100 million rows of 100 bytes.
	MemoryBudget int64
	// Standbys is how many copies of the stores of each task other members keep up to date: on other state directories,
	// in other racks where there are any (Rack), and in other zones, clusters and the like (StandbyTags).
	// When a member dies, whoever has a standby of a task goes on with it, and restores only what the standby had not
	// read yet. Each copy takes as much disk and network as the original. All members of a group should have the same
	// number; that of the leader counts.
	Standbys int
	// AcceptableLag is how many changelog records a member may be behind, over all stores of a task, that the task
	// moves to for the sake of balance. Until then the task stays where it runs, and the member warms up: it has a
	// standby. Two tasks of a group do that at a time. 1 is the least: tasks move when there is next to nothing to
	// restore. The setting of the leader counts. docs/standbys.md has the details.
	AcceptableLag int64
	// Tags say where the App runs, beside Rack: "zone": "eu-central-1a", "cluster": "k8s-2". There may be 5, with keys of
	// 20 and values of 30 characters, since the members of a group send them to its leader in each rebalance. They are
	// those of this App alone, and may be different in each.
	Tags map[string]string
	// StandbyTags are the keys of Tags that standbys are spread by: a standby is on a member that differs from its
	// task, and from the task's other standbys, in as many of them as possible, and in its rack. Which of them differ
	// does not matter. Where two members differ in as many, it is on the one that has it, and else on the one that has
	// fewer. The setting of the leader counts. A member that has no tag of a key differs in it from those that have.
	StandbyTags []string
	// MaxTaskIdle is how long a task that merges topics by time waits for a topic that it has read to
	// the end. Negative: it does not even wait for records that are known to be on the broker.
	MaxTaskIdle time.Duration

	// ReplicationFactor is that of the internal topics which the App creates.
	ReplicationFactor int
	// TopicConfig is added to the configuration of the internal topics which the App creates, and wins
	// over the library's.
	TopicConfig map[string]string

	// ClientID is the name that brokers log, and to which quotas apply.
	ClientID string
	// Rack names where the App runs. Brokers that select replicas by rack let it read from one there, and standbys
	// are in another rack than their task. Tags are for all else that machines have in common.
	Rack string
	// InstanceID makes the App a static member of its group (KIP-345, Kafka's group.instance.id): a name
	// that stays the same when the process is started again, as that of a pod of a StatefulSet, and that
	// no other process of the group has at the same time. The App does not leave the group when it stops.
	// Until SessionTimeout has passed nobody else gets its tasks, and if it is started again by then, with
	// the same id, it has them at once. So SessionTimeout should be longer than a restart takes; tasks of a
	// process that does not come back stand still for as long. It may have the characters of an
	// ApplicationID.
	//
	// When another process joins with the same id, this one has lost its tasks: Run returns an error.
	InstanceID string
	// Compression of everything that is written: "none", "gzip", "snappy", "lz4" or "zstd".
	Compression string
	// TLS switches encryption on.
	TLS *tls.Config
	// SASL switches authentication on.
	SASL *SASL
	// Dialer opens the connections, for proxies and tests.
	Dialer func(ctx context.Context, network, address string) (net.Conn, error)

	// Logger gets what an operator should know, each line with the application's id. At level Info
	// that is the App's states, its tasks and topics, how far a restore is every five seconds, and a
	// summary every minute; at Warn and Error it is what needs somebody's attention. Errors that Run
	// returns are not logged besides. slog.New(slog.DiscardHandler) is silent; a handler with the
	// level Warn leaves out what is as it should be.
	Logger *slog.Logger
	// Events are functions that are called when something happens.
	Events Events

	// OnDecodeError decides about a record that a serde cannot decode, unless its topic has a policy
	// of its own. For a batch of records that cannot be read it is asked once: a dead letter has no
	// key and no value then.
	OnDecodeError failure.Policy
	// OnProcessError decides about a record when a user's function returns an error, unless the step
	// has a policy of its own.
	OnProcessError failure.Policy
	// OnProduceError decides about a record that cannot be encoded for a topic or the store of a table
	// or a join, or that a broker refuses permanently.
	OnProduceError failure.Policy
	// OnTaskError decides what happens when a task has failed, because one of the policies above has
	// decided to stop, a user's function or a serde has panicked, or a store of the task returned an
	// error: the App stops, or the task is restarted while the others go on (with ExactlyOnce those of
	// the same worker begin again, too, at their last commit). What concerns more than a task always
	// stops the App: an input that cannot be read, a topic that is missing, a commit that is refused
	// for good, a function that does not return. App.Ready returns an error while a task waits, and until it has
	// committed or run for 10 s after that.
	OnTaskError failure.TaskPolicy
}

// Guarantee is how often each record counts: in the stores, and in the topics that the application writes.
type Guarantee int

const (
	// AtLeastOnce: each record counts at least once. After a crash, or when a member of the group has lost its session,
	// what was processed since the last commit is processed again, and counts twice where results add up.
	AtLeastOnce Guarantee = iota
	// ExactlyOnce: each record counts once, whatever fails. Commits are transactions (KIP-98, KIP-447): readers with
	// isolation.level=read_committed, as all inputs of Apps are, see the results of a transaction when it has ended, all
	// of them or none. So results appear as late as the next commit; each internal topic on the way adds another. A
	// process that dies and does not come back holds up readers of what it wrote until its session has ended: then
	// another member aborts what it has left open. Functions of the user may still be called twice with a record; what
	// they do elsewhere is theirs.
	//
	// It needs the right to write with transactional ids that begin with the ApplicationID (ACL: Write and Describe on
	// the prefix), and as many brokers as their setting transaction.state.log.replication.factor says. All members of
	// the group should have the same guarantee; it holds from when the last one with AtLeastOnce has stopped.
	ExactlyOnce
)

// String returns the name of the guarantee.
func (g Guarantee) String() string {
	switch g {
	case AtLeastOnce:
		return "AtLeastOnce"
	case ExactlyOnce:
		return "ExactlyOnce"
	}
	return fmt.Sprintf("Guarantee(%d)", int(g))
}

const (
	defaultMemory = 64 << 20

	defaultAcceptableLag = 10_000
	minSession           = 100 * time.Millisecond
	maxInstanceID        = 249 // of Kafka's consumers

	// Kafka Streams' limits. Brokers write what all members of a group say as one record.
	maxTags, maxTagKey, maxTagValue = 5, 20, 30
)

// withDefaults returns c with the table of Config's documentation applied.
func (c Config) withDefaults() (Config, error) {
	var err error
	if c.StateDir == "" {
		c.StateDir, err = defaultStateDir()
	}
	defaultTo(&c.Workers, runtime.GOMAXPROCS(0))
	defaultTo(&c.CommitInterval, 100*time.Millisecond)
	defaultTo(&c.SessionTimeout, 10*time.Second)
	defaultTo(&c.HeartbeatInterval, min(3*time.Second, c.SessionTimeout/3))
	defaultTo(&c.RebalanceTimeout, time.Minute)
	defaultTo(&c.MaxProcessingTime, 5*time.Minute)
	defaultTo(&c.StopTimeout, 30*time.Second)
	defaultTo(&c.MemoryBudget, defaultMemory)
	defaultTo(&c.AcceptableLag, defaultAcceptableLag)
	defaultTo(&c.ReplicationFactor, -1)
	defaultTo(&c.ClientID, c.ApplicationID)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, err
}

func defaultTo[T comparable](field *T, v T) {
	var zero T
	if *field == zero {
		*field = v
	}
}

func defaultStateDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("Config.StateDir is not set, and its default, the user's cache directory, is not available: "+
			"%w", err)
	}
	return filepath.Join(dir, "millstream"), nil
}

var (
	legalName    = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)
	compressions = []string{"", "none", "gzip", "snappy", "lz4", "zstd"}
)

// check returns all mistakes of a configuration that has its defaults, each naming the field and
// its value.
func (c Config) check() []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch id := c.ApplicationID; {
	case id == "":
		wrong("Config.ApplicationID is not set")
	case !legalName.MatchString(id) || id == "." || id == "..":
		wrong("Config.ApplicationID is %q: only letters, digits, '.', '_' and '-' may be in it", id)
	case len(id) > 200:
		wrong("Config.ApplicationID has %d characters: internal topic names begin with it, and Kafka allows 249 characters",
			len(id))
	}
	if id := c.InstanceID; id != "" && (!legalName.MatchString(id) || id == "." || id == ".." || len(id) > maxInstanceID) {
		wrong("Config.InstanceID is %q: only letters, digits, '.', '_' and '-' may be in it, %d at most", id, maxInstanceID)
	}
	if len(c.Brokers) == 0 {
		wrong("Config.Brokers is not set")
	}
	for _, b := range c.Brokers {
		_, port, err := net.SplitHostPort(b)
		if err != nil {
			wrong("Config.Brokers has %q, which is not host:port", b)
		} else if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			wrong("Config.Brokers has %q, whose port is not a number from 1 to 65535", b)
		}
	}
	if err := statedir.CheckRoot(c.StateDir); err != nil {
		wrong("Config.StateDir: %w", err)
	}
	if c.Guarantee != AtLeastOnce && c.Guarantee != ExactlyOnce {
		wrong("Config.Guarantee is %v: it must be AtLeastOnce or ExactlyOnce", c.Guarantee)
	}
	errs = append(errs, c.checkTimes()...)
	if c.Workers < 0 {
		wrong("Config.Workers is %d: a number of 1 or more, or 0 for GOMAXPROCS, is needed", c.Workers)
	}
	if c.MemoryBudget < 1<<20 {
		wrong("Config.MemoryBudget is %d bytes: at least 1 MB (%d) is needed", c.MemoryBudget, 1<<20)
	}
	if c.Standbys < 0 {
		wrong("Config.Standbys is %d: a number of 0 or more is needed", c.Standbys)
	}
	if c.AcceptableLag < 0 {
		wrong("Config.AcceptableLag is %d: a number of 1 or more, or 0 for %d, is needed", c.AcceptableLag,
			defaultAcceptableLag)
	}
	errs = append(errs, c.checkTags()...)
	// -1 is the broker's default, and the protocol has 16 bits.
	if c.ReplicationFactor < -1 || c.ReplicationFactor > 1<<15-1 {
		wrong("Config.ReplicationFactor is %d: -1, the broker's default, or a count", c.ReplicationFactor)
	}
	if !slices.Contains(compressions, c.Compression) {
		wrong("Config.Compression is %q, not one of %s", c.Compression, strings.Join(compressions[1:], ", "))
	}
	return append(errs, c.SASL.check()...)
}

// checkTags returns the mistakes of Tags and StandbyTags.
func (c Config) checkTags() []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Tags) > maxTags {
		wrong("Config.Tags has %d tags: %d at most are possible", len(c.Tags), maxTags)
	}
	for _, key := range slices.Sorted(maps.Keys(c.Tags)) {
		switch n := utf8.RuneCountInString(key); {
		case n == 0:
			wrong("Config.Tags has the empty key")
		case n > maxTagKey:
			wrong("Config.Tags has a key of %d characters, %q: %d at most are possible", n, key, maxTagKey)
		}
		switch n := utf8.RuneCountInString(c.Tags[key]); {
		case n == 0:
			wrong("Config.Tags[%q] is empty: leave the key out where nothing is known", key)
		case n > maxTagValue:
			wrong("Config.Tags[%q] has %d characters: %d at most are possible", key, n, maxTagValue)
		}
	}
	for i, key := range c.StandbyTags {
		switch _, ok := c.Tags[key]; {
		case slices.Contains(c.StandbyTags[:i], key):
			wrong("Config.StandbyTags has %q twice", key)
		case !ok:
			wrong("Config.StandbyTags has %q, of which Config.Tags has no value", key)
		}
	}
	return errs
}

// The longest durations: one year, so that no sum of some can overflow; and 24 days for those that
// the protocol has as 32 bits of milliseconds.
const (
	maxDuration = 365 * 24 * time.Hour
	maxOnWire   = 24 * 24 * time.Hour
)

func (c Config) checkTimes() []error {
	var errs []error
	for _, setting := range []struct {
		name  string
		value time.Duration
		least time.Duration
		most  time.Duration
	}{
		{"CommitInterval", c.CommitInterval, time.Millisecond, maxDuration},
		{"SessionTimeout", c.SessionTimeout, minSession, maxOnWire},
		{"HeartbeatInterval", c.HeartbeatInterval, minSession / 10, maxDuration},
		{"RebalanceTimeout", c.RebalanceTimeout, minSession, maxOnWire},
		{"MaxProcessingTime", c.MaxProcessingTime, minSession, maxDuration},
		{"StopTimeout", c.StopTimeout, time.Millisecond, maxDuration},
		// Any negative value means that tasks never wait.
		{"MaxTaskIdle", c.MaxTaskIdle, math.MinInt64, maxDuration},
	} {
		if setting.value < setting.least {
			errs = append(errs, fmt.Errorf("Config.%s is %v: at least %v is needed", setting.name, setting.value, setting.least))
		}
		if setting.value > setting.most {
			errs = append(errs, fmt.Errorf("Config.%s is %v: at most %v is possible", setting.name, setting.value, setting.most))
		}
	}
	// A session would end before its first heartbeat.
	if c.HeartbeatInterval >= c.SessionTimeout {
		errs = append(errs, fmt.Errorf("Config.HeartbeatInterval is %v, not less than Config.SessionTimeout, %v",
			c.HeartbeatInterval, c.SessionTimeout))
	}
	return errs
}
