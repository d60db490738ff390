package graph

import (
	"context"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/store"
)

// Env is what the nodes of one task see of it. All its methods belong to the task's goroutine.
type Env interface {
	Task() TaskID
	// Context ends when the task is closed in haste; user functions that wait get it.
	Context() context.Context
	// StreamTime is the task's: the greatest time of the records processed, in milliseconds, -1 before the first.
	StreamTime() int64
	// Now is the wall clock, which the test driver moves.
	Now() time.Time
	// Current is the record being processed, nil in a punctuation. Valid until the record is done.
	Current() *Input
	// RecordTime is the time that records made now get by default: that of the current record, or the punctuation's.
	RecordTime() int64
	// RecordAt sets RecordTime and returns what it was: a step that sends a record on which it held back has those made of it get its time.
	RecordAt(time int64) (was int64)
	// Resume calls f as if in were being processed, whose records get the time at by default: steps that have kept a record for later do
	// so. in is nil for what a punctuation made. f's error, which ends the task, is returned.
	Resume(in *Input, at int64, f func() error) error
	// RequestCommit asks for a commit soon.
	RequestCommit()
	// Store opens a store of the task.
	Store(name string) (store.Handle, error)
	// Sink opens the writer of a sink.
	Sink(n *Node) SinkWriter
	// Schedule calls f on stream time or wall clock until the returned function is called. f's argument is the time now,
	// in milliseconds; its error ends the task: policies are applied before. The grid of stream time is aligned at 0, that of the wall
	// clock at the time of the call.
	Schedule(n *Node, kind Clock, every time.Duration, f func(now int64) error) (stop func())
	// OnCommit has f called right before each commit: it sends what n holds back until then. Steps before others come first, so f sees
	// what theirs sent. An error ends the task. early has f called once the record or punctuation at hand is done, too.
	OnCommit(n *Node, f func() error) (early func())
	// OnClose has f called when the task is closed, last registered first.
	OnClose(f func() error)
	// Drop counts a record that is dropped, by reason, and tells Events.
	Drop(n *Node, reason string)
	// Fail applies the policy to a failure at n and returns what to do. A non-nil error ends the task: return it.
	Fail(n *Node, f Failure) (Verdict, error)
	// CaughtUp says that the task has processed all that is known to be on the broker.
	CaughtUp() bool
	// OperatorTime returns the stream time that n keeps for itself, as it was when the offsets were committed.
	OperatorTime(n *Node) *OperatorTime
}

// Clock says which clock a punctuation follows.
type Clock uint8

// The clocks.
const (
	StreamTime Clock = iota
	WallClock
)

// OperatorTime is the stream time of one operator. It travels with the offset commit, so that lateness survives a restart and a
// move; the operator moves it, the task saves it.
type OperatorTime struct {
	Time int64 // milliseconds; -1: none yet
}

// Input is a fetched record on its way through a task.
type Input struct {
	kafka.Record
	kafka.TopicPartition
	Time int64 // as the source's extractor said; Record.Time is the raw one
}

// Phase says where a failure happened.
type Phase uint8

// The phases.
const (
	Decode  Phase = iota // a source could not decode
	Run                  // a user's function returned an error
	Produce              // a record could not be encoded, or Kafka refused it
)

// Failure is what went wrong at a node with the current record.
type Failure struct {
	Phase   Phase
	Err     error
	Attempt int // from 1
	// Topic is the topic that could not be written, for Produce.
	Topic string
}

// Verdict says what to do after a failure.
type Verdict uint8

// The verdicts.
const (
	// Skip: the record is dropped at this node, and counted or sent to its dead-letter topic already.
	Skip Verdict = iota
	// Again: the back-off has been waited for; call the function again.
	Again
)

// ByKey has the sink's partition follow from the key: murmur2, as Java's default partitioner, and no key: spread.
const ByKey int32 = -1

// SinkWriter takes the encoded records of a sink. Owned by the task's goroutine.
type SinkWriter interface {
	// Partitions returns how many partitions topic has, for a partitioner.
	Partitions(topic string) (int, error)
	// Write copies the record. A record that cannot be written fails by the policy of production; the error returned is fatal.
	Write(topic string, partition int32, r kafka.ProduceRecord) error
}

// Queue is the typed inlet of one source topic of a task.
type Queue interface {
	// Head decodes in and keeps it as the record to be processed next. It returns the record's time, and ok false when the
	// record is skipped: then it has been counted, or handed to the policy. latest is the partition's time, -1 before the
	// first record. A non-nil error is fatal.
	Head(in *Input, latest int64) (time int64, ok bool, err error)
	// Process sends the head on its way.
	Process() error
}
