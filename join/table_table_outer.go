package join

import "github.com/millstream-go/millstream/table"

// TableTableOuter is TableTable for all rows of both sides: at least one of l and r is there. A deletion on one side leaves the row of
// the other, joined again alone; the last one deletes the result.
func TableTableOuter[K, L, R, O any](l table.KTable[K, L], r table.KTable[K, R], f func(l Maybe[L], r Maybe[R]) O) table.KTable[K, O] {
	join := func(l L, left bool, r R, right bool) O { return f(Maybe[L]{l, left}, Maybe[R]{r, right}) }
	return tables(l, r, "join.TableTableOuter", pairing[L, R, O]{left: true, right: true, join: join}, f)
}
