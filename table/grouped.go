package table

import (
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/serde"
)

// Grouped is a table whose rows are grouped, for CountRows, ReduceRows and AggregateRows.
type Grouped[K, V any] plan.TableGroups[K, V]

// Named names the grouping and its repartition topic, <application>-<name>-repartition. Without a
// name, the topic is named after the aggregation. A grouping with several aggregations must be
// named.
func (g Grouped[K, V]) Named(name string) Grouped[K, V] {
	g.node().SetName(name)
	return g
}

// WithSerdes sets the serdes for the grouping's repartition topic and for the stores of its
// aggregations. A nil serde leaves the present one.
func (g Grouped[K, V]) WithSerdes(k serde.Serde[K], v serde.Serde[V]) Grouped[K, V] {
	if k != nil {
		g.node().SetSerdes(k, nil)
	}
	if v != nil {
		g.node().SetSerdes(nil, v)
	}
	return g
}

func (g Grouped[K, V]) node() *plan.Node { return plan.TableGroups[K, V](g).Handle().Node() }
