package join

import "github.com/millstream-go/millstream/table"

// TableTableLeft is TableTable for all rows of left: f is called with ok false if right has no row
// with that key. When a row of right is deleted, the row of left is joined again without it. When a
// row of left is deleted, the result is deleted.
func TableTableLeft[K, L, R, O any](
	left table.KTable[K, L], right table.KTable[K, R], f func(left L, right R, ok bool) O,
) table.KTable[K, O] {
	join := func(left L, _ bool, right R, ok bool) O { return f(left, right, ok) }
	return tableTableNode(left, right, "join.TableTableLeft", joinKind[L, R, O]{keepLeft: true, join: join}, f)
}
