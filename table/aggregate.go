package table

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// Aggregate returns a table with one value for each key, which add computes from the key's records.
// The first record is added to what zero returns, later ones to the row. The rows are in a store of
// the given name. DeleteWhen deletes rows. Everything else is as in Count.
//
// add may change agg and return it if aggregates are pointers, maps or slices: nothing else refers
// to it. It must not change v, which other steps may share.
func Aggregate[K, V, A any](
	g stream.Grouped[K, V], name string, zero func() A, add func(key K, v V, agg A) A, opts ...store.Option,
) KTable[K, A] {
	n := aggregateNode(g, "table.Aggregate", "aggregate", name, opts, zero,
		func(k K, v V, agg A, _ bool) A { return add(k, v, agg) })
	return result[K, A](n.CheckFuncs(zero, add))
}
