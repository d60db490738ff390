package topology

import (
	"errors"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
)

// Processor is the task as package stream drives a processor in it: the same Task that the user's functions see, with what they must
// not touch. For the packages of this module.
type Processor struct {
	t       *Task
	started bool
}

// NewContext returns the context of step n, whose records go to forward, and the processor behind it.
func NewContext[K, V any](env graph.Env, n *graph.Node, forward func(Record[K, V]) error) (*Context[K, V], *Processor) {
	c := &Context[K, V]{}
	p := newProcessor(&c.Task, env, n)
	c.forward = Sender(p, forward)
	return c, p
}

// NewValueContext returns the context of step n and the processor behind it. forward gets a zero time where that of the record being
// processed is meant.
func NewValueContext[V any](env graph.Env, n *graph.Node, forward func(v V, tombstone bool, at time.Time) error) (*ValueContext[V], *Processor) {
	c := &ValueContext[V]{}
	p := newProcessor(&c.Task, env, n)
	c.forward = func(v V, tombstone bool, at time.Time) {
		if p.ready() {
			p.sent(forward(v, tombstone, at))
		}
	}
	return c, p
}

// NewTask returns the task of step n, whose functions forward nothing, and the processor behind it.
func NewTask(env graph.Env, n *graph.Node) (*Task, *Processor) {
	t := &Task{}
	return t, newProcessor(t, env, n)
}

// NewGlobalTask returns the task of step n, which keeps a global store, and the processor behind it.
func NewGlobalTask(env graph.Env, n *graph.Node) (*Task, *Processor) {
	t := &Task{}
	p := newProcessor(t, env, n)
	t.global = true
	return t, p
}

func newProcessor(t *Task, env graph.Env, n *graph.Node) *Processor {
	*t = Task{env: env, node: n, place: graph.PlaceOf(env), outputs: map[string]any{}}
	return &Processor{t: t}
}

// Sender returns what the user's functions send records with to an outlet. It completes the records; an error of the outlet, which
// ends the task, is kept, since user code cannot be trusted to pass it on.
func Sender[K, V any](p *Processor, out func(Record[K, V]) error) func(Record[K, V]) {
	return func(r Record[K, V]) {
		if p.ready() {
			p.sent(out(Complete(r, p.now(r.Time), p.source())))
		}
	}
}

// AddOutput gives the task the sender of an output.
func (p *Processor) AddOutput(name string, send any) { p.t.outputs[name] = send }

// Start says that the constructor has returned, and returns what went wrong in it.
func (p *Processor) Start() error {
	p.started = true
	return p.t.failed
}

// Enter says that one of the step's functions is called next, for the error of a panic.
func (p *Processor) Enter() { p.t.place.Node = p.t.node }

// Err returns what ends the task although the user's function did not say so.
func (p *Processor) Err() error { return p.t.failed }

func (p *Processor) ready() bool {
	if !p.started {
		p.t.fail(errors.New("its constructor forwards a record; forward from the function that it returns, or from a punctuation"))
	}
	return p.t.failed == nil
}

// sent keeps the error of what followed, and says that the step's function goes on.
func (p *Processor) sent(err error) {
	p.t.failed = err
	p.Enter()
}

// now is the time of the record being processed, for records that have none.
func (p *Processor) now(given time.Time) time.Time {
	if !given.IsZero() {
		return given
	}
	return time.UnixMilli(p.t.env.RecordTime())
}

func (p *Processor) source() Source {
	if in := p.t.env.Current(); in != nil {
		return Source{Topic: in.Topic, Partition: in.Partition, Offset: in.Offset}
	}
	return Source{Partition: -1, Offset: -1}
}
