// Package failure says what happens to a record that cannot be processed: that does not decode, or for which a function of the
// user returned an error. A panic is not asked about: it stops the App, cleanly and with its stack in the error.
//
//	geo := stream.TryMapValues(in, geocode).
//		OnError(failure.Retry(5, 100*time.Millisecond, 10*time.Second, failure.DeadLetter("geo-dlq")))
//
// Nothing is lost silently: each record that a policy takes out of the stream is counted by reason and reported to Events.
package failure

import (
	"context"
	"errors"
	"time"
)

// Policy says what to do with a record that failed. The zero Policy is the App's, and the App's own zero Policy is Stop. A Policy
// is immutable and may be used by many steps and goroutines.
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

// Report describes a failure to Decide. It is valid during the call only: Key and Value must be neither kept nor changed.
type Report struct {
	Step       string // the name of the step whose function failed; empty when the record did not decode
	Topic      string // where the record being processed was read
	Partition  int32
	Offset     int64
	Key, Value []byte // as they were read; nil is null
	Attempt    int    // how often this has failed for the record: 1 at first
	Err        error  // what the function or the serde returned
}

// Stop stops the App, with topic, partition, offset and step in the error. Nothing of the record is committed, so the App meets
// it again when it is started again.
func Stop() Policy { return Policy{kind: stop} }

// Skip drops the record and counts it.
func Skip() Policy { return Policy{kind: skip} }

// DeadLetter writes key and value of the record as they were read to topic, with Kafka Streams' headers about the failure
// (__streams.errors.exception, .message, .topic, .partition, .offset), and counts it. The record counts as processed once that write
// is accepted. The topic has to exist.
func DeadLetter(topic string) Policy { return Policy{kind: deadLetter, topic: topic} }

// Retry calls the function again, up to attempts times after the first failure: after first, then after twice as long each time,
// but never longer than max. When all have failed, then decides. Retries hold up the record's task, so the runtime bounds the time
// they take together; when that is used up, then decides, too. Retrying cannot help a record that does not decode.
func Retry(attempts int, first, max time.Duration, then Policy) Policy {
	return Policy{kind: retry, attempts: attempts, first: first, max: max, then: &then}
}

// Decide asks f after each failure. f is called on the goroutine that processes the record and should return soon. A Retry that
// f returns stands for one more attempt, after the pause that belongs to Report.Attempt; f is asked again when that fails.
func Decide(f func(context.Context, Report) Policy) Policy { return Policy{kind: decide, decide: f} }

// Drop is an error for a user's function to return: the record is dropped and counted under reason, whatever the policy. It may be
// wrapped. A constant reason keeps the number of counters small.
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
