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
	start        time.Time
	partitions   int
	byTopic      map[string]int
	application  string
	maxIdle      time.Duration
	manualCommit bool
	maxRecord    int
	stateDir     string
	decode       failure.Policy
	process      failure.Policy
	produce      failure.Policy
}

// StartAt sets the initial time of the wall clock. Defaults to 2020-01-01 00:00:00 UTC.
func StartAt(t time.Time) Option { return option(func(o *options) { o.start = t }) }

// Partitions sets the number of partitions of topics for which neither TopicPartitions nor the
// program sets one. Defaults to 1.
func Partitions(n int) Option { return option(func(o *options) { o.partitions = n }) }

// TopicPartitions sets the number of partitions of one topic.
func TopicPartitions(topic string, n int) Option {
	return option(func(o *options) { o.byTopic[topic] = n })
}

// ApplicationID sets the prefix of the names of internal topics. Defaults to "testdriver".
func ApplicationID(id string) Option { return option(func(o *options) { o.application = id }) }

// MaxIdle is Config.MaxTaskIdle: how long, on the driver's clock, a record waits for records of the
// other partitions of its task. Defaults to 0: a driver knows that there is no more input.
func MaxIdle(d time.Duration) Option { return option(func(o *options) { o.maxIdle = d }) }

// ManualCommit makes the driver commit only when Commit is called. By default it commits after each
// record and each Advance.
func ManualCommit() Option { return option(func(o *options) { o.manualCommit = true }) }

// StateDir keeps stores in files below dir, as an App does, except those that are in memory only.
// Restart reopens the files and replays the changelogs of the last few commits; Wipe deletes dir.
// dir should be empty, like that of a test's TempDir. By default all stores are in memory, and
// restored from the start of their changelogs.
func StateDir(dir string) Option { return option(func(o *options) { o.stateDir = dir }) }

// MaxRecordBytes sets the size of key and value together above which a record cannot be written.
// Defaults to 1 MiB less some bytes, like Kafka's.
func MaxRecordBytes(n int) Option { return option(func(o *options) { o.maxRecord = n }) }

// OnDecodeError is Config.OnDecodeError, the policy for records that do not decode. Defaults to
// failure.Stop.
func OnDecodeError(p failure.Policy) Option { return option(func(o *options) { o.decode = p }) }

// OnProcessError is Config.OnProcessError, the policy for errors of the program's functions.
// Defaults to failure.Stop. The pauses of retries do not take any time.
func OnProcessError(p failure.Policy) Option { return option(func(o *options) { o.process = p }) }

// OnProduceError is Config.OnProduceError, the policy for records that cannot be encoded or
// written. Defaults to failure.Stop.
func OnProduceError(p failure.Policy) Option { return option(func(o *options) { o.produce = p }) }
