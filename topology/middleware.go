package topology

import "time"

// Middleware wraps the steps of a program: to time, trace, log or count what passes, or to fail on
// purpose. It is called once for each step of each task, when the task is made, and returns the
// function that wraps the step, or nil to leave the step alone. task is the task's id, as in "1_3".
// Tasks are made and run on several goroutines; what is returned for one task is called on one.
//
// stream.Middleware adds it to a program. It is Kafka Streams' ProcessorWrapper.
type Middleware func(step Node, task string) Around

// Around is called in place of a step for each record that reaches it. next runs the step, and with
// it all steps downstream, each behind middleware of its own. The step of a source is to pass the
// decoded record on, that of a sink to encode and send it. Records that a punctuation forwards pass
// the steps downstream like others.
//
// Around may read the record, change its headers, and measure next. It must call next at most once,
// on the same goroutine, and return the error that next returned, which ends the task.
//
// If it does not call next, the record goes no further. It is dropped and counted. If Around then
// returns an error, the record goes to the policy of the step instead, as if a function of the step
// had failed: OnError may be set on any step then. An error of its own after next ends the task. A
// panic counts as one of the step.
type Around func(r Passing, next func() error) error

// Passing is a record on its way into a step. It is valid during the call only. For a step of a
// table it is the change: Value returns ok false when the row is deleted.
type Passing interface {
	// Key returns the key; ok is false when there is none. A key that is no pointer is copied to
	// the heap, so call Key only when it is needed.
	Key() (key any, ok bool)
	// Value returns the value; ok is false for a tombstone. It is copied like a key. Other steps
	// may share it, so it must not be changed.
	Value() (value any, ok bool)
	// Time returns the record's time.
	Time() time.Time
	// Headers returns the record's headers.
	Headers() Headers
	// SetHeaders changes the headers with which the record enters the step, and with which what the
	// step makes of it leaves.
	SetHeaders(Headers)
	// Source returns the input record that this one was made from.
	Source() Source
}
