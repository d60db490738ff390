package stream

import (
	"strconv"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
)

// Branch splits s in two: the records for which predicate is true, and all others.
//
//	big, small := stream.Branch(orders, func(r stream.Record[string, Order]) bool { return r.Value.Cents > 10_000 })
func Branch[K, V any](s KStream[K, V], predicate func(Record[K, V]) bool) (yes, no KStream[K, V]) {
	node := branchNode(s, "stream.Branch", []string{"yes", "no"},
		func(site wire.Site, outs []wire.Outlet[K, V]) wire.Outlet[K, V] {
			yes, no := outs[0], outs[1]
			return func(r Record[K, V]) error {
				site.Enter()
				if predicate(r) {
					return yes(r)
				}
				return no(r)
			}
		}).CheckFuncs(predicate)
	return branchOutput[K, V](node, 0), branchOutput[K, V](node, 1)
}

// Split sends each record to the stream of the first case that is true for it, and to rest if no
// case is. If nothing uses rest, those records are dropped and counted.
//
//	byCase, rest := stream.Split(orders, isGerman, isFrench)
//	stream.To(byCase[0].Named("german"), german)
func Split[K, V any](s KStream[K, V], cases ...func(Record[K, V]) bool) (byCase []KStream[K, V], rest KStream[K, V]) {
	names := make([]string, 0, len(cases)+1)
	fs := make([]any, len(cases))
	for i, f := range cases {
		names, fs[i] = append(names, strconv.Itoa(i+1)), f
	}
	node := branchNode(s, "stream.Split", append(names, "rest"), splitInlet(cases)).CheckFuncs(fs...)
	if len(cases) == 0 {
		node.Errorf("it has no cases")
	}
	byCase = make([]KStream[K, V], len(cases))
	for i := range byCase {
		byCase[i] = branchOutput[K, V](node, i)
	}
	return byCase, branchOutput[K, V](node, len(cases))
}

func splitInlet[K, V any](cases []func(Record[K, V]) bool) func(wire.Site, []wire.Outlet[K, V]) wire.Outlet[K, V] {
	return func(site wire.Site, outs []wire.Outlet[K, V]) wire.Outlet[K, V] {
		// A record that no case matches is only reported as dropped if the program does not use rest.
		unused := len(site.Node.Ports[len(cases)].Children) == 0
		return func(r Record[K, V]) error {
			site.Enter()
			for i, predicate := range cases {
				if predicate(r) {
					return outs[i](r)
				}
			}
			if unused {
				site.Drop(graph.NoBranch)
				return nil
			}
			return outs[len(cases)](r)
		}
	}
}

// branchNode makes the node of a step with one output for each name.
func branchNode[K, V any](
	s KStream[K, V], op string, names []string, newInlet func(wire.Site, []wire.Outlet[K, V]) wire.Outlet[K, V],
) *plan.Node {
	node := plan.New[K, V](nil, op, "branch", handle(s).Out())
	if node == nil {
		return nil
	}
	node.AddToGraph = func(compiler *plan.Compiler) error {
		graphNode := &graph.Node{Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			typed := make([]wire.Outlet[K, V], len(outs))
			for i, outlet := range outs {
				typed[i] = outlet.(wire.Outlet[K, V])
			}
			return newInlet(wire.NewSite(node, env), typed), nil
		}}
		if err := compiler.AddNode(node.Name(), graphNode, node.Input(0)); err != nil {
			return err
		}
		for i, name := range names {
			plan.SetOutput[K, V](compiler, i, graphNode, name)
		}
		return nil
	}
	return passThrough(node).InheritKeySerde(0).InheritValueSerde(0)
}

// branchOutput makes the stream of output i of a branching node. Each output has a node of its own,
// because each may have a name and serdes.
func branchOutput[K, V any](of *plan.Node, i int) KStream[K, V] {
	if of == nil {
		return KStream[K, V]{}
	}
	out := plan.Port[K, V](of, i).Out()
	node := plan.New[K, V](nil, of.Op, "branch", out)
	node.AddToGraph = func(c *plan.Compiler) error {
		c.Alias(0, out)
		if node.Name() != "" {
			return c.NameOutput(out, node.Name())
		}
		return nil
	}
	return result[K, V](passThrough(node).InheritKeySerde(0).InheritValueSerde(0))
}
