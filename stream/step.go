package stream

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
)

// wiring makes the inlet of a step for one task, given what its outlet leads to. What it allocates, it allocates once a task.
type wiring[K, V, K2, V2 any] func(at site, out wire.Outlet[K2, V2]) wire.Outlet[K, V]

// site is a step of one task.
type site struct {
	node  *graph.Node
	env   graph.Env
	place *graph.Place
}

func newSite(n *graph.Node, env graph.Env) site { return site{n, env, graph.PlaceOf(env)} }

// enter says that a function of the step's is called next, for the error of a panic.
func (s site) enter() { s.place.Node = s.node }

// drop counts a record that is dropped.
func (s site) drop(reason string) { s.env.Drop(s.node, reason) }

// step makes the node of an operator with one input and one output, which calls f, the user's function. Serdes are kept where the
// types are.
func step[K2, V2, K, V any](s KStream[K, V], op, kind string, f any, start wiring[K, V, K2, V2]) *plan.Node {
	n := plan.New[K2, V2](nil, op, kind, handle(s).Out()).Funcs(f)
	if n == nil {
		return nil
	}
	n.Emit = func(c *plan.Compile) error {
		g := &graph.Node{Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
			return start(newSite(n, env), outs[0].(wire.Outlet[K2, V2])), nil
		}}
		if err := c.Add(n.Name(), g, n.Input(0)); err != nil {
			return err
		}
		plan.Gives[K2, V2](c, 0, g, "")
		return nil
	}
	return n.KeepKey(0).KeepValue(0)
}

// last makes the node of an operator with one input from which nothing follows.
func last[K, V any](s KStream[K, V], op, kind string, f any, start func(at site) wire.Outlet[K, V]) *plan.Node {
	n := plan.New[K, V](nil, op, kind, handle(s).Out()).Funcs(f)
	if n == nil {
		return nil
	}
	n.Emit = func(c *plan.Compile) error {
		g := &graph.Node{Wire: func(n *graph.Node, env graph.Env, _ []any) (any, error) { return start(newSite(n, env)), nil }}
		return c.Add(n.Name(), g, n.Input(0))
	}
	return n
}

// rekeyed says of a step's node that records may lie in another partition than their key's from here on.
func rekeyed(n *plan.Node) *plan.Node {
	if n != nil {
		n.KeyChanged, n.Rekeys = true, true
	}
	return n
}

// passes says of a step's node that it passes records on as they are.
func passes(n *plan.Node) *plan.Node {
	if n != nil {
		n.Passes = true
	}
	return n
}

// canFail says that a step's records may go to its policy.
func canFail(n *plan.Node) *plan.Node {
	if n != nil {
		n.CanFail = true
	}
	return n
}
