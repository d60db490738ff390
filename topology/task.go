package topology

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/processor"
	"github.com/millstream-go/millstream/internal/storage"
)

// Task is what a processor sees of the task that runs it. A task is one partition of a
// sub-topology. Its processors run on one goroutine, and everything here belongs to that goroutine:
// no method may be called from another one, nor after the task has closed.
type Task processor.Task

// impl returns the task as the DSL drives it.
func (t *Task) impl() *processor.Task { return (*processor.Task)(t) }

// ID returns the task's id: the number of its sub-topology and its partition, as in "0_3".
func (t *Task) ID() string { return t.impl().Env().Task().String() }

// StreamTime returns the greatest time of the records that the task has processed; the zero Time
// before the first one.
func (t *Task) StreamTime() time.Time {
	ms := t.impl().Env().StreamTime()
	if ms < 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// Now returns the wall clock, which the test driver moves. Use it instead of time.Now.
func (t *Task) Now() time.Time { return t.impl().Env().Now() }

// Commit asks for a commit soon after the record being processed.
func (t *Task) Commit() { t.impl().Env().RequestCommit() }

// OnClose has f called when the task closes: because it moves to another owner, at the end of the
// App, or after a failure. Stores can still be read then. The functions are called in reverse
// order.
func (t *Task) OnClose(f func() error) { t.impl().Env().OnClose(f) }

// OpenStore opens a store that the step lists among what it uses. References of package store call
// it. Any other store ends the task, with an error that names it: whether it exists in this task
// depends on what else the topology does.
func (t *Task) OpenStore(name string) (storage.Handle, error) { return t.impl().OpenStore(name) }

// EveryStreamTime calls f when stream time has advanced by d, on a grid aligned at 0, and first as
// soon as stream time is known. A jump over several intervals makes one call. now is the stream
// time.
func (t *Task) EveryStreamTime(d time.Duration, f func(now time.Time) error) *Timer {
	return &Timer{stop: t.impl().Schedule(graph.StreamTime, d, f)}
}

// EveryWallClock calls f every d of wall-clock time, for the first time d from now. Intervals that
// were missed make one call.
func (t *Task) EveryWallClock(d time.Duration, f func(now time.Time) error) *Timer {
	return &Timer{stop: t.impl().Schedule(graph.WallClock, d, f)}
}

// OpenOutput opens an output that the step lists among what it uses. assign gets the function that
// sends to the output, and reports whether that has the right type. Outputs of package stream call
// it.
func (t *Task) OpenOutput(name string, assign func(send any) bool) { t.impl().OpenOutput(name, assign) }

// Timer is a punctuation that can be stopped.
type Timer struct{ stop func() }

// Stop ends the punctuation. The punctuation itself may call it, and it may be called more than
// once.
func (t *Timer) Stop() {
	if t.stop != nil {
		t.stop()
	}
}

// Context is the task as a processor of stream.Process sees it. It forwards records of K and V.
type Context[K, V any] struct{ Task }

// Forward passes r on, and returns when everything downstream has processed it. A zero Time stands
// for that of the record being processed.
func (c *Context[K, V]) Forward(r Record[K, V]) { c.impl().Forward().(func(Record[K, V]))(r) }

// ValueContext is the task as a processor of stream.ProcessValues sees it. It forwards values; the
// key is that of the record being processed.
type ValueContext[V any] struct{ Task }

// Forward passes v on with the key, time and headers of the record being processed. In a
// punctuation, which has no key, the value is dropped and counted; use stream.Process there.
func (c *ValueContext[V]) Forward(v V) { c.forward(v, false, time.Time{}) }

// ForwardAt is Forward with another time.
func (c *ValueContext[V]) ForwardAt(v V, t time.Time) { c.forward(v, false, t) }

// ForwardTombstone passes a tombstone on.
func (c *ValueContext[V]) ForwardTombstone() {
	var none V
	c.forward(none, true, time.Time{})
}

func (c *ValueContext[V]) forward(v V, tombstone bool, at time.Time) {
	c.impl().Forward().(func(v V, tombstone bool, at time.Time))(v, tombstone, at)
}
