package stream

import (
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/serde"
)

// Grouped is a stream whose records are grouped by key, for the aggregations of package table.
type Grouped[K, V any] plan.Grouped[K, V]

// Named names the grouping, and with it the repartition topic, where one is needed: <application>-<name>-repartition. Without a name
// that is the name of the aggregation, which a grouping with several aggregations cannot choose between: then it has to be named.
func (g Grouped[K, V]) Named(name string) Grouped[K, V] {
	g.node().SetName(name)
	return g
}

// WithSerdes gives the serdes with which the grouping's repartition topic and the stores of its aggregations are written. Nil
// keeps what is there.
func (g Grouped[K, V]) WithSerdes(k serde.Serde[K], v serde.Serde[V]) Grouped[K, V] {
	setSerdes(g.node(), k, v)
	return g
}

func (g Grouped[K, V]) node() *plan.Node { return plan.Grouped[K, V](g).Handle().Node() }

func grouped[K, V any](n *plan.Node) Grouped[K, V] {
	return Grouped[K, V](plan.NewGrouped(plan.Result[K, V](n)))
}
