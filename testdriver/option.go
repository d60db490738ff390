package testdriver

import (
	"time"

	"github.com/millstream-go/millstream/failure"
)

// Option configures a Driver.
type Option interface{ apply(*options) }

type option func(*options)

func (f option) apply(o *options) { f(o) }

type options struct {
	start       time.Time
	partitions  int
	byTopic     map[string]int
	application string
	maxIdle     time.Duration
	manual      bool
	maxRecord   int
	stateDir    string
	decode      failure.Policy
	process     failure.Policy
	produce     failure.Policy
}

// StartAt is what the wall clock shows at first. Defaults to 2020-01-01 00:00:00 UTC.
func StartAt(t time.Time) Option { return option(func(o *options) { o.start = t }) }

// Partitions is how many partitions each topic has, where neither TopicPartitions nor the program says otherwise. Defaults to 1.
func Partitions(n int) Option { return option(func(o *options) { o.partitions = n }) }

// TopicPartitions is how many partitions one topic has.
func TopicPartitions(topic string, n int) Option {
	return option(func(o *options) { o.byTopic[topic] = n })
}

// ApplicationID is what the names of internal topics begin with. Defaults to "testdriver".
func ApplicationID(id string) Option { return option(func(o *options) { o.application = id }) }

// MaxIdle is Config.MaxTaskIdle: how long, on the driver's clock, a record waits for records of the other partitions of its task. Defaults
// to 0: a driver knows that no more input is there.
func MaxIdle(d time.Duration) Option { return option(func(o *options) { o.maxIdle = d }) }

// ManualCommit has the driver commit only when Commit is called. Without it, it commits after each record and each Advance.
func ManualCommit() Option { return option(func(o *options) { o.manual = true }) }

// StateDir has stores lie in files below dir, as an App's do that are not in memory only: Restart goes on with what is in them and replays the
// changelogs of the last few commits, Wipe deletes dir. It should be empty, as that of a test's TempDir. Defaults to none: all stores are in memory, and
// restored from the beginning of their changelogs.
func StateDir(dir string) Option { return option(func(o *options) { o.stateDir = dir }) }

// MaxRecordBytes is the size of key and value together beyond which a record cannot be written. Defaults to 1 MiB less some
// bytes, as Kafka's.
func MaxRecordBytes(n int) Option { return option(func(o *options) { o.maxRecord = n }) }

// OnDecodeError is Config.OnDecodeError: what happens to records that do not decode. Defaults to failure.Stop.
func OnDecodeError(p failure.Policy) Option { return option(func(o *options) { o.decode = p }) }

// OnProcessError is Config.OnProcessError: what happens when a function of the program returns an error. Defaults to failure.Stop.
// The pauses of a retry take no time.
func OnProcessError(p failure.Policy) Option { return option(func(o *options) { o.process = p }) }

// OnProduceError is Config.OnProduceError: what happens to records that cannot be encoded or written. Defaults to failure.Stop.
func OnProduceError(p failure.Policy) Option { return option(func(o *options) { o.produce = p }) }
