package table

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// Reduce returns the table in which each key's values are folded into one by f, kept in a store of that name. The first value of a key
// is its row as it is. It is Count otherwise.
//
// f may change agg and return it, if values are pointers, maps or slices: agg belongs to it. v may be shared with other steps.
func Reduce[K, V any](g stream.Grouped[K, V], name string, f func(agg, v V) V, opts ...store.Option) KTable[K, V] {
	n := folded(g, "table.Reduce", "reduce", name, opts, nil, func(_ K, v, agg V, row bool) V {
		if !row {
			return v
		}
		return f(agg, v)
	})
	return result[K, V](n.KeepValue(0).Funcs(f))
}
