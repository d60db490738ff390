package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
)

// Merge returns the records of all given streams. Records of one stream keep their order. Between
// streams no order is promised, except that a task processes the record with the lowest time next.
// The serdes are those of the first stream.
//
//	all := stream.Merge(web, shop, phone)
func Merge[K, V any](streams ...KStream[K, V]) KStream[K, V] {
	inputs := make([]plan.Out, len(streams))
	for i, input := range streams {
		inputs[i] = handle(input).Out()
	}
	node := plan.New[K, V](nil, "stream.Merge", plan.Merging, inputs...)
	if node == nil {
		return KStream[K, V]{}
	}
	node.AddToGraph = func(compiler *plan.Compiler) error {
		g := &graph.Node{Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			// What comes in goes out.
			return wire.Counted(wire.NewSite(node, env), outs[0].(wire.Outlet[K, V])), nil
		}}
		if err := compiler.AddNode(node.Name(), g, inputs...); err != nil {
			return err
		}
		plan.SetOutput[K, V](compiler, 0, g, "")
		return nil
	}
	return result[K, V](node.InheritKeySerde(0).InheritValueSerde(0))
}
