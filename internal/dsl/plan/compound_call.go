package plan

import (
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
)

// LinkInlet makes output i of the current call lead to one node of the same call. The outlet is
// what that node's Wire has made, whatever its type, so the nodes of one call can share state in a
// task.
func (c *Compiler) LinkInlet(i int, node *graph.Node) Out {
	p := &graph.Port{
		Broadcast: func(inlets []any) any { return inlets[0] },
		// Middleware goes around the steps of both sides; where they meet is inside them.
		WrapMiddleware: func(_ *graph.Node, _ graph.Env, inlet, _ any) any { return inlet },
	}
	node.Ports = append(node.Ports, p)
	o := Out{c.current, i}
	c.ports[o] = outputPort{node, p}
	return o
}

// CurrentName returns the name of the current call, generated if it has none, for calls that make
// several nodes named after it.
func (c *Compiler) CurrentName() string {
	if c.current.name != "" {
		return c.current.name
	}
	return c.generateName(c.current.Kind)
}

// ShareUpstream reports whether two tables have a table upstream in common: one record may change
// both.
func ShareUpstream(a, b Out) bool {
	upstream := map[*Node]bool{}
	anyTable(a.Node, func(n *Node) bool {
		upstream[n] = true
		return false
	})
	return anyTable(b.Node, func(n *Node) bool { return upstream[n] })
}

// anyTable reports whether f is true of n or of a table upstream.
func anyTable(n *Node, f func(*Node) bool) bool {
	if n == nil || n.Table == nil {
		return false
	}
	return f(n) || slices.ContainsFunc(n.inputs, func(in Out) bool { return anyTable(in.Node, f) })
}

// SharePolicy sets n's policy to that of another node. The two are one call of the user's, who has
// the handle of the other.
func (n *Node) SharePolicy(with *Node) { n.policy = with.policy }

// AddInnerStream is AddInnerTable for records.
func AddInnerStream[K, V any](c *Compiler, g *graph.Node) Out {
	return c.innerOutput(addPort[K, V](g, ""))
}
