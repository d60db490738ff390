package table

import (
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// ToTable makes a table of s, in a store of the given name: each record is the new value of its
// key's row, and a tombstone deletes the row. If keys have changed since s was read, s first goes
// through the topic <application>-<name>-repartition.
//
// Options: InMemory, NoChangelog, TopicConfig, OnDemand, UntilCommit, Versions.
func ToTable[K, V any](s stream.KStream[K, V], name string, opts ...store.Option) KTable[K, V] {
	in := plan.Stream[K, V](s).Handle()
	node, settings := storedNode[K, V](nil, "table.ToTable", "to-table", name, opts, optionalOptions, in.Out())
	if node == nil {
		return KTable[K, V]{}
	}
	node.KeyChanged = false
	node.AddToGraph = func(compiler *plan.Compiler) error {
		from, err := plan.Partitioned(compiler, in, name)
		if err != nil {
			return err
		}
		return addSource[K, V](compiler, node, settings, from)
	}
	return result[K, V](node.InheritKeySerde(0).InheritValueSerde(0))
}
