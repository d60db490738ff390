package table

import (
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/store"
)

// CountRows returns the table of how many rows each group has now, kept in a store of that name. A group that loses its last row counts
// 0: use DeleteWhen to delete it. A row's time is the greatest of its changes' times. Every change of a row of the group is sent on,
// also if the count stays.
//
// Options: InMemory, NoChangelog, TopicConfig, UntilCommit.
func CountRows[K, V any](g Grouped[K, V], name string, opts ...store.Option) KTable[K, int64] {
	return result[K, int64](foldedRows(g, "table.CountRows", "count-rows", name, opts, op.FoldRows[K, V, int64]{
		Start:  Zero[int64],
		Add:    func(_ K, _ V, n int64, _ bool) int64 { return n + 1 },
		Remove: func(_ K, _ V, n int64) int64 { return n - 1 },
	}))
}
