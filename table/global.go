package table

import (
	"errors"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// GlobalKTable is a table of which every instance has all rows. Its changes set nothing off: join.StreamGlobal looks rows up, and so do
// processors and queries by the reference that Store returns.
type GlobalKTable[K, V any] plan.Global[K, V]

// Global reads a topic as a global table: every instance reads all partitions, whatever their number is, keeps every row in a store of that
// name, and reads on while it runs. Each record is the new value of its key's row, and a tombstone deletes it; the latest to arrive
// counts. The topic is the table's changelog and nothing is written to Kafka, so it should be compacted.
//
//	names := table.Global(b, countries, "country-names")
//	named := join.StreamGlobal(orders, names,
//		func(r stream.Record[string, Order]) (string, bool) { return r.Value.Country, true },
//		func(o Order, name string) Order { o.CountryName = name; return o })
//
// An App reads the topic to its end before it processes anything else. After that a row is what this instance has applied at that moment:
// there is no order between the topic and the streams that look rows up, and stream time has no part in it. Records without a key
// are dropped and counted. A record that does not decode under the policy DeadLetter is skipped: each instance would write it.
//
// Options: InMemory.
func Global[K, V any](b *stream.Builder, t stream.Topic[K, V], name string, opts ...store.Option) GlobalKTable[K, V] {
	n, s := stored[K, V](b.Plan(), "table.Global", "global-table", name, opts, []string{storespec.InMemory})
	if n == nil {
		return GlobalKTable[K, V]{}
	}
	topic := t.Plan()
	n.SetSerdes(topic.Key, topic.Value)
	n.Emit = func(c *plan.Compile) error {
		if err := errors.Join(topic.Check(), topic.Earliest("a global table")); err != nil {
			return err
		}
		in := plan.Out{Node: n, Port: 1} // of the source; no handle has it
		if err := plan.SourceAs(c, in.Port, name+"-source", plan.AsGlobal, []plan.Topic[K, V]{topic}, ""); err != nil {
			return err
		}
		if err := emitSource[K, V](c, n, s, in); err != nil {
			return err
		}
		c.FeedTable(graph.Store{Topic: topic.Name, Global: true})
		return nil
	}
	return GlobalKTable[K, V](plan.NewGlobal(plan.Result[K, V](n)))
}

// WithSerdes gives the serdes of t's store. Nil keeps the topic's.
func (t GlobalKTable[K, V]) WithSerdes(k serde.Serde[K], v serde.Serde[V]) GlobalKTable[K, V] {
	if k != nil {
		t.node().SetSerdes(k, nil)
	}
	if v != nil {
		t.node().SetSerdes(nil, v)
	}
	return t
}

// OnError is the policy for records whose row cannot be stored. Defaults to the App's.
func (t GlobalKTable[K, V]) OnError(p failure.Policy) GlobalKTable[K, V] {
	t.node().SetPolicy(p)
	return t
}

// Store returns a reference to t's store, to be read by processors of any sub-topology, queries and tests.
func (t GlobalKTable[K, V]) Store() store.KeyValueRef[K, V] { return tableRef[K, V](t.node()) }

func (t GlobalKTable[K, V]) node() *plan.Node { return plan.Global[K, V](t).Handle().Node() }
