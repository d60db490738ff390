package table

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// AggregateWindows returns a table with one value for each key and window, which add computes from
// the key's records in the window. The first record is added to what zero returns, later ones to
// the row. The rows are in a store of the given name. Records without a value are dropped and
// counted. DeleteWhen deletes rows. Everything else is as in CountWindows; AggregateSessions is for
// sessions.
//
// add may change agg and return it if aggregates are pointers, maps or slices: nothing else refers
// to it. It must not change v, which other steps may share.
func AggregateWindows[K, V, A any](
	g stream.Grouped[K, V], w window.Fixed, name string, zero func() A, add func(key K, v V, agg A) A,
	opts ...store.Option,
) KTable[window.Key[K], A] {
	n := windowedNode(g, "table.AggregateWindows", "aggregate-windows", w, name, opts,
		windowedFuncs[K, V, A]{zero: zero, add: ignoringRow(add)})
	return result[window.Key[K], A](n.CheckFuncs(zero, add))
}

func ignoringRow[K, V, A any](add func(K, V, A) A) func(K, V, A, bool) A {
	return func(k K, v V, agg A, _ bool) A { return add(k, v, agg) }
}
