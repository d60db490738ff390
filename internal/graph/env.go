package graph

import (
	"context"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/storage"
)

// Env is what the nodes of one task see of it. Its methods may be called on the task's goroutine
// only.
type Env interface {
	Task() TaskID
	// Context ends when the task is closed on abort. User functions that wait get it.
	Context() context.Context
	// StreamTime returns the greatest time of the records that the task has processed, in
	// milliseconds; -1 before the first.
	StreamTime() int64
	// Now returns the wall clock, which the test driver moves.
	Now() time.Time
	// Current returns the record being processed, nil in a punctuation. It is valid until the
	// record is done.
	Current() *Input
	// RecordTime returns the default time of new records: that of the current record, or of the
	// punctuation.
	RecordTime() int64
	// SetRecordTime sets RecordTime and returns its previous value. A step that emits a buffered
	// record sets it, so that records made downstream get that record's time.
	SetRecordTime(time int64) (was int64)
	// WithRecord calls f as if in were being processed, with at as the default time of new records.
	// Steps that have buffered a record use it. in is nil for a record that a punctuation made. An
	// error of f ends the task and is returned.
	WithRecord(in *Input, at int64, f func() error) error
	// RequestCommit asks for a commit soon.
	RequestCommit()
	// Store opens a store of the task.
	Store(name string) (storage.Handle, error)
	// Sink opens the writer of a sink.
	Sink(n *Node) SinkWriter
	// Schedule calls f on stream time or wall clock until the returned function is called. f gets
	// the current time in milliseconds; its error ends the task, as policies were applied before.
	// The grid of stream time is aligned at 0, that of the wall clock at the time of the call.
	Schedule(n *Node, kind Clock, every time.Duration, f func(now int64) error) (stop func())
	// OnCommit has f called right before each commit, to emit what n has buffered until then. Steps
	// upstream are called first, so f also sees what they emit. An error ends the task. The
	// returned function has f called as soon as the current record or punctuation is done.
	OnCommit(n *Node, f func() error) (early func())
	// OnClose has f called when the task is closed, the last registered first.
	OnClose(f func() error)
	// Drop counts a record that is dropped, by reason, and reports it to Events.
	Drop(n *Node, reason string)
	// HandleFailure applies the policy to a failure at n. As long as the policy asks for it, it
	// waits and calls retry. ok reports that retry has succeeded. Otherwise the record ends at n:
	// it was counted or sent to its dead-letter topic, or fatal is not nil and ends the task. Steps
	// use it through Try, Do and Retrier.
	HandleFailure(n *Node, f Failure, again func() error) (ok bool, fatal error)
	// CaughtUp reports that the task has processed everything that is known to be on the broker.
	CaughtUp() bool
	// OperatorTime returns the stream time of n, as it was when the offsets were committed.
	OperatorTime(n *Node) *OperatorTime
}

// Clock is the clock that a punctuation follows.
type Clock uint8

// The clocks.
const (
	StreamTime Clock = iota
	WallClock
)

// OperatorTime is the stream time of one operator. The operator moves it, and the task saves it
// with each offset commit, so that it survives a restart or a move: what was late before is late
// after.
type OperatorTime struct {
	Time int64 // milliseconds; -1: none yet
}

// Input is a fetched record on its way through a task.
type Input struct {
	kafka.Record
	kafka.TopicPartition
	Time int64 // as the source's extractor said; Record.Time is the raw one
}

// Phase is where a failure happened.
type Phase uint8

// The phases.
const (
	Decoding   Phase = iota // a source could not decode
	Processing              // a user's function returned an error
	Producing               // a record could not be encoded, or Kafka refused it
)

// Failure is an error at a node with the current record.
type Failure struct {
	Phase Phase
	Err   error
	// Topic is the topic that could not be written, for Produce.
	Topic string
}

// ByKey leaves the choice of the partition to Kafka's default: murmur2 of the key; records without
// a key are spread.
const ByKey int32 = -1

// SinkWriter writes the encoded records of a sink. Owned by the task's goroutine.
type SinkWriter interface {
	// Partitions returns how many partitions topic has, for a partitioner.
	Partitions(topic string) (int, error)
	// Write copies the record. A record that cannot be written is handled by the policy of
	// production; the error returned is fatal.
	Write(topic string, partition int32, r kafka.ProduceRecord) error
}

// Queue is the typed inlet of one source topic of a task.
type Queue interface {
	// DecodeHead decodes in, which becomes the record to be processed next, and returns the
	// record's time. ok is false when the record is skipped: it was counted, or handled by the
	// policy. latest is the partition's time, -1 before the first record. An error is fatal.
	DecodeHead(in *Input, latest int64) (time int64, ok bool, err error)
	// Process sends the head through the topology.
	Process() error
}
