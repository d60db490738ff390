package table

import (
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// ToTable takes s as a table, kept in a store of that name: each record is the new value of its key's row, and a tombstone deletes
// it. If keys have changed since s was read, it goes through the topic <application>-<name>-repartition first.
//
// Options: InMemory, NoChangelog, TopicConfig, OnDemand, UntilCommit, Versions.
func ToTable[K, V any](s stream.KStream[K, V], name string, opts ...store.Option) KTable[K, V] {
	in := plan.Stream[K, V](s).Handle()
	n, settings := stored[K, V](nil, "table.ToTable", "to-table", name, opts, optionalOptions, in.Out())
	if n == nil {
		return KTable[K, V]{}
	}
	n.KeyChanged = false
	n.Emit = func(c *plan.Compile) error {
		from, err := plan.Partitioned(c, in, name)
		if err != nil {
			return err
		}
		return emitSource[K, V](c, n, settings, from)
	}
	return result[K, V](n.KeepKey(0).KeepValue(0))
}
