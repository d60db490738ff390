// Package table has the KTable, a table of rows that records update, and every operator whose
// result is a table.
//
//	words := stream.GroupBy(lines, func(_, line string) string { return line })
//	n := table.Count(words, "line-counts")
//	stream.To(table.ToStream(table.Filter(n, func(_ string, n int64) bool { return n > 9 })), frequent)
//
// The row of a key changes with each record of the key. Each change is sent on, as a record with
// the new value, or as a tombstone if the row was deleted. Functions see rows, never tombstones;
// MapRows and DeleteWhen let functions delete rows. A table has a store if its function has a name
// argument: a timestamped key-value store of that name, with a compacted changelog topic. Tables of
// other functions have none: their rows are computed from the tables before them when a join reads
// them.
//
// Records without a key are dropped and counted. So are records without a value where a value is
// needed.
package table

import (
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
)

// KTable is a table: the latest value of each key, and the changes that lead to it. It is a handle
// that may be used any number of times; each user gets every change.
type KTable[K, V any] plan.KTable[K, V]

// Named names the step that made t, for descriptions, errors and metrics. It never creates a store;
// Materialize does.
func (t KTable[K, V]) Named(name string) KTable[K, V] {
	t.node().SetName(name)
	return t
}

// WithSerdes sets the serdes of t, for its store and for the steps that follow. A nil serde leaves
// the present one: that of the topic, that of the table or stream before if the type is the same,
// or the registry's.
func (t KTable[K, V]) WithSerdes(k serde.Serde[K], v serde.Serde[V]) KTable[K, V] {
	if k != nil {
		t.node().SetSerdes(k, nil)
	}
	if v != nil {
		t.node().SetSerdes(nil, v)
	}
	return t
}

// OnError sets the policy of the step that made t: what happens to a record whose row cannot be
// stored. Defaults to the App's policy.
func (t KTable[K, V]) OnError(p failure.Policy) KTable[K, V] {
	t.node().SetPolicy(p)
	return t
}

// DeleteWhen deletes a row of the aggregation that made t as soon as f is true for it; f is called
// after each record. The next record of the key starts with a new aggregate. f must depend on its
// arguments alone.
func (t KTable[K, V]) DeleteWhen(deleteWhen func(K, V) bool) KTable[K, V] {
	node := t.node()
	switch {
	case node == nil:
	case !node.Table.CanDeleteWhen:
		node.Errorf("DeleteWhen is for tables made by aggregations; use MapRows or Filter here")
	case node.Table.DeleteWhen != nil:
		node.Errorf("DeleteWhen is given twice")
	case deleteWhen == nil:
		node.Errorf("the function of DeleteWhen is nil")
	default:
		node.Table.DeleteWhen = deleteWhen
	}
	return t
}

// Store returns a reference to t's store, for processors, queries and tests. If t has no store,
// using the reference fails; Materialize creates one.
//
//	n, ok, err := counts.Store().In(app).Get("anna") // app: an App or a testdriver.Driver
func (t KTable[K, V]) Store() store.KeyValueRef[K, V] { return tableRef[K, V](t.node()) }

func tableRef[K, V any](node *plan.Node) store.KeyValueRef[K, V] {
	if node == nil {
		return store.KeyValueRef[K, V]{}
	}
	return store.NewKeyValue(node.Table.Store, keySerde[K](node), valueSerde[V](node))
}

// TimestampedStore is Store for values with the times of their rows, and with their headers if the
// store has them.
func (t KTable[K, V]) TimestampedStore() store.KeyValueRef[K, store.Timestamped[V]] {
	node := t.node()
	if node == nil {
		return store.KeyValueRef[K, store.Timestamped[V]]{}
	}
	return store.NewTimestamped(node.Table.Store, keySerde[K](node), valueSerde[V](node))
}

func (t KTable[K, V]) node() *plan.Node { return handle(t).Node() }

func handle[K, V any](t KTable[K, V]) plan.Handle[K, V] { return plan.KTable[K, V](t).Handle() }

// result makes the KTable of a node.
func result[K, V any](n *plan.Node) KTable[K, V] {
	return KTable[K, V](plan.NewKTable(plan.Result[K, V](n)))
}
