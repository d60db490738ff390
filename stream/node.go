package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
)

// wiring makes the inlet of a step for one task; out is what its outlet leads to. Whatever a step
// allocates in its wiring is allocated once per task, not once per record.
type wiring[K, V, K2, V2 any] func(site wire.Site, out wire.Outlet[K2, V2]) wire.Outlet[K, V]

// retryInlet makes the inlet that calls f for each record, and again as often as the step's policy
// says.
func retryInlet[K, V any](site wire.Site, f func(Record[K, V]) error) wire.Outlet[K, V] {
	return func(r Record[K, V]) error {
		site.Enter()
		return graph.Do(site.Env, site.Node, graph.Processing, f, r)
	}
}

// unary makes the node of an operator with one input and one output. f is the user's function; an
// operator that takes none passes the untyped nil. The node inherits the serdes of its input where
// the types are the same.
func unary[K2, V2, K, V any](s KStream[K, V], op, kind string, f any, start wiring[K, V, K2, V2]) *plan.Node {
	node := checkFunc(plan.New[K2, V2](nil, op, kind, handle(s).Out()), f)
	if node == nil {
		return nil
	}
	node.AddToGraph = func(compiler *plan.Compiler) error {
		graphNode := &graph.Node{Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			return start(wire.NewSite(node, env), outs[0].(wire.Outlet[K2, V2])), nil
		}}
		if err := compiler.AddNode(node.Name(), graphNode, node.Input(0)); err != nil {
			return err
		}
		plan.SetOutput[K2, V2](compiler, 0, graphNode, "")
		return nil
	}
	return node.InheritKeySerde(0).InheritValueSerde(0)
}

// terminal makes the node of an operator with one input and no output. f is as in unary.
func terminal[K, V any](
	s KStream[K, V], op, kind string, f any, start func(site wire.Site) wire.Outlet[K, V],
) *plan.Node {
	node := checkFunc(plan.New[K, V](nil, op, kind, handle(s).Out()), f)
	if node == nil {
		return nil
	}
	node.AddToGraph = func(c *plan.Compiler) error {
		g := &graph.Node{Wire: func(node *graph.Node, env graph.Env, _ []any) (any, error) {
			return start(wire.NewSite(node, env)), nil
		}}
		return c.AddNode(node.Name(), g, node.Input(0))
	}
	return node
}

// checkFunc records a mistake if f, the user's function, is nil. The nil function of a user has a
// type, so it differs from the untyped nil of an operator that takes no function.
func checkFunc(node *plan.Node, f any) *plan.Node {
	if f == nil {
		return node
	}
	return node.CheckFuncs(f)
}

// changesKey marks a node behind which records may be in another partition than that of their key:
// steps that need them there use a repartition topic.
func changesKey(n *plan.Node) *plan.Node {
	if n != nil {
		n.KeyChanged, n.ChangesKey = true, true
	}
	return n
}

// passThrough marks a node that passes records on unchanged and looks at one at a time. Build may
// move it behind a repartition topic, where it has the records of other tasks: a step that counts
// or remembers records must not be marked.
func passThrough(n *plan.Node) *plan.Node {
	if n != nil {
		n.PassThrough = true
	}
	return n
}

// canFail marks a node whose records may go to its policy.
func canFail(n *plan.Node) *plan.Node {
	if n != nil {
		n.CanFail = true
	}
	return n
}
