package join

import "github.com/millstream-go/millstream/table"

// TableTableOuter is TableTable for all rows of both sides: at least one of left and right is
// present. When a row of one side is deleted, the row of the other side is joined again alone; when
// that is deleted, too, the result is deleted.
func TableTableOuter[K, L, R, O any](
	left table.KTable[K, L], right table.KTable[K, R], f func(left Maybe[L], right Maybe[R]) O,
) table.KTable[K, O] {
	join := func(l L, hasLeft bool, r R, hasRight bool) O { return f(Maybe[L]{l, hasLeft}, Maybe[R]{r, hasRight}) }
	return tableTableNode(left, right, "join.TableTableOuter", joinKind[L, R, O]{keepLeft: true, keepRight: true,
		join: join}, f)
}
