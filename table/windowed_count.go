package table

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// CountWindows returns the table of how many records each key has in each window, kept in a window or session store of that name. A row's
// time is the greatest of its records' times; that of a session is its end. Every record changes its row, or several, and each change
// is sent on, unless w says OnClose. Records without a key, and parts of records that come when their window is closed, are dropped
// and counted. A record without a value counts, but not in sliding windows, which drop it. If keys have changed since the records were
// read, they go through the topic <application>-<name>-repartition first, or one named by the grouping.
//
// A session that grows is a new row: the old one is deleted, and sent as a tombstone, before. So are the sessions that a record merges.
// Changes of sessions carry no headers, unless w says OnClose or the store is one with store.UntilCommit, as in Kafka Streams.
//
// Options: InMemory, NoChangelog, TopicConfig, Retention, UntilCommit.
func CountWindows[K, V any](g stream.Grouped[K, V], w window.Any, name string, opts ...store.Option) KTable[window.Key[K], int64] {
	return result[window.Key[K], int64](aggregated(g, "table.CountWindows", "count-windows", w, name, opts, folds[K, V, int64]{
		start: Zero[int64],
		add:   func(_ K, _ V, n int64, _ bool) int64 { return n + 1 },
		merge: func(_ K, a, b int64) int64 { return a + b },
		bare:  true,
	}))
}
