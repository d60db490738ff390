package table

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// ReduceWindows returns a table with one value for each key and window, which f computes from the
// key's values in the window. The first value of a window becomes the row unchanged. When sessions
// merge, f combines their values, with the older one as agg. The rows are in a store of the given
// name. Records without a value are dropped and counted. Everything else is as in CountWindows.
//
// f may change agg and return it if values are pointers, maps or slices: nothing else refers to it.
// It must not change v, which other steps may share.
func ReduceWindows[K, V any](
	g stream.Grouped[K, V], w window.Any, name string, f func(agg, v V) V, opts ...store.Option,
) KTable[window.Key[K], V] {
	node := windowedNode(g, "table.ReduceWindows", "reduce-windows", w, name, opts, windowedFuncs[K, V, V]{
		add: func(_ K, v, agg V, row bool) V {
			if !row {
				return v
			}
			return f(agg, v)
		},
		merge: func(_ K, a, b V) V { return f(a, b) },
	})
	return result[window.Key[K], V](node.InheritValueSerde(0).CheckFuncs(f))
}
