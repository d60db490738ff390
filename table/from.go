package table

import (
	"errors"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// From reads a topic as a table, in a store of the given name: each record is the new value of its
// key's row, and a tombstone deletes the row. The record that arrives last counts, even if its time
// is older. Every record is sent on, including repeated values and repeated tombstones.
//
// Options: InMemory, NoChangelog, TopicConfig, OnDemand, SourceIsChangelog, UntilCommit, Versions.
func From[K, V any](b *stream.Builder, t stream.Topic[K, V], name string, opts ...store.Option) KTable[K, V] {
	node, settings := storedNode[K, V]((*plan.Program)(b).Builder(), "table.From", "table", name, opts,
		append([]string{spec.OptionSourceIsChangelog}, optionalOptions...))
	if node == nil {
		return KTable[K, V]{}
	}
	topic := plan.TopicHandle[K, V](t).Topic()
	node.SetSerdes(topic.Key, topic.Value)
	node.AddToGraph = func(compiler *plan.Compiler) error {
		if err := topic.Check(); err != nil {
			return err
		}
		in := plan.Out{Node: node, Port: 1} // of the source; no handle has it
		if err := plan.Source(compiler, in.Port, name+"-source", true, []plan.Topic[K, V]{topic}, ""); err != nil {
			return err
		}
		if err := addSource[K, V](compiler, node, settings, in); err != nil || !settings.SourceIsChangelog ||
			!node.Table.HasStore {
			return err
		}
		return restoreFromTopic(compiler, node, topic)
	}
	return result[K, V](node)
}

// restoreFromTopic makes the topic that a table is read from the changelog of its store.
func restoreFromTopic[K, V any](compiler *plan.Compiler, node *plan.Node, topic plan.Topic[K, V]) error {
	key, err := plan.KeySerde[K](node)
	value, err2 := plan.ValueSerde[V](node)
	if err := errors.Join(err, err2, topic.CheckRestorable()); err != nil {
		return err
	}
	compiler.BindTopicTable(graph.Store{SourceTopic: topic.Name, RowDecoder: plan.RowDecoder(topic, node.Table.Store, key,
		value)})
	return nil
}
