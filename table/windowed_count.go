package table

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// CountWindows returns a table with the number of records of each key in each window, in a window
// or session store of the given name. The time of a row is the greatest time of its records; that
// of a session is its end. Every record changes one or several rows, and each change is sent on,
// unless w has OnClose. A record without a key is dropped and counted. So is a record whose window
// is closed when it arrives; one with several windows is dropped for the closed ones only. A record
// without a value counts, except in sliding windows, which drop it. If keys have changed since the
// records were read, the records first go through the topic <application>-<name>-repartition, or
// one named after the grouping.
//
// A session that grows becomes a new row: the old row is deleted first, and sent as a tombstone.
// The same happens to sessions that a record merges. Changes of sessions have no headers, unless w
// has OnClose or the store has store.UntilCommit, as in Kafka Streams.
//
// Options: InMemory, NoChangelog, TopicConfig, Retention, UntilCommit.
func CountWindows[K, V any](
	g stream.Grouped[K, V], w window.Any, name string, opts ...store.Option,
) KTable[window.Key[K], int64] {
	return result[window.Key[K], int64](windowedNode(g, "table.CountWindows", "count-windows", w, name, opts,
		windowedFuncs[K, V, int64]{
			zero:        Zero[int64],
			add:         func(_ K, _ V, n int64, _ bool) int64 { return n + 1 },
			merge:       func(_ K, a, b int64) int64 { return a + b },
			acceptsNull: true,
		}))
}
