package topology

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/store"
)

// Task is what a processor sees of the task that runs it. A task is one partition of a sub-topology; its processors run on one
// goroutine, and everything here belongs to that goroutine: no method may be called from another one, nor after the task has closed.
type Task struct {
	env     graph.Env
	node    *graph.Node
	place   *graph.Place
	outputs map[string]any // functions that send to them: func(Record[K, V])
	global  bool           // it keeps a global store
	failed  error          // ends the task
}

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

// OpenStore opens a store that the step named among what it uses. References of package store call it. Any other store ends the task,
// with an error that says so: whether it is there depends on what else the topology does.
func (t *Task) OpenStore(name string) (store.Handle, error) {
	if !slices.Contains(t.node.Stores, name) {
		err := fmt.Errorf("it opens store %q, which is not among what it uses; list the reference where the step is made", name)
		t.fail(err)
		return store.Handle{}, err
	}
	h, err := t.env.Store(name)
	if err != nil {
		t.fail(err)
	}
	h.Expired = func() { t.env.Drop(t.node, graph.Expired) }
	return h, err
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
	switch {
	case t.global:
		// A restore runs the records of months in a minute: what a punctuation did would depend on when it was restored.
		t.fail(errors.New("the step keeps a global store, which follows from the records of its topic alone: it has no punctuations"))
	case f == nil:
		t.fail(errors.New("a punctuation's function is nil"))
	case d < time.Millisecond:
		t.fail(fmt.Errorf("a punctuation every %v: the shortest interval is 1ms", d))
	default:
		return &Timer{stop: t.env.Schedule(t.node, kind, d, func(ms int64) error { return t.punctuate(f, ms) })}
	}
	return &Timer{}
}

// punctuate calls f, whose error goes to the step's policy like that of its other function.
func (t *Task) punctuate(f func(time.Time) error, ms int64) error {
	for attempt := 1; ; attempt++ {
		t.place.Node = t.node
		err := f(time.UnixMilli(ms))
		if t.failed != nil {
			return t.failed
		}
		if err == nil {
			return nil
		}
		if again, err := graph.Failed(t.env, t.node, attempt, err); !again {
			return err
		}
	}
}

// OpenOutput opens an output that the step named among what it uses: take is given the function that sends to it, and says whether
// that has the right type. Outputs of package stream call it.
func (t *Task) OpenOutput(name string, take func(send any) bool) {
	send, ok := t.outputs[name]
	switch {
	case !ok:
		t.fail(fmt.Errorf("output %q is not among what the step uses", name))
	case !take(send):
		t.fail(fmt.Errorf("output %q is used with other types than the step names it with", name))
	}
}

// fail keeps what ends the task: the user's function has no error to return where it is noticed.
func (t *Task) fail(err error) {
	if t.failed == nil {
		t.failed = err
	}
}

// Timer is a punctuation that can be stopped.
type Timer struct{ stop func() }

// Stop ends the punctuation. It may be called by the punctuation itself, and more than once.
func (t *Timer) Stop() {
	if t.stop != nil {
		t.stop()
	}
}

// Context is the task as a processor of stream.Process sees it, which forwards records of K and V.
type Context[K, V any] struct {
	Task
	forward func(Record[K, V])
}

// Forward passes r on, and returns when all that follows has processed it. A zero Time is that of the record being processed.
func (c *Context[K, V]) Forward(r Record[K, V]) { c.forward(r) }

// ValueContext is the task as a processor of stream.ProcessValues sees it: it forwards values, and the key stays that of the
// record being processed.
type ValueContext[V any] struct {
	Task
	forward func(v V, tombstone bool, at time.Time)
}

// Forward passes v on with key, time and headers of the record being processed. In a punctuation, which has no key, the value is
// dropped and counted: use stream.Process there.
func (c *ValueContext[V]) Forward(v V) { c.forward(v, false, time.Time{}) }

// ForwardAt is Forward with another time.
func (c *ValueContext[V]) ForwardAt(v V, t time.Time) { c.forward(v, false, t) }

// ForwardTombstone passes a tombstone on.
func (c *ValueContext[V]) ForwardTombstone() {
	var none V
	c.forward(none, true, time.Time{})
}
