package table

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// ReduceWindows returns the table in which the values that a key has in a window are folded into one by f, kept in a store of that name.
// The first value of a window is its row as it is. Sessions that merge are folded by f, too: the older one is agg. Records without a value are
// dropped and counted. It is CountWindows otherwise.
//
// f may change agg and return it, if values are pointers, maps or slices: agg belongs to it. v may be shared with other steps.
func ReduceWindows[K, V any](g stream.Grouped[K, V], w window.Any, name string, f func(agg, v V) V, opts ...store.Option) KTable[window.Key[K], V] {
	n := aggregated(g, "table.ReduceWindows", "reduce-windows", w, name, opts, folds[K, V, V]{
		add: func(_ K, v, agg V, row bool) V {
			if !row {
				return v
			}
			return f(agg, v)
		},
		merge: func(_ K, a, b V) V { return f(a, b) },
	})
	return result[window.Key[K], V](n.KeepValue(0).Funcs(f))
}
