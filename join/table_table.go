package join

import "github.com/millstream-go/millstream/table"

// TableTable returns a table of the pairs of rows of left and right with the same key. A change of
// either side changes the pair: f is called with the new row and the present row of the other side.
// If a side has no row, there is no pair. f must depend on its arguments alone: it is called again
// when a step that follows reads a row or needs the old one.
//
// The time of a result is the greater of both rows' times; its headers are those of the record that
// changed one of them. A tombstone on one side is sent on if the other side has a row, even if it
// was sent before. The result has no store: its rows are computed from those of left and right,
// which have theirs (see table.Materialize).
//
// The topics of both sides must have the same number of partitions; the start checks it. If the
// tables keep versions, updates older than the latest version of a row are dropped and counted.
//
//	both := join.TableTable(prices, stock, func(p Price, s Stock) Offer { return Offer{p, s} })
func TableTable[K, L, R, O any](
	left table.KTable[K, L], right table.KTable[K, R], f func(left L, right R) O,
) table.KTable[K, O] {
	join := func(left L, _ bool, right R, _ bool) O { return f(left, right) }
	return tableTableNode(left, right, "join.TableTable", joinKind[L, R, O]{join: join}, f)
}
