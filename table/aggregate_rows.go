package table

import (
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/store"
)

// AggregateRows returns a table with one value for each group, which add and remove compute from
// the group's rows. The first row is added to what zero returns, later ones to the group's value.
// When a row changes, remove subtracts its old value before add adds its new one; when a row is
// deleted, only remove is called. Everything else is as in ReduceRows.
//
//	byCity := table.GroupBy(people, func(id string, p Person) (string, Person, bool) { return p.City, p, true })
//	age := table.AggregateRows(byCity, "age-by-city", table.Zero,
//		func(_ string, p Person, sum int64) int64 { return sum + p.Age },
//		func(_ string, p Person, sum int64) int64 { return sum - p.Age })
func AggregateRows[K, V, A any](
	g Grouped[K, V], name string, zero func() A, add, remove func(key K, v V, agg A) A, opts ...store.Option,
) KTable[K, A] {
	node := aggregateRowsNode(g, "table.AggregateRows", "aggregate-rows", name, opts, operator.FoldRows[K, V, A]{
		Start:  zero,
		Add:    func(k K, v V, agg A, _ bool) A { return add(k, v, agg) },
		Remove: remove,
	})
	return result[K, A](node.CheckFuncs(zero, add, remove))
}
