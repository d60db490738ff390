package table

import (
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/store"
)

// ReduceRows returns a table with one value for each group, which add and remove compute from the
// values of the group's rows: add adds the value of a row, remove subtracts it when the row changes
// or is deleted. The first value becomes the result unchanged. After the last row is removed, the
// result is what remove returned; DeleteWhen can delete it. Everything else is as in CountRows.
//
// add and remove may change agg and return it if values are pointers, maps or slices: nothing else
// refers to it. A value that remove gets has been encoded and decoded since it was added. Values
// are removed in the order in which rows change, not in the order in which they were added, so the
// result must not depend on the order.
func ReduceRows[K, V any](
	g Grouped[K, V], name string, add, remove func(agg, v V) V, opts ...store.Option,
) KTable[K, V] {
	node := aggregateRowsNode(g, "table.ReduceRows", "reduce-rows", name, opts, operator.FoldRows[K, V, V]{
		Add: func(_ K, v, agg V, row bool) V {
			if !row {
				return v
			}
			return add(agg, v)
		},
		Remove: func(_ K, v, agg V) V { return remove(agg, v) },
	})
	return result[K, V](node.InheritValueSerde(0).CheckFuncs(add, remove))
}
