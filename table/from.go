package table

import (
	"errors"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// From reads a topic as a table, kept in a store of that name: each record is the new value of its key's row, and a tombstone
// deletes it. The latest to arrive counts, even if its time is older. Every record is sent on, repeated values and repeated
// deletions too.
//
// Options: InMemory, NoChangelog, TopicConfig, OnDemand, SourceIsChangelog, UntilCommit, Versions.
func From[K, V any](b *stream.Builder, t stream.Topic[K, V], name string, opts ...store.Option) KTable[K, V] {
	n, s := stored[K, V](b.Plan(), "table.From", "table", name, opts, append([]string{storespec.SourceIsChangelog}, optionalOptions...))
	if n == nil {
		return KTable[K, V]{}
	}
	topic := t.Plan()
	n.SetSerdes(topic.Key, topic.Value)
	n.Emit = func(c *plan.Compile) error {
		if err := topic.Check(); err != nil {
			return err
		}
		in := plan.Out{Node: n, Port: 1} // of the source; no handle has it
		if err := plan.Source(c, in.Port, name+"-source", true, []plan.Topic[K, V]{topic}, ""); err != nil {
			return err
		}
		if err := emitSource[K, V](c, n, s, in); err != nil || !s.SourceIsChangelog || !n.Table.Keeps {
			return err
		}
		return fromTopic(c, n, topic)
	}
	return result[K, V](n)
}

// fromTopic has the store of n's table restored from the topic that the table is read from.
func fromTopic[K, V any](c *plan.Compile, n *plan.Node, topic plan.Topic[K, V]) error {
	key, err := plan.KeySerde[K](n)
	value, err2 := plan.ValueSerde[V](n)
	if err := errors.Join(err, err2, topic.Restorable()); err != nil {
		return err
	}
	c.FeedTable(graph.Store{Topic: topic.Name, Row: plan.Rows(topic, n.Table.Store, key, value)})
	return nil
}
