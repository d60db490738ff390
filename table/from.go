package table

import (
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// From reads a topic as a table, kept in a store of that name: each record is the new value of its key's row, and a tombstone
// deletes it. The latest to arrive counts, even if its time is older. Every record is sent on, repeated values and repeated
// deletions too.
//
// Options: InMemory, NoChangelog, TopicConfig, OnDemand.
func From[K, V any](b *stream.Builder, t stream.Topic[K, V], name string, opts ...store.Option) KTable[K, V] {
	n, s := stored[K, V](b.Plan(), "table.From", "table", name, opts, optionalOptions)
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
		return emitSource[K, V](c, n, s, in)
	}
	return result[K, V](n)
}
