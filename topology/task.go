package topology

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/store"
)

// Task is what a processor sees of the task that runs it. A task is one partition of a sub-topology; its processors run on one
// goroutine, and everything here belongs to that goroutine: no method may be called from another one, nor after the task has closed.
type Task struct {
	env  graph.Env
	node *graph.Node
}

// NewTask returns the view that n has of its task. For the packages of this module.
func NewTask(env graph.Env, n *graph.Node) *Task { return &Task{env: env, node: n} }

// ID returns the task's id: the number of its sub-topology and its partition, as in "0_3".
func (t *Task) ID() string { return t.env.Task().String() }

// StreamTime returns the greatest time of the records that the task has processed; the zero Time before the first one.
func (t *Task) StreamTime() time.Time {
	ms := t.env.StreamTime()
	if ms < 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// Now returns the wall clock, which the test driver moves. Use it instead of time.Now.
func (t *Task) Now() time.Time { return t.env.Now() }

// Commit asks for a commit soon after the record being processed.
func (t *Task) Commit() { t.env.RequestCommit() }

// OnClose has f called when the task closes: on another owner, at the end of the App, after a failure. Stores can still be
// read then. The last one registered is called first.
func (t *Task) OnClose(f func() error) { t.env.OnClose(f) }

// OpenStore opens a store that the step named among what it uses. References of package store call it.
func (t *Task) OpenStore(name string) (store.Handle, error) {
	return t.env.Store(name)
}

// EveryStreamTime calls f when stream time has advanced by d, on a grid aligned at 0: first as soon as stream time is
// known. A jump over several intervals makes one call. now is the stream time.
func (t *Task) EveryStreamTime(d time.Duration, f func(now time.Time) error) *Timer {
	return t.every(graph.StreamTime, d, f)
}

// EveryWallClock calls f every d of wall-clock time, first d from now. Intervals that were missed make one call.
func (t *Task) EveryWallClock(d time.Duration, f func(now time.Time) error) *Timer {
	return t.every(graph.WallClock, d, f)
}

func (t *Task) every(kind graph.Clock, d time.Duration, f func(time.Time) error) *Timer {
	return &Timer{stop: t.env.Schedule(t.node, kind, d, func(ms int64) error { return f(time.UnixMilli(ms)) })}
}

// Timer is a punctuation that can be stopped.
type Timer struct{ stop func() }

// Stop ends the punctuation. It may be called by the punctuation itself, and more than once.
func (t *Timer) Stop() { t.stop() }

// Context is the task as a processor of stream.Process sees it, which forwards records of K and V.
type Context[K, V any] struct {
	Task
	forward func(Record[K, V]) error
	failed  *error
}

// NewContext returns the context of n, whose records go to forward. An error of forward, which ends the task, is kept in
// failed: user code need not pass it on. For the packages of this module.
func NewContext[K, V any](env graph.Env, n *graph.Node, forward func(Record[K, V]) error, failed *error) *Context[K, V] {
	return &Context[K, V]{Task: Task{env: env, node: n}, forward: forward, failed: failed}
}

// Forward passes r on, and returns when all that follows has processed it. A zero Time is that of the record being processed.
func (c *Context[K, V]) Forward(r Record[K, V]) {
	if *c.failed != nil {
		return
	}
	if r.Time.IsZero() {
		r.Time = time.UnixMilli(c.env.RecordTime())
	}
	*c.failed = c.forward(r)
}

// ValueContext is the task as a processor of stream.ProcessValues sees it: it forwards values, and the key stays that of the
// record being processed.
type ValueContext[V any] struct {
	Task
	forward func(v V, tombstone bool, at time.Time) error
	failed  *error
}

// NewValueContext returns the context of n. forward gets a zero time where that of the record being processed is meant. For the
// packages of this module.
func NewValueContext[V any](env graph.Env, n *graph.Node, forward func(v V, tombstone bool, at time.Time) error, failed *error) *ValueContext[V] {
	return &ValueContext[V]{Task: Task{env: env, node: n}, forward: forward, failed: failed}
}

// Forward passes v on with key, time and headers of the record being processed. It does nothing in a punctuation, which has no
// key: use stream.Process there.
func (c *ValueContext[V]) Forward(v V) { c.send(v, false, time.Time{}) }

// ForwardAt is Forward with another time.
func (c *ValueContext[V]) ForwardAt(v V, t time.Time) { c.send(v, false, t) }

// ForwardTombstone passes a tombstone on.
func (c *ValueContext[V]) ForwardTombstone() {
	var none V
	c.send(none, true, time.Time{})
}

func (c *ValueContext[V]) send(v V, tombstone bool, at time.Time) {
	if *c.failed == nil {
		*c.failed = c.forward(v, tombstone, at)
	}
}
