// Package failure has the policies for records that cannot be processed: those that do not decode,
// those for which a user's function returned an error, and those from which something cannot be
// encoded, stored or written. A panic is not subject to a Policy: it ends its task, with its stack in
// the error, as the policy Stop does.
//
//	geo := stream.TryMapValues(in, geocode).
//		OnError(failure.Retry(5, 100*time.Millisecond, 10*time.Second, failure.DeadLetter("geo-dlq")))
//
// Nothing is dropped silently: each record that a policy removes from the stream is counted by
// reason and reported to Events.
//
// A TaskPolicy decides what becomes of a task that has ended with an error: the App stops, or the
// task is restarted.
//
//	cfg.OnTaskError = failure.RestartTask(5, 10*time.Minute)
package failure

import (
	"context"
	"errors"
	"time"
)

// Policy decides about a record that failed. The zero Policy is the App's, and the App's own zero
// Policy is Stop. A Policy is immutable and may be shared by steps and goroutines.
type Policy struct {
	kind       kind
	topic      string
	attempts   int
	first, max time.Duration
	then       *Policy
	decide     func(context.Context, Report) Policy
}

type kind int8

const (
	inherit kind = iota
	stop
	skip
	deadLetter
	retry
	decide
)

// Report describes a failure to Decide. It is valid during the call only: Key and Value must be
// neither retained nor changed.
type Report struct {
	Step       string // the name of the step whose function failed; empty when the record did not decode
	Topic      string // where the record being processed was read
	Partition  int32
	Offset     int64
	Key, Value []byte // as they were read; nil is null
	Attempt    int    // how often this has failed for the record: 1 at first
	Err        error  // what the function or the serde returned
}

// Stop ends the task with an error that has topic, partition, offset and step, which stops the App,
// unless Config.OnTaskError restarts the task. The record is not committed, so it is processed again
// when the App, or the task, is started again.
func Stop() Policy { return Policy{kind: stop} }

// Skip drops the record and counts it.
func Skip() Policy { return Policy{kind: skip} }

// DeadLetter writes the record to topic, with key and value as they were read and with Kafka
// Streams' headers about the failure (__streams.errors.exception, .message, .topic, .partition,
// .offset), and counts it. The record counts as processed when that write is acknowledged. The
// topic must exist.
func DeadLetter(topic string) Policy { return Policy{kind: deadLetter, topic: topic} }

// Retry calls the function again, at most attempts times after the first failure. The pause before
// the first retry is first; each further pause is twice as long, but at most max. If all attempts
// fail, then decides. Retries block the record's task, so the runtime limits their total time; when
// that is used up, then decides, too. This holds in every phase: a record that does not decode is
// decoded again, since a schema registry may be available again, and what is to be written is
// encoded again.
func Retry(attempts int, first, max time.Duration, then Policy) Policy {
	return Policy{kind: retry, attempts: attempts, first: first, max: max, then: &then}
}

// Decide calls f after each failure. f runs on the goroutine that processes the record and should
// return soon. A Retry that f returns stands for one more attempt, after the pause that belongs to
// Report.Attempt; f is called again if that fails.
func Decide(f func(context.Context, Report) Policy) Policy { return Policy{kind: decide, decide: f} }

// Drop returns an error for a user's function to return: the record is dropped and counted under
// reason, whatever the policy. The error may be wrapped. Use constant reasons, because each reason
// has a counter.
func Drop(reason string) error { return &dropped{reason} }

type dropped struct{ reason string }

func (d *dropped) Error() string { return "dropped: " + d.reason }

// DropReason returns the reason of the Drop that err is or wraps; ok is false when there is none.
func DropReason(err error) (reason string, ok bool) {
	if d, ok := errors.AsType[*dropped](err); ok {
		return d.reason, true
	}
	return "", false
}
