package stream

import (
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/serde"
)

// Topic is the name of a topic with the serdes of its keys and values, written once and used for
// sources, sinks and the test driver. It is a value; its methods return a changed copy.
type Topic[K, V any] plan.TopicHandle[K, V]

// NewTopic returns the topic of that name.
func NewTopic[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) Topic[K, V] {
	return newTopic(plan.Topic[K, V]{Name: name, Key: key, Value: value})
}

// Name returns the topic's name.
func (t Topic[K, V]) Name() string { return planTopic(t).Name }

func newTopic[K, V any](t plan.Topic[K, V]) Topic[K, V] { return Topic[K, V](plan.NewTopicHandle(t)) }

func planTopic[K, V any](t Topic[K, V]) plan.Topic[K, V] { return plan.TopicHandle[K, V](t).Topic() }

// with returns t changed.
func (t Topic[K, V]) with(change func(*plan.Topic[K, V])) Topic[K, V] {
	topic := planTopic(t)
	change(&topic)
	return newTopic(topic)
}

// Timestamp makes f determine the time of each record that is read from the topic. Defaults to the
// record's timestamp. latest is the greatest time seen so far in the partition, the zero Time
// before the first record. If f returns ok false or a time before 1970, the record is skipped and
// counted.
func (t Topic[K, V]) Timestamp(f func(r Record[K, V], latest time.Time) (at time.Time, ok bool)) Topic[K, V] {
	return t.with(func(topic *plan.Topic[K, V]) { topic.ExtractTime = f })
}

// Partitioner makes f choose one of n partitions for each record that is written to the topic.
// Defaults to Kafka's partitioner, a murmur2 hash of the key. f also sees tombstones. For a topic
// that is read as a table it must not choose by the value, or a tombstone is written to another
// partition than its row.
//
// Joins, cogroups and other steps that combine topics need the records of one key in the same
// partition of each topic. Repartition topics and the topics of foreign-key joins follow the
// Partitioner of the topics that they are combined with; for them f is called with a tombstone of
// the key, so it must choose by the key alone. Topics that are read directly must have the same
// Partitioner (the same function value, or PartitionedLike), or Build refuses the program.
func (t Topic[K, V]) Partitioner(f func(r Record[K, V], n int) int) Topic[K, V] {
	return t.with(func(topic *plan.Topic[K, V]) {
		topic.ChoosePartition, topic.Partitioning = f, plan.NewPartitioning(f)
	})
}

// PartitionedLike returns t with the Partitioner of another topic that has the same keys. Records
// of one key are then in the partitions of the same number, so the topics can be joined. Declare it
// also for a topic that the program only reads: Build refuses to join topics with different
// partitioners, and it cannot compare functions for records of different value types. The function
// is called with a tombstone of the key.
//
//	accounts := stream.NewTopic("accounts", serde.String, accountSerde).Partitioner(byRegion)
//	payments := stream.PartitionedLike(stream.NewTopic("payments", serde.String, paymentSerde), accounts)
func PartitionedLike[K, V, W any](t Topic[K, V], other Topic[K, W]) Topic[K, V] {
	partitioning := planTopic(other).Partitioning
	return t.with(func(topic *plan.Topic[K, V]) {
		topic.ChoosePartition, topic.Partitioning = plan.PartitionedLike[K, V](partitioning), partitioning
	})
}

// OnDecodeError sets the policy for records of the topic that do not decode. Defaults to the App's
// policy.
func (t Topic[K, V]) OnDecodeError(p failure.Policy) Topic[K, V] {
	return t.with(func(topic *plan.Topic[K, V]) { topic.DecodePolicy = p })
}

// StartAt sets where reading starts in a partition without a committed offset. Defaults to
// Earliest.
func (t Topic[K, V]) StartAt(o Offset) Topic[K, V] {
	return t.with(func(topic *plan.Topic[K, V]) { topic.Start = o.at })
}

// Offset is where reading a topic starts.
type Offset struct{ at graph.StartAt }

// Where reading begins when nothing is committed: at the oldest record, behind the newest one, or
// not at all: None stops with an error. With Latest, partitions that are added to a topic which the
// application reads already begin at their oldest record.
var (
	Earliest = Offset{}
	Latest   = Offset{graph.StartAt{Kind: graph.StartLatest}}
	None     = Offset{graph.StartAt{Kind: graph.StartNone}}
)

// Since starts at the first record that is at most d old.
func Since(d time.Duration) Offset {
	return Offset{graph.StartAt{Kind: graph.StartSince, Since: d.Milliseconds()}}
}
