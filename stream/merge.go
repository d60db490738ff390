package stream

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/plan"
)

// Merge returns the records of all given streams. Those of one stream keep their order; between streams none is promised beyond that
// a task takes the record with the lowest time next. Serdes are those of the first stream.
//
//	all := stream.Merge(web, shop, phone)
func Merge[K, V any](s ...KStream[K, V]) KStream[K, V] {
	inputs := make([]plan.Out, len(s))
	for i, x := range s {
		inputs[i] = handle(x).Out()
	}
	n := plan.New[K, V](nil, "stream.Merge", plan.Merging, inputs...)
	if n == nil {
		return KStream[K, V]{}
	}
	n.Emit = func(c *plan.Compile) error {
		// What comes in goes out: the outlet is the inlet.
		g := &graph.Node{Wire: func(_ *graph.Node, _ graph.Env, outs []any) (any, error) { return outs[0], nil }}
		if err := c.Add(n.Name(), g, inputs...); err != nil {
			return err
		}
		plan.Gives[K, V](c, 0, g, "")
		return nil
	}
	return result[K, V](n.KeepKey(0).KeepValue(0))
}
