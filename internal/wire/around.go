package wire

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/topology"
)

// Around puts middleware around an edge of records: for graph.Port. around is a []topology.Around, outermost first. What is made here
// is made once for a task and a step: a record that passes allocates nothing beyond what the middleware does.
func Around[K, V any](n *graph.Node, env graph.Env, inlet, around any) any {
	in := inlet.(Outlet[K, V])
	for i, all := 0, around.([]topology.Around); i < len(all); i++ {
		x := &passing[K, V]{}
		c := newCall(n, env, all[len(all)-1-i], x)
		next := in
		c.step = func() error { return next(x.Record) }
		in = func(r topology.Record[K, V]) error {
			x.Record = r
			return c.pass()
		}
	}
	return in
}

// AroundTable is Around for changes.
func AroundTable[K, V any](n *graph.Node, env graph.Env, inlet, around any) any {
	in := inlet.(TableOutlet[K, V])
	for i, all := 0, around.([]topology.Around); i < len(all); i++ {
		x, change := &passing[K, V]{}, Change[K, V]{}
		c := newCall(n, env, all[len(all)-1-i], x)
		next := in
		c.step = func() error {
			change.Record = x.Record
			return next(change)
		}
		in = func(r Change[K, V]) error {
			x.Record, change = r.Record, r
			return c.pass()
		}
	}
	return in
}

// passing is a record as middleware sees it: a topology.Passing. It is the record's place until the step is done. No record meets a
// step twice at a time, since a topology has no cycles.
type passing[K, V any] struct{ topology.Record[K, V] }

func (p *passing[K, V]) Key() (any, bool)   { return p.Record.Key, !p.NoKey }
func (p *passing[K, V]) Value() (any, bool) { return p.Record.Value, !p.Tombstone }
func (p *passing[K, V]) Time() time.Time    { return p.Record.Time }

func (p *passing[K, V]) Headers() topology.Headers     { return p.Record.Headers }
func (p *passing[K, V]) SetHeaders(h topology.Headers) { p.Record.Headers = h }

// call is one middleware around one step.
type call struct {
	node  *graph.Node
	env   graph.Env
	place *graph.Place
	f     topology.Around
	of    topology.Passing
	step  func() error
	next  func() error // what f is given

	done bool  // the step has been called
	err  error // what it returned
}

func newCall(n *graph.Node, env graph.Env, f topology.Around, of topology.Passing) *call {
	c := &call{node: n, env: env, place: graph.PlaceOf(env), f: f, of: of}
	c.next = func() error {
		if c.done {
			return errTwice
		}
		c.done = true
		c.err = c.step()
		c.place.Node = n // the middleware goes on
		return c.err
	}
	return c
}

var errTwice = errors.New("middleware calls its step a second time for one record")

// pass calls the middleware for a record. What the step returned ends the task, whatever the middleware says. An error of
// the middleware's own goes to the step's policy as long as the step has not been called; afterwards nothing could take it back.
func (c *call) pass() error {
	for attempt := 1; ; attempt++ {
		c.done, c.err, c.place.Node = false, nil, c.node
		err := c.f(c.of, c.next)
		switch {
		case c.err != nil:
			return c.err
		case err == nil && !c.done:
			c.env.Drop(c.node, graph.HeldBack)
			return nil
		case err == nil:
			return nil
		case c.done:
			return fmt.Errorf("middleware fails when its step is done: %w", err)
		}
		if again, err := graph.Failed(c.env, c.node, attempt, err); !again {
			return err
		}
	}
}
