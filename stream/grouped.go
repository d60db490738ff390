package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/serde"
)

// Grouped is a stream whose records are grouped by key, for the aggregations of package table.
type Grouped[K, V any] plan.Grouped[K, V]

// Named names the grouping and its repartition topic, if it needs one:
// <application>-<name>-repartition. Without a name, the topic is named after the aggregation. A
// grouping with several aggregations that needs a repartition topic must be named.
func (g Grouped[K, V]) Named(name string) Grouped[K, V] {
	g.node().SetName(name)
	return g
}

// WithSerdes sets the serdes for the grouping's repartition topic and for the stores of its
// aggregations. A nil serde leaves the present one.
func (g Grouped[K, V]) WithSerdes(k serde.Serde[K], v serde.Serde[V]) Grouped[K, V] {
	setSerdes(g.node(), k, v)
	return g
}

func (g Grouped[K, V]) node() *plan.Node { return plan.Grouped[K, V](g).Handle().Node() }

func grouped[K, V any](n *plan.Node) Grouped[K, V] {
	return Grouped[K, V](plan.NewGrouped(plan.Result[K, V](n)))
}
