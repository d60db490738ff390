package table

import (
	"errors"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/window"
)

// WindowStore returns a reference to the store of a windowed table, for processors, queries and
// tests. It is a window store; tables of sessions have a session store.
func WindowStore[K, V any](t KTable[window.Key[K], V]) store.WindowRef[K, V] {
	n := t.node()
	if n == nil {
		return store.WindowRef[K, V]{}
	}
	return store.NewWindow(n.Table.Store, keyInWindow[K](n), valueSerde[V](n), 0, 0)
}

// SessionStore returns a reference to the store of a table of sessions, for processors, queries and
// tests.
func SessionStore[K, V any](t KTable[window.Key[K], V]) store.SessionRef[K, V] {
	n := t.node()
	if n == nil {
		return store.SessionRef[K, V]{}
	}
	return store.NewSession(n.Table.Store, keyInWindow[K](n), valueSerde[V](n), 0)
}

// VersionedStore returns a reference to the store of a table made with store.Versions, for
// processors, queries and tests.
func VersionedStore[K, V any](t KTable[K, V]) store.VersionedRef[K, V] {
	node := t.node()
	if node == nil {
		return store.VersionedRef[K, V]{}
	}
	return store.NewVersioned(node.Table.Store, keySerde[K](node), valueSerde[V](node), 0)
}

// keyInWindow is the serde of the keys without their windows.
func keyInWindow[K any](n *plan.Node) serde.Serde[K] {
	return spec.TableSerde[K]{Table: n, Serde: func() (serde.Serde[K], error) {
		s, err := plan.KeySerde[window.Key[K]](n)
		if err != nil {
			return nil, err
		}
		in, ok := s.(interface{ Inner() serde.Serde[K] })
		if !ok {
			return nil, errors.New("the serde of its keys was not made by package window")
		}
		return in.Inner(), nil
	}}
}

// keySerde is the serde of the keys of node's table.
func keySerde[K any](node *plan.Node) serde.Serde[K] {
	return spec.TableSerde[K]{Table: node, Serde: func() (serde.Serde[K], error) { return plan.KeySerde[K](node) }}
}

// valueSerde is the serde of the values of node's table.
func valueSerde[V any](node *plan.Node) serde.Serde[V] {
	return spec.TableSerde[V]{Table: node, Serde: func() (serde.Serde[V], error) { return plan.ValueSerde[V](node) }}
}
