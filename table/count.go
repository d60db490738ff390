package table

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// Count returns a table with the number of records of each key, in a store of the given name. If
// keys have changed since the records were read, the records first go through the topic
// <application>-<name>-repartition, or one named after the grouping. The time of a row is the
// greatest time of its records. Every record changes its row, and every change is sent on. Records
// without a key or a value are dropped and counted.
//
// Options: InMemory, NoChangelog, TopicConfig, UntilCommit.
func Count[K, V any](g stream.Grouped[K, V], name string, opts ...store.Option) KTable[K, int64] {
	return result[K, int64](aggregateNode(g, "table.Count", "count", name, opts, Zero[int64],
		func(_ K, _ V, n int64, _ bool) int64 { return n + 1 }))
}
