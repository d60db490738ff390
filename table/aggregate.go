package table

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// Aggregate returns the table in which each key's records are folded into one value, kept in a store of that name: the first is added
// to what zero returns, others to the row. It is Count otherwise. DeleteWhen says which rows are deleted.
//
// add may change agg and return it, if aggregates are pointers, maps or slices: agg belongs to it. The value may be shared with
// other steps.
func Aggregate[K, V, A any](g stream.Grouped[K, V], name string, zero func() A, add func(key K, v V, agg A) A, opts ...store.Option) KTable[K, A] {
	n := folded(g, "table.Aggregate", "aggregate", name, opts, zero, func(k K, v V, agg A, _ bool) A { return add(k, v, agg) })
	return result[K, A](n.Funcs(zero, add))
}
