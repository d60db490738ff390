package stream

import (
	"errors"

	"github.com/millstream-go/millstream/internal/dsl/plan"
)

// From reads topics. The records of a partition keep their order. Between partitions and topics,
// the record with the lowest time is processed first, as far as records have arrived. Calling From
// several times for the same topics reads them once; such calls must agree on where reading starts
// and on the policy for records that do not decode.
//
//	lines := stream.From(b, stream.NewTopic("lines", serde.String, serde.String))
func From[K, V any](b *Builder, topics ...Topic[K, V]) KStream[K, V] {
	ts := make([]plan.Topic[K, V], len(topics))
	for i, t := range topics {
		ts[i] = planTopic(t)
	}
	return from((*plan.Program)(b).Builder(), "stream.From", ts, nil)
}

// from makes the node of a source. It reads the topics that match pattern if pattern is not nil,
// and topics by name otherwise.
func from[K, V any](b *plan.Builder, op string, topics []plan.Topic[K, V], pattern *string) KStream[K, V] {
	node := plan.New[K, V](b, op, "source")
	if node == nil {
		return KStream[K, V]{}
	}
	node.AddToGraph = func(compiler *plan.Compiler) error {
		if pattern == nil {
			return plan.Source(compiler, 0, node.Name(), false, topics, "")
		}
		if *pattern == "" {
			return errors.New("its pattern is empty")
		}
		return plan.Source(compiler, 0, node.Name(), false, topics, *pattern)
	}
	if len(topics) > 0 {
		setSerdes(node, topics[0].Key, topics[0].Value)
	}
	return result[K, V](node)
}
