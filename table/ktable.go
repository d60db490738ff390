// Package table has the KTable, a table of rows that records update, and every operator whose result is a table.
//
//	words := stream.GroupBy(lines, func(_, line string) string { return line })
//	n := table.Count(words, "line-counts")
//	stream.To(table.ToStream(table.Filter(n, func(_ string, n int64) bool { return n > 9 })), frequent)
//
// A table's row changes with each record of its key, and each change is sent on, as a record with the new value or as a tombstone
// when the row is gone. Functions see rows, never tombstones; MapRows and DeleteWhen are how functions delete. A table is kept in a
// store where its function takes a name: a timestamped key-value store of that name, with a compacted changelog topic. The other
// functions keep none: their rows are computed from those before when a join asks for them.
//
// Records without a key are dropped and counted, and so are records without a value where a value is needed.
package table

import (
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
)

// KTable is a table: the latest value of each key, and the changes that lead there. It is a handle: a value that may be used any
// number of times, each use getting every change.
type KTable[K, V any] plan.KTable[K, V]

// Named names the step that made t, for descriptions, errors and metrics. It never makes a store: see Materialize.
func (t KTable[K, V]) Named(name string) KTable[K, V] {
	t.node().SetName(name)
	return t
}

// WithSerdes gives the serdes of t, for its store and for steps that follow. Nil keeps what is there: the topic's serde, that of the
// table or stream before where the type is the same, or the registry's.
func (t KTable[K, V]) WithSerdes(k serde.Serde[K], v serde.Serde[V]) KTable[K, V] {
	if k != nil {
		t.node().SetSerdes(k, nil)
	}
	if v != nil {
		t.node().SetSerdes(nil, v)
	}
	return t
}

// OnError is the policy of the step that made t: what happens to a record whose row cannot be stored. Defaults to the App's.
func (t KTable[K, V]) OnError(p failure.Policy) KTable[K, V] {
	t.node().SetPolicy(p)
	return t
}

// DeleteWhen deletes a row of the aggregation that made t once f is true of it, after each record; the next record of the key starts
// anew. f must depend on nothing but its arguments.
func (t KTable[K, V]) DeleteWhen(f func(K, V) bool) KTable[K, V] {
	n := t.node()
	switch {
	case n == nil:
	case !n.Table.Aggregates:
		n.Errorf("DeleteWhen is for tables made by aggregations; use MapRows or Filter here")
	case n.Table.DeleteWhen != nil:
		n.Errorf("DeleteWhen is given twice")
	case f == nil:
		n.Errorf("the function of DeleteWhen is nil")
	default:
		n.Table.DeleteWhen = f
	}
	return t
}

// Store returns a reference to t's store, to be read by processors, queries and tests. A table that keeps none gives a reference that
// fails when it is used: see Materialize.
func (t KTable[K, V]) Store() store.KeyValueRef[K, V] { return tableRef[K, V](t.node()) }

func tableRef[K, V any](n *plan.Node) store.KeyValueRef[K, V] {
	if n == nil {
		return store.KeyValueRef[K, V]{}
	}
	return store.TableRef(n.Table.Store, n,
		func() (serde.Serde[K], error) { return plan.KeySerde[K](n) },
		func() (serde.Serde[V], error) { return plan.ValueSerde[V](n) })
}

// Stamped is Store for values with the times of their rows, and their headers where the store keeps them.
func (t KTable[K, V]) Stamped() store.KeyValueRef[K, store.Stamped[V]] {
	n := t.node()
	if n == nil {
		return store.KeyValueRef[K, store.Stamped[V]]{}
	}
	return store.StampedTableRef(n.Table.Store, n,
		func() (serde.Serde[K], error) { return plan.KeySerde[K](n) },
		func() (serde.Serde[V], error) { return plan.ValueSerde[V](n) })
}

func (t KTable[K, V]) node() *plan.Node { return handle(t).Node() }

func handle[K, V any](t KTable[K, V]) plan.Handle[K, V] { return plan.KTable[K, V](t).Handle() }

// result makes the KTable of a node.
func result[K, V any](n *plan.Node) KTable[K, V] {
	return KTable[K, V](plan.NewKTable(plan.Result[K, V](n)))
}
