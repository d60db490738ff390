package millstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/millstream-go/millstream/failure"
)

// Config says how an App runs. ApplicationID and Brokers have to be set; everything else has a default:
//
//	field               default
//	StateDir            <user cache directory>/millstream
//	Workers             GOMAXPROCS
//	CommitInterval      100ms
//	SessionTimeout      10s
//	HeartbeatInterval   3s
//	RebalanceTimeout    60s
//	MaxProcessingTime   5m
//	StopTimeout         30s
//	MemoryBudget        64 MB
//	MaxTaskIdle         0: wait for what is on the broker, no longer
//	ReplicationFactor   -1: the broker's default
//	TopicConfig         none beyond what each kind of topic needs
//	ClientID            ApplicationID
//	Rack                none
//	Compression         none
//	TLS, SASL           off
//	Dialer              net.Dialer
//	Logger              slog.Default() from level Warn
//	Events              none
//	OnDecodeError       failure.Stop()
//	OnProcessError      failure.Stop()
//	OnProduceError      failure.Stop()
type Config struct {
	// ApplicationID is the name of the consumer group, the prefix of all internal topics, and the directory of the state: the
	// instances of one service share it. Letters, digits, '.', '_' and '-'.
	ApplicationID string
	// Brokers are addresses to begin with, as host:port. The others are learnt from them.
	Brokers []string

	// StateDir is the directory below which the stores are kept, in <StateDir>/<ApplicationID>. One process at a time can use that.
	// An App that finds its state there restores only what its changelogs have gained since.
	StateDir string
	// Workers is the number of goroutines that process records. A task, which is one partition of one sub-topology, runs on one.
	Workers int
	// CommitInterval is how often progress is committed under load. What a crash repeats is at most what was processed since.
	CommitInterval time.Duration
	// SessionTimeout is how long the group waits for a sign of life before it gives this App's tasks to others.
	SessionTimeout time.Duration
	// HeartbeatInterval is the time between two signs of life. At most a third of SessionTimeout is sensible.
	HeartbeatInterval time.Duration
	// RebalanceTimeout is how long a rebalance waits for a member to settle what it gives up and to join again.
	RebalanceTimeout time.Duration
	// MaxProcessingTime is how long one record may take, retries within a user's function included. After that the App leaves
	// its group, so that others may take the tasks, and stops with an error.
	MaxProcessingTime time.Duration
	// StopTimeout bounds the graceful end: settling what is processed, closing the stores, leaving the group. What is not
	// settled then is processed again after the next start.
	StopTimeout time.Duration
	// MemoryBudget is what all stores together may hold in memory, in bytes.
	MemoryBudget int64
	// MaxTaskIdle is how long a task whose topics are merged by time waits for one that is empty although caught up. Negative: it
	// does not even wait for records that are known to be on the broker.
	MaxTaskIdle time.Duration

	// ReplicationFactor is that of the internal topics which the App creates.
	ReplicationFactor int
	// TopicConfig is added to the configuration of the internal topics which the App creates, and wins over the library's.
	TopicConfig map[string]string

	// ClientID is what brokers log and what quotas go by.
	ClientID string
	// Rack names where the App runs. Brokers that select replicas by rack have it read from one there.
	Rack string
	// Compression of everything that is written: "none", "gzip", "snappy", "lz4" or "zstd".
	Compression string
	// TLS switches encryption on.
	TLS *tls.Config
	// SASL switches authentication on.
	SASL *SASL
	// Dialer opens the connections, where the operating system's way does not do: proxies, tests.
	Dialer func(ctx context.Context, network, address string) (net.Conn, error)

	// Logger gets what an operator should know. Errors that Run returns are not logged besides.
	Logger *slog.Logger
	// Events are told what happens.
	Events Events

	// OnDecodeError is what happens to a record that a serde cannot decode, where its topic does not say.
	OnDecodeError failure.Policy
	// OnProcessError is what happens to a record when a user's function returns an error, where the step does not say.
	OnProcessError failure.Policy
	// OnProduceError is what happens to a record that cannot be encoded or that a broker refuses for good.
	OnProduceError failure.Policy
}

const (
	defaultMemory = 64 << 20
	minSession    = 100 * time.Millisecond
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
	defaultTo(&c.ReplicationFactor, -1)
	defaultTo(&c.ClientID, c.ApplicationID)
	if c.Logger == nil {
		c.Logger = slog.New(warnings{slog.Default().Handler()})
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
		return "", fmt.Errorf("Config.StateDir is not set, and there is no cache directory: %w", err)
	}
	return filepath.Join(dir, "millstream"), nil
}

// warnings is a handler from level Warn: a library is silent about what is as it should be.
type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}

func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }
func (w warnings) WithGroup(name string) slog.Handler   { return warnings{w.Handler.WithGroup(name)} }

var (
	legalName    = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)
	compressions = []string{"", "none", "gzip", "snappy", "lz4", "zstd"}
)

// check returns all mistakes of a configuration that has its defaults, each naming the field and its value.
func (c Config) check() []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch id := c.ApplicationID; {
	case id == "":
		wrong("Config.ApplicationID is not set")
	case !legalName.MatchString(id) || id == "." || id == "..":
		wrong("Config.ApplicationID is %q: only letters, digits, '.', '_' and '-' may be in it", id)
	case len(id) > 200:
		wrong("Config.ApplicationID has %d characters: names of topics begin with it, which end at 249", len(id))
	}
	if len(c.Brokers) == 0 {
		wrong("Config.Brokers is not set")
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			wrong("Config.Brokers has %q, which is not host:port", b)
		}
	}
	errs = append(errs, c.checkTimes()...)
	if c.Workers < 0 {
		wrong("Config.Workers is %d", c.Workers)
	}
	if c.MemoryBudget < 1<<20 {
		wrong("Config.MemoryBudget is %d bytes: at least 1 MB (%d) is needed", c.MemoryBudget, 1<<20)
	}
	if c.ReplicationFactor < -1 || c.ReplicationFactor > 1<<15-1 {
		wrong("Config.ReplicationFactor is %d: -1, the broker's default, or a count", c.ReplicationFactor)
	}
	if !slices.Contains(compressions, c.Compression) {
		wrong("Config.Compression is %q, not one of %s", c.Compression, strings.Join(compressions[1:], ", "))
	}
	return append(errs, c.SASL.check()...)
}

func (c Config) checkTimes() []error {
	var errs []error
	for _, f := range []struct {
		name  string
		value time.Duration
		least time.Duration
	}{
		{"CommitInterval", c.CommitInterval, time.Millisecond},
		{"SessionTimeout", c.SessionTimeout, minSession},
		{"HeartbeatInterval", c.HeartbeatInterval, minSession / 10},
		{"RebalanceTimeout", c.RebalanceTimeout, minSession},
		{"MaxProcessingTime", c.MaxProcessingTime, minSession},
		{"StopTimeout", c.StopTimeout, time.Millisecond},
	} {
		if f.value < f.least {
			errs = append(errs, fmt.Errorf("Config.%s is %v: at least %v is needed", f.name, f.value, f.least))
		}
	}
	if c.HeartbeatInterval >= c.SessionTimeout {
		errs = append(errs, fmt.Errorf("Config.HeartbeatInterval is %v, not less than Config.SessionTimeout, %v", c.HeartbeatInterval, c.SessionTimeout))
	}
	return errs
}

// join makes one error of the mistakes, one a line; nil when there are none.
func join(errs []error) error {
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("millstream: %w", err)
	}
	return nil
}
