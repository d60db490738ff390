package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
)

// AssumePartitioned declares that each record of s is in the partition of its key, although a step
// before may have changed keys. Steps that follow then make no repartition topic. Use it where the
// producer already partitions by what becomes the key, or where joined topics are partitioned alike
// in a way that Build cannot see: Build compares the partitioners of topics, and trusts s. If the
// declaration is wrong, rows of one key are spread over several tasks, and tables have wrong
// results.
//
//	counts := table.Count(stream.GroupByKey(stream.AssumePartitioned(trimmed)), "counts")
func AssumePartitioned[K, V any](s KStream[K, V]) KStream[K, V] {
	node := plan.New[K, V](nil, "stream.AssumePartitioned", "assume-partitioned", handle(s).Out())
	if node == nil {
		return KStream[K, V]{}
	}
	node.KeyChanged, node.AssumesPartitioned = false, true
	node.AddToGraph = func(compiler *plan.Compiler) error {
		// The step does nothing, but it must exist: when Build follows the graph upwards to see how
		// records are partitioned, it must stop here and not see the change of keys before.
		g := &graph.Node{Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			return wire.Counted(wire.NewSite(node, env), outs[0].(wire.Outlet[K, V])), nil
		}}
		if err := compiler.AddNode(node.Name(), g, node.Input(0)); err != nil {
			return err
		}
		plan.SetOutput[K, V](compiler, 0, g, "")
		return nil
	}
	return result[K, V](passThrough(node).InheritKeySerde(0).InheritValueSerde(0))
}
