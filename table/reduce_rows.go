package table

import (
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/store"
)

// ReduceRows returns the table in which the values that the rows of each group count for are folded into one: add adds the value of a
// row, remove takes it away when the row changes or goes. The first value is the result as it is; when the last is taken away the
// result is what remove makes of it: use DeleteWhen to delete it. It is CountRows otherwise.
//
// add and remove may change agg and return it, if values are pointers, maps or slices: agg belongs to them. What remove gets was
// encoded and decoded since it was added. Values are taken away in the order in which rows change, not in that in which they were
// added, so the result must not depend on it.
func ReduceRows[K, V any](g Grouped[K, V], name string, add, remove func(agg, v V) V, opts ...store.Option) KTable[K, V] {
	n := foldedRows(g, "table.ReduceRows", "reduce-rows", name, opts, op.FoldRows[K, V, V]{
		Add: func(_ K, v, agg V, row bool) V {
			if !row {
				return v
			}
			return add(agg, v)
		},
		Remove: func(_ K, v, agg V) V { return remove(agg, v) },
	})
	return result[K, V](n.KeepValue(0).Funcs(add, remove))
}
