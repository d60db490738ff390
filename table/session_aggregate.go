package table

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// AggregateSessions returns the table in which the records of each session of a key are folded into one value, kept in a session store
// of that name. With each record, the aggregates of the sessions that it belongs to are merged into what zero returns, the one that ended
// first before the others, and the record is added to that. Records without a value are dropped and counted. It is CountWindows
// otherwise. DeleteWhen says which rows are deleted.
//
// merge and add may change their aggregates and return one of them, if they are pointers, maps or slices. The value may be shared with
// other steps.
func AggregateSessions[K, V, A any](g stream.Grouped[K, V], w window.Session, name string, zero func() A, add func(key K, v V, agg A) A, merge func(key K, a, b A) A, opts ...store.Option) KTable[window.Key[K], A] {
	n := aggregated(g, "table.AggregateSessions", "aggregate-sessions", w, name, opts, folds[K, V, A]{start: zero, add: ignoringRow(add), merge: merge})
	return result[window.Key[K], A](n.Funcs(zero, add, merge))
}
