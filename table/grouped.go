package table

import (
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/serde"
)

// Grouped is a table whose rows are grouped, for CountRows, ReduceRows and AggregateRows.
type Grouped[K, V any] plan.TableGroups[K, V]

// Named names the grouping, and with it the repartition topic: <application>-<name>-repartition. Without a name that is the name of the
// aggregation, which a grouping with several aggregations cannot choose between: then it has to be named.
func (g Grouped[K, V]) Named(name string) Grouped[K, V] {
	g.node().SetName(name)
	return g
}

// WithSerdes gives the serdes with which the grouping's repartition topic and the stores of its aggregations are written. Nil
// keeps what is there.
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
