package plan

import (
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
)

// Link says that output i of the current call, which no handle has, leads to one node of the same call: what that node's Wire made is what
// the outlet is, whatever its type. Calls that make several nodes share what they have in a task so.
func (c *Compile) Link(i int, g *graph.Node) Out {
	p := &graph.Port{
		Fan: func(inlets []any) any { return inlets[0] },
		// Middleware goes around the steps of both sides; where they meet is inside them.
		Around: func(_ *graph.Node, _ graph.Env, inlet, _ any) any { return inlet },
	}
	g.Ports = append(g.Ports, p)
	o := Out{c.at, i}
	c.ports[o] = port{g, p}
	return o
}

// NameOf returns the name of the current call, a generated one where it has none: for calls that make several nodes, which are named after
// it.
func (c *Compile) NameOf() string {
	if c.at.name != "" {
		return c.at.name
	}
	return c.generate(c.at.Kind)
}

// Related says that two tables have a table before them in common: one record may change both.
func Related(a, b Out) bool {
	before := map[*Node]bool{}
	tables(a.Node, func(n *Node) bool {
		before[n] = true
		return false
	})
	return tables(b.Node, func(n *Node) bool { return before[n] })
}

// tables calls f for n and the tables before it, until f says to stop, and says whether it did.
func tables(n *Node, f func(*Node) bool) bool {
	if n == nil || n.Table == nil {
		return false
	}
	return f(n) || slices.ContainsFunc(n.inputs, func(in Out) bool { return tables(in.Node, f) })
}

// SharePolicy gives n the policy of another node: both are one call of the user's, whose handle is that of the other.
func (n *Node) SharePolicy(with *Node) { n.policy = with.policy }

// Inner returns an output of records from a node of the current call, which no handle has.
func Inner[K, V any](c *Compile, g *graph.Node) Out { return c.inner(addPort[K, V](g, "")) }
