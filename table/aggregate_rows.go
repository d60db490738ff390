package table

import (
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/store"
)

// AggregateRows returns the table in which the rows of each group are folded into one value: the first is added to what zero returns,
// others to the group's value; remove takes a row away again when it changes or goes. It is ReduceRows otherwise.
//
//	byCity := table.GroupBy(people, func(id string, p Person) (string, Person, bool) { return p.City, p, true })
//	age := table.AggregateRows(byCity, "age-by-city", table.Zero,
//		func(_ string, p Person, sum int64) int64 { return sum + p.Age },
//		func(_ string, p Person, sum int64) int64 { return sum - p.Age })
func AggregateRows[K, V, A any](g Grouped[K, V], name string, zero func() A, add, remove func(key K, v V, agg A) A, opts ...store.Option) KTable[K, A] {
	n := foldedRows(g, "table.AggregateRows", "aggregate-rows", name, opts, op.FoldRows[K, V, A]{
		Start:  zero,
		Add:    func(k K, v V, agg A, _ bool) A { return add(k, v, agg) },
		Remove: remove,
	})
	return result[K, A](n.Funcs(zero, add, remove))
}
