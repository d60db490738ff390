package join

import "github.com/millstream-go/millstream/table"

// TableTable returns the table of the pairs of rows of l and r that have the same key. A change of either side changes the pair: f is
// called with the new row and the one that the other side has then. Where a side has no row there is no pair. f must depend on
// nothing but its arguments: it is called again when a step that follows reads a row or wants the old one.
//
// A result's time is the greater of both rows'; its headers are those of the record that changed one of them. A deletion on one side
// is sent on if the other side has a row, even if it was sent before. The result keeps no store: its rows are computed from those of
// l and r, which keep theirs (see table.Materialize).
//
// The topics of both sides must have the same number of partitions; that is checked at the start. Of tables that keep versions, updates
// older than a row's latest version are dropped and counted.
//
//	both := join.TableTable(prices, stock, func(p Price, s Stock) Offer { return Offer{p, s} })
func TableTable[K, L, R, O any](l table.KTable[K, L], r table.KTable[K, R], f func(l L, r R) O) table.KTable[K, O] {
	join := func(l L, _ bool, r R, _ bool) O { return f(l, r) }
	return tables(l, r, "join.TableTable", pairing[L, R, O]{join: join}, f)
}
