package table

import (
	"errors"

	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/window"
)

// WindowStore returns a reference to the store of a table of windows, to be read by processors, queries and tests: a window store,
// as those of all windows but sessions have it.
func WindowStore[K, V any](t KTable[window.Key[K], V]) store.WindowRef[K, V] {
	n := t.node()
	if n == nil {
		return store.WindowRef[K, V]{}
	}
	return store.WindowTableRef(n.Table.Store, n, keyInWindow[K](n), func() (serde.Serde[V], error) { return plan.ValueSerde[V](n) })
}

// SessionStore returns a reference to the store of a table of sessions, to be read by processors, queries and tests.
func SessionStore[K, V any](t KTable[window.Key[K], V]) store.SessionRef[K, V] {
	n := t.node()
	if n == nil {
		return store.SessionRef[K, V]{}
	}
	return store.SessionTableRef(n.Table.Store, n, keyInWindow[K](n), func() (serde.Serde[V], error) { return plan.ValueSerde[V](n) })
}

// VersionedStore returns a reference to the store of a table made with store.Versions, to be read by processors, queries and tests.
func VersionedStore[K, V any](t KTable[K, V]) store.VersionedRef[K, V] {
	n := t.node()
	if n == nil {
		return store.VersionedRef[K, V]{}
	}
	return store.VersionedTableRef(n.Table.Store, n,
		func() (serde.Serde[K], error) { return plan.KeySerde[K](n) },
		func() (serde.Serde[V], error) { return plan.ValueSerde[V](n) })
}

// keyInWindow returns the serde of the keys without their windows.
func keyInWindow[K any](n *plan.Node) func() (serde.Serde[K], error) {
	return func() (serde.Serde[K], error) {
		s, err := plan.KeySerde[window.Key[K]](n)
		if err != nil {
			return nil, err
		}
		in, ok := s.(interface{ Inner() serde.Serde[K] })
		if !ok {
			return nil, errors.New("the serde of its keys was not made by package window")
		}
		return in.Inner(), nil
	}
}
