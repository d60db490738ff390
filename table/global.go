package table

import (
	"errors"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// GlobalKTable is a table of which every instance has all rows. Its changes are not sent to other
// steps: join.StreamGlobal reads rows, and so do processors and queries, by the reference that
// Store returns.
type GlobalKTable[K, V any] plan.Global[K, V]

// Global reads a topic as a global table: every instance reads all partitions, however many there
// are, keeps every row in a store of the given name, and continues reading while it runs. Each
// record is the new value of its key's row, and a tombstone deletes the row; the record that
// arrives last counts. The topic is the table's changelog, so it should be compacted; nothing is
// written to Kafka.
//
//	names := table.Global(b, countries, "country-names")
//	named := join.StreamGlobal(orders, names,
//		func(r stream.Record[string, Order]) (string, bool) { return r.Value.Country, true },
//		func(o Order, name string) Order { o.CountryName = name; return o })
//
// An App reads the topic to its end before it processes anything else. After that, a row is what
// this instance has read by that moment: the topic and the streams that read rows are not ordered
// by time, and the topic does not move stream time. Records without a key are dropped and counted.
// With the policy DeadLetter, a record that does not decode is skipped, because every instance
// would write the dead letter.
//
// Options: InMemory.
func Global[K, V any](b *stream.Builder, t stream.Topic[K, V], name string, opts ...store.Option) GlobalKTable[K, V] {
	node, settings := storedNode[K, V]((*plan.Program)(b).Builder(), "table.Global", "global-table", name, opts,
		[]string{spec.OptionInMemory})
	if node == nil {
		return GlobalKTable[K, V]{}
	}
	topic := plan.TopicHandle[K, V](t).Topic()
	node.SetSerdes(topic.Key, topic.Value)
	node.AddToGraph = func(compiler *plan.Compiler) error {
		if err := errors.Join(topic.Check(), topic.CheckEarliest("a global table")); err != nil {
			return err
		}
		in := plan.Out{Node: node, Port: 1} // of the source; no handle has it
		if err := plan.SourceAs(compiler, in.Port, name+"-source", plan.AsGlobal, []plan.Topic[K, V]{topic}, ""); err != nil {
			return err
		}
		if err := addSource[K, V](compiler, node, settings, in); err != nil {
			return err
		}
		compiler.BindTopicTable(graph.Store{SourceTopic: topic.Name, Global: true})
		return nil
	}
	return GlobalKTable[K, V](plan.NewGlobal(plan.Result[K, V](node)))
}

// WithSerdes sets the serdes of t's store. A nil serde leaves that of the topic.
func (t GlobalKTable[K, V]) WithSerdes(k serde.Serde[K], v serde.Serde[V]) GlobalKTable[K, V] {
	if k != nil {
		t.node().SetSerdes(k, nil)
	}
	if v != nil {
		t.node().SetSerdes(nil, v)
	}
	return t
}

// OnError sets the policy for records whose row cannot be stored. Defaults to the App's policy.
func (t GlobalKTable[K, V]) OnError(p failure.Policy) GlobalKTable[K, V] {
	t.node().SetPolicy(p)
	return t
}

// Store returns a reference to t's store, for processors of any sub-topology, queries and tests.
func (t GlobalKTable[K, V]) Store() store.KeyValueRef[K, V] { return tableRef[K, V](t.node()) }

func (t GlobalKTable[K, V]) node() *plan.Node { return plan.Global[K, V](t).Handle().Node() }
