package join

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/table"
)

// ForeignKeyLeft is ForeignKey for all rows of left: f is called with ok false if the row of right
// that a row refers to does not exist. When a row of right is deleted, all rows that refer to it
// are joined again, without it.
func ForeignKeyLeft[K, L, FK, R, O any](
	left table.KTable[K, L], right table.KTable[FK, R], name string, key func(K, L) (fk FK, ok bool),
	f func(left L, right R, ok bool) O, opts ...store.Option,
) table.KTable[K, O] {
	return foreignKeyNode(left, right, foreignKeyJoin[K, L, FK, R, O]{op: "join.ForeignKeyLeft", name: name, key: key,
		keepLeft: true, join: f, userFunc: f}, opts)
}
