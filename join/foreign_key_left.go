package join

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/table"
)

// ForeignKeyLeft is ForeignKey for all rows of l: ok tells whether there is a row of r that it refers to. A deletion in r joins all rows
// that refer to it again, without it.
func ForeignKeyLeft[K, L, FK, R, O any](l table.KTable[K, L], r table.KTable[FK, R], name string, key func(K, L) (fk FK, ok bool), f func(l L, r R, ok bool) O, opts ...store.Option) table.KTable[K, O] {
	return foreign(l, r, foreignKey[K, L, FK, R, O]{op: "join.ForeignKeyLeft", name: name, key: key, left: true, join: f, given: f}, opts)
}
