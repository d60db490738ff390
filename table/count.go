package table

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// Count returns the table of how many records each key has, kept in a store of that name. If keys have changed since the records were
// read, they go through the topic <application>-<name>-repartition first, or one named by the grouping. A row's time is the
// greatest of its records' times. Every record changes its row and is sent on; records without a key or a value are dropped
// and counted.
//
// Options: InMemory, NoChangelog, TopicConfig, UntilCommit.
func Count[K, V any](g stream.Grouped[K, V], name string, opts ...store.Option) KTable[K, int64] {
	return result[K, int64](folded(g, "table.Count", "count", name, opts, Zero[int64], func(_ K, _ V, n int64, _ bool) int64 { return n + 1 }))
}
