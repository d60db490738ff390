package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/plan"
)

// GroupByKey groups the records by their keys. An aggregation of them uses a repartition topic only
// if a step before has changed keys.
//
//	clicksByUser := stream.GroupByKey(clicks)
func GroupByKey[K, V any](s KStream[K, V]) Grouped[K, V] {
	return grouped[K, V](aliasNode(s, "stream.GroupByKey", plan.Grouping))
}

// aliasNode makes the node of a call that adds no step: its output is its input under another
// handle.
func aliasNode[K, V any](s KStream[K, V], op, kind string) *plan.Node {
	in := handle(s).Out()
	node := plan.New[K, V](nil, op, kind, in)
	if node == nil {
		return nil
	}
	node.AddToGraph = func(c *plan.Compiler) error {
		c.Alias(0, in)
		return nil
	}
	return passThrough(node).InheritKeySerde(0).InheritValueSerde(0)
}
