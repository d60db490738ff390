package wire

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/topology"
)

// Middleware returns what a graph has of a program's middleware; nil when the program has none.
func Middleware(all []topology.Middleware) func(*graph.Node, graph.TaskID) any {
	if len(all) == 0 {
		return nil
	}
	return func(node *graph.Node, task graph.TaskID) any {
		var around []topology.Around
		for _, middleware := range all {
			if a := middleware(describe(node), task.String()); a != nil {
				around = append(around, a)
			}
		}
		// An empty slice would be a value that is not nil: the step would be wrapped in nothing.
		if around == nil {
			return nil
		}
		return around
	}
}

// describe returns n as users see it. Package topology describes whole programs, so this makes one
// of n alone.
func describe(n *graph.Node) topology.Node {
	alone := graph.NewHandle(&graph.Graph{Subtopologies: []*graph.Subtopology{{Nodes: []*graph.Node{n}}}})
	return (*topology.Topology)(alone).Subtopologies()[0].Nodes[0]
}

// WrapMiddleware puts middleware around an edge of records, for graph.Port. around is a
// []topology.Around, outermost first. Everything is allocated once per task and step: a record that
// passes costs no allocation beyond those of the middleware.
func WrapMiddleware[K, V any](node *graph.Node, env graph.Env, inlet, around any) any {
	in := inlet.(Outlet[K, V])
	for i, all := 0, around.([]topology.Around); i < len(all); i++ {
		record := &passingRecord[K, V]{}
		c := newMiddlewareCall(node, env, all[len(all)-1-i], record)
		next := in
		c.step = func() error { return next(record.Record) }
		in = func(r topology.Record[K, V]) error {
			record.Record = r
			return c.process()
		}
	}
	return in
}

// WrapTableMiddleware is WrapMiddleware for changes.
func WrapTableMiddleware[K, V any](node *graph.Node, env graph.Env, inlet, around any) any {
	in := inlet.(TableOutlet[K, V])
	for i, all := 0, around.([]topology.Around); i < len(all); i++ {
		record, change := &passingRecord[K, V]{}, Change[K, V]{}
		c := newMiddlewareCall(node, env, all[len(all)-1-i], record)
		next := in
		c.step = func() error {
			change.Record = record.Record
			return next(change)
		}
		in = func(r Change[K, V]) error {
			record.Record, change = r.Record, r
			return c.process()
		}
	}
	return in
}

// passingRecord is a record as middleware sees it: a topology.Passing. It holds the record until
// the step is done. No record meets a step twice at a time, since a topology has no cycles.
type passingRecord[K, V any] struct{ topology.Record[K, V] }

func (p *passingRecord[K, V]) Key() (any, bool)   { return p.Record.Key, !p.NoKey }
func (p *passingRecord[K, V]) Value() (any, bool) { return p.Record.Value, !p.Tombstone }
func (p *passingRecord[K, V]) Time() time.Time    { return p.Record.Time }

func (p *passingRecord[K, V]) Headers() topology.Headers     { return p.Record.Headers }
func (p *passingRecord[K, V]) SetHeaders(h topology.Headers) { p.Record.Headers = h }

// middlewareCall is one middleware around one step.
type middlewareCall struct {
	site   Site
	around topology.Around
	record topology.Passing
	step   func() error
	next   func() error // what around gets

	attempt func(topology.Passing) error // callOnce, allocated once

	stepCalled bool  // the step was called for this record
	stepErr    error // what it returned
}

func newMiddlewareCall(
	node *graph.Node, env graph.Env, around topology.Around, record topology.Passing,
) *middlewareCall {
	c := &middlewareCall{site: NewSite(node, env), around: around, record: record}
	c.attempt = c.callOnce
	c.next = func() error {
		// A second call would process the record twice, which no policy could undo.
		if c.stepCalled {
			return errSecondCall
		}
		c.stepCalled = true
		c.stepErr = c.step()
		c.site.Resume() // the middleware goes on
		return c.stepErr
	}
	return c
}

var errSecondCall = errors.New("middleware calls its step twice for one record")

// process calls the middleware for a record.
func (c *middlewareCall) process() error {
	return graph.Do(c.site.Env, c.site.Node, graph.Processing, c.attempt, c.record)
}

func (c *middlewareCall) callOnce(record topology.Passing) error {
	c.stepCalled, c.stepErr = false, nil
	c.site.Resume()
	err := c.around(record, c.next)
	switch {
	// An error of the step ends the task, even if the middleware returns another one or none.
	case c.stepErr != nil:
		return retry.Fatal(c.stepErr)
	case err == nil && !c.stepCalled:
		c.site.Drop(graph.DroppedByMiddleware)
	// The record has been processed. The step's policy could neither skip nor repeat it.
	case err != nil && c.stepCalled:
		return retry.Fatal(fmt.Errorf("middleware fails when its step is done: %w", err))
	}
	return err
}
