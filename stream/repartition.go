package stream

import (
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/internal/dsl/plan"
)

// Repartition writes s to an internal topic, <application>-<name>-repartition, and reads it back.
// After that each record is in the partition of its key: by Kafka's default partitioner, or by the
// Partitioner of the topics whose records they are joined with. It is seldom needed, because steps
// that need it repartition by themselves. The topic is written with the serdes of the returned
// handle.
//
// Records without a key are dropped and counted, with one exception as in Kafka Streams: if a left
// or outer join of streams, or a left join of a stream with a table, is anywhere behind the topic,
// they go to some partition of it, and all steps behind receive them.
//
//	wide := stream.Repartition(orders, "orders-by-id", stream.Partitions(64))
func Repartition[K, V any](s KStream[K, V], name string, opts ...RepartitionOption) KStream[K, V] {
	return repartitionNode(s, "stream.Repartition", name, nil, opts)
}

// RepartitionOption configures Repartition and RepartitionBy.
type RepartitionOption func(*repartitionSettings)

type repartitionSettings struct {
	partitions int
	err        error
}

// Partitions sets the number of partitions of the topic, at least 1. Defaults to the number of the
// largest topic that is read on the way to it.
func Partitions(n int) RepartitionOption {
	return func(settings *repartitionSettings) {
		if n < 1 {
			settings.err = errors.Join(settings.err, fmt.Errorf("stream.Partitions: %d, a topic has at least 1 partition", n))
		}
		settings.partitions = n
	}
}

func repartitionNode[K, V any](
	s KStream[K, V], op, name string, choose func(Record[K, V], int) int, opts []RepartitionOption,
) KStream[K, V] {
	in := handle(s).Out()
	node := plan.New[K, V](nil, op, "repartition", in)
	if node == nil {
		return KStream[K, V]{}
	}
	node.FixName(name)
	node.CanFail, node.KeyChanged = true, false // behind the topic records are in the partition of their key
	var settings repartitionSettings
	for _, opt := range opts {
		if opt == nil {
			settings.err = errors.Join(settings.err, errors.New("an option is nil"))
			continue
		}
		opt(&settings)
	}
	node.AddError(settings.err)
	node.AddToGraph = func(c *plan.Compiler) error {
		return plan.Through(c, 0, in, plan.Repartition[K, V]{Name: name, Partitions: settings.partitions,
			ChoosePartition: choose})
	}
	return result[K, V](node.InheritKeySerde(0).InheritValueSerde(0))
}
