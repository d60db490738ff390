package stream

import (
	"github.com/millstream-go/millstream/internal/plan"
)

// GroupByKey groups the records by their keys. Aggregating goes through a repartition topic only if a step before has changed keys.
//
//	clicksByUser := stream.GroupByKey(clicks)
func GroupByKey[K, V any](s KStream[K, V]) Grouped[K, V] {
	return grouped[K, V](same(s, "stream.GroupByKey", plan.Grouping))
}

// same makes the node of a call that adds no step: it says something about the stream.
func same[K, V any](s KStream[K, V], op, kind string) *plan.Node {
	in := handle(s).Out()
	n := plan.New[K, V](nil, op, kind, in)
	if n == nil {
		return nil
	}
	n.Emit = func(c *plan.Compile) error {
		c.Alias(0, in)
		return nil
	}
	return passes(n).KeepKey(0).KeepValue(0)
}
