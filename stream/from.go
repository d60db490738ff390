package stream

import (
	"errors"

	"github.com/millstream-go/millstream/internal/plan"
)

// From reads topics: every record of them, in the order of each partition, those of several partitions and topics by their
// times as far as they are there. Reading the same topics twice reads them once. The topics must be started at the same place and
// have the same policy for records that do not decode.
//
//	lines := stream.From(b, stream.NewTopic("lines", serde.String, serde.String))
func From[K, V any](b *Builder, topics ...Topic[K, V]) KStream[K, V] {
	ts := make([]plan.Topic[K, V], len(topics))
	for i, t := range topics {
		ts[i] = t.t
	}
	return from(b.Plan(), "stream.From", ts, nil)
}

// from makes the node of a source: of a pattern, where there is one, else of topics by name.
func from[K, V any](b *plan.Builder, op string, topics []plan.Topic[K, V], pattern *string) KStream[K, V] {
	n := plan.New[K, V](b, op, "source")
	if n == nil {
		return KStream[K, V]{}
	}
	n.Emit = func(c *plan.Compile) error {
		if pattern == nil {
			return plan.Source(c, 0, n.Name(), false, topics, "")
		}
		if *pattern == "" {
			return errors.New("its pattern is empty")
		}
		return plan.Source(c, 0, n.Name(), false, topics, *pattern)
	}
	if len(topics) > 0 {
		setSerdes(n, topics[0].Key, topics[0].Value)
	}
	return result[K, V](n)
}
