package table

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// AggregateWindows returns the table in which the records that a key has in a window are folded into one value, kept in a store of that
// name: the first is added to what zero returns, others to the row. Records without a value are dropped and counted. It is
// CountWindows otherwise; for sessions there is AggregateSessions. DeleteWhen says which rows are deleted.
//
// add may change agg and return it, if aggregates are pointers, maps or slices: agg belongs to it. The value may be shared with
// other steps.
func AggregateWindows[K, V, A any](g stream.Grouped[K, V], w window.Fixed, name string, zero func() A, add func(key K, v V, agg A) A, opts ...store.Option) KTable[window.Key[K], A] {
	n := aggregated(g, "table.AggregateWindows", "aggregate-windows", w, name, opts, folds[K, V, A]{start: zero, add: ignoringRow(add)})
	return result[window.Key[K], A](n.Funcs(zero, add))
}

func ignoringRow[K, V, A any](add func(K, V, A) A) func(K, V, A, bool) A {
	return func(k K, v V, agg A, _ bool) A { return add(k, v, agg) }
}
