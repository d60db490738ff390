// Package processor is the library's side of a user's processor. Package topology shows users a
// Task, and the packages of the DSL drive it. They must share its state, and users must not see how
// it is driven: so the state is here, and topology.Task is this package's Task under another name.
// Packages stream and table make a Task, convert its pointer for the user, and keep the one of this
// package.
package processor

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/timerange"
)

// Task is one processor in one task. It belongs to the task's goroutine.
type Task struct {
	env     graph.Env
	node    *graph.Node
	current *graph.CurrentStep

	forward        any            // what a topology.Context or ValueContext forwards with; nil for other processors
	outputs        map[string]any // func(topology.Record[K, V]), by name
	noPunctuations bool
	started        bool  // the user's constructor has returned
	failed         error // ends the task
	rejected       error // a record that the function at work could not forward
}

// Init makes t the processor of step n. It is no constructor, since a topology.Context has its Task
// inside.
func (t *Task) Init(env graph.Env, n *graph.Node) {
	*t = Task{env: env, node: n, current: graph.CurrentStepOf(env), outputs: map[string]any{}}
}

// ForbidPunctuations is for steps that maintain a global store. A restore runs the records of
// months in a minute: what a punctuation did would depend on when the store was restored.
func (t *Task) ForbidPunctuations() { t.noPunctuations = true }

// SetForward sets what Forward returns.
func (t *Task) SetForward(forward any) { t.forward = forward }

// Forward returns what the processor forwards with.
func (t *Task) Forward() any { return t.forward }

// AddOutput adds the function that sends to an output.
func (t *Task) AddOutput(name string, send any) { t.outputs[name] = send }

// Env returns the task's environment.
func (t *Task) Env() graph.Env { return t.env }

// Start marks the end of the user's constructor, and returns what went wrong in it.
func (t *Task) Start() error {
	t.started = true
	return t.failed
}

// Enter marks that one of the step's functions is called next, for the error of a panic.
func (t *Task) Enter() { t.current.Node = t.node }

// Result returns the result of a call of a user's function, which returned err.
//
// User code cannot be trusted to return the errors that it meets, and some of its calls have no
// result. What ends the task therefore takes precedence over err, as a fatal error of package
// retry. A record that could not be forwarded counts only if the function itself has reported
// nothing.
func (t *Task) Result(err error) error {
	rejected := t.rejected
	t.rejected = nil
	switch {
	case t.failed != nil:
		return retry.Fatal(t.failed)
	case err != nil:
		return err
	}
	return rejected
}

// MayForward reports whether a record may be forwarded now. If not, the task ends.
func (t *Task) MayForward() bool {
	if !t.started {
		t.fail(
			errors.New("its constructor forwards a record; forward from the function that it returns, or from a punctuation"),
		)
	}
	return t.failed == nil
}

// CheckTime reports whether records may have that time. If not, the current call of the user's
// function fails.
func (t *Task) CheckTime(at time.Time) bool {
	err := timerange.Check(at)
	if err != nil && t.rejected == nil {
		t.rejected = fmt.Errorf("it forwards a record: %w", err)
	}
	return err == nil
}

// Forwarded ends the forwarding of a record. An error of the steps that followed ends the task. The
// user's function continues.
func (t *Task) Forwarded(err error) {
	t.failed = err
	t.Enter()
}

// OpenStore opens a store that the step uses. Any other store ends the task: whether it is in the
// same sub-topology depends on what else the program does.
func (t *Task) OpenStore(name string) (storage.Handle, error) {
	if !slices.Contains(t.node.Stores, name) {
		err := fmt.Errorf(
			"it opens store %q, which is not among what it uses; list the reference where the step is made", name,
		)
		t.fail(err)
		return storage.Handle{}, err
	}
	h, err := t.env.Store(name)
	if err != nil {
		t.fail(err)
	}
	h.OnExpired = func() { t.env.Drop(t.node, graph.Expired) }
	return h, err
}

// OpenOutput opens an output that the step uses: assign gets the function that sends to it, and
// reports whether that has the right type.
func (t *Task) OpenOutput(name string, assign func(send any) bool) {
	send, ok := t.outputs[name]
	switch {
	case !ok:
		t.fail(fmt.Errorf("output %q is not among what the step uses", name))
	case !assign(send):
		t.fail(fmt.Errorf("output %q is opened with other types than those that the step lists", name))
	}
}

// Schedule calls f every interval of a clock, until the returned function is called. The result is
// nil when there can be no such punctuation; the task ends then.
func (t *Task) Schedule(clock graph.Clock, every time.Duration, f func(now time.Time) error) (stop func()) {
	switch {
	case t.noPunctuations:
		t.fail(errors.New(
			"the step keeps a global store, which follows from the records of its topic alone: it has no punctuations",
		))
	case f == nil:
		t.fail(errors.New("a punctuation's function is nil"))
	case every < time.Millisecond:
		t.fail(fmt.Errorf("a punctuation every %v: the shortest interval is 1ms", every))
	default:
		return t.env.Schedule(t.node, clock, every, func(now int64) error { return t.punctuate(f, now) })
	}
	return nil
}

// punctuate calls f. Its error goes to the step's policy, like that of the step's other function.
func (t *Task) punctuate(f func(time.Time) error, now int64) error {
	return graph.Do(t.env, t.node, graph.Processing, func(now int64) error {
		t.Enter()
		return t.Result(f(time.UnixMilli(now)))
	}, now)
}

// fail records what ends the task. The user's function has no error to return where it is noticed.
func (t *Task) fail(err error) {
	if t.failed == nil {
		t.failed = err
	}
}
