package table

import (
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/store"
)

// CountRows returns a table with the present number of rows in each group, in a store of the given
// name. The count of a group that loses its last row is 0; DeleteWhen can delete it. The time of a
// row is the greatest time of its changes. Every change of a row of the group is sent on, even if
// the count stays the same.
//
// Options: InMemory, NoChangelog, TopicConfig, UntilCommit.
func CountRows[K, V any](g Grouped[K, V], name string, opts ...store.Option) KTable[K, int64] {
	return result[K, int64](aggregateRowsNode(g, "table.CountRows", "count-rows", name, opts,
		operator.FoldRows[K, V, int64]{
			Start:  Zero[int64],
			Add:    func(_ K, _ V, n int64, _ bool) int64 { return n + 1 },
			Remove: func(_ K, _ V, n int64) int64 { return n - 1 },
		}))
}
