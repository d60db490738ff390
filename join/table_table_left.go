package join

import "github.com/millstream-go/millstream/table"

// TableTableLeft is TableTable for all rows of l: ok tells whether r has a row of the key. A deletion in r leaves the row of l, joined
// again without it; one in l deletes the result.
func TableTableLeft[K, L, R, O any](l table.KTable[K, L], r table.KTable[K, R], f func(l L, r R, ok bool) O) table.KTable[K, O] {
	join := func(l L, _ bool, r R, ok bool) O { return f(l, r, ok) }
	return tables(l, r, "join.TableTableLeft", pairing[L, R, O]{left: true, join: join}, f)
}
