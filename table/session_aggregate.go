package table

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// AggregateSessions returns a table with one value for each session of a key, in a session store of
// the given name. For each record, merge first combines the aggregates of all sessions that the
// record belongs to with what zero returns, in the order in which the sessions ended; then add adds
// the record. Records without a value are dropped and counted. DeleteWhen deletes rows. Everything
// else is as in CountWindows.
//
// merge and add may change their aggregates and return one of them, if they are pointers, maps or
// slices. add must not change v, which other steps may share.
func AggregateSessions[K, V, A any](
	g stream.Grouped[K, V], w window.Session, name string, zero func() A, add func(key K, v V, agg A) A,
	merge func(key K, a, b A) A, opts ...store.Option,
) KTable[window.Key[K], A] {
	n := windowedNode(g, "table.AggregateSessions", "aggregate-sessions", w, name, opts,
		windowedFuncs[K, V, A]{zero: zero, add: ignoringRow(add), merge: merge})
	return result[window.Key[K], A](n.CheckFuncs(zero, add, merge))
}
