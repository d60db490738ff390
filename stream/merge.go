package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/plan"
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
		// What comes in goes out: the outlet is the inlet.
		g := &graph.Node{Wire: func(_ *graph.Node, _ graph.Env, outs []any) (any, error) { return outs[0], nil }}
		if err := compiler.AddNode(node.Name(), g, inputs...); err != nil {
			return err
		}
		plan.SetOutput[K, V](compiler, 0, g, "")
		return nil
	}
	return result[K, V](node.InheritKeySerde(0).InheritValueSerde(0))
}
