package stream

import (
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/serde"
)

// Topic is the name of a topic and how its keys and values are written: said once, for sources, sinks and the test driver. It is a
// value; its methods return a changed copy.
type Topic[K, V any] struct{ t plan.Topic[K, V] }

// NewTopic returns the topic of that name.
func NewTopic[K, V any](name string, key serde.Serde[K], value serde.Serde[V]) Topic[K, V] {
	return Topic[K, V]{plan.Topic[K, V]{Name: name, Key: key, Value: value}}
}

// Name returns the topic's name.
func (t Topic[K, V]) Name() string { return t.t.Name }

// Plan returns what t holds. For the packages of this module.
func (t Topic[K, V]) Plan() plan.Topic[K, V] { return t.t }

// Timestamp has f say each record's time when the topic is read; without it that is the record's timestamp. latest is the greatest
// time so far in the partition, the zero Time before the first record. Where ok is false the record is skipped and counted.
func (t Topic[K, V]) Timestamp(f func(r Record[K, V], latest time.Time) (at time.Time, ok bool)) Topic[K, V] {
	t.t.Extract = f
	return t
}

// Partitioner has f choose the partition, of n, of each record written to the topic. Without it that is Kafka's default, by a murmur2 hash
// of the key. f sees tombstones: it must not choose by the value in a topic that is read as a table, or a deletion lands in
// another partition than its row.
func (t Topic[K, V]) Partitioner(f func(r Record[K, V], n int) int) Topic[K, V] {
	t.t.Choose = f
	return t
}

// OnDecodeError is the policy for records of the topic that do not decode. Defaults to the App's.
func (t Topic[K, V]) OnDecodeError(p failure.Policy) Topic[K, V] {
	t.t.Decode = p
	return t
}

// StartAt says where reading begins in a partition for which nothing is committed. Defaults to Earliest.
func (t Topic[K, V]) StartAt(o Offset) Topic[K, V] {
	t.t.Start = o.at
	return t
}

// Offset is where reading a topic begins.
type Offset struct{ at graph.StartAt }

// Where reading begins when nothing is committed: at the oldest record, behind the newest one, or not at all: None stops with an
// error.
var (
	Earliest = Offset{}
	Latest   = Offset{graph.StartAt{Kind: graph.StartLatest}}
	None     = Offset{graph.StartAt{Kind: graph.StartNone}}
)

// Since begins at the first record that is at most d old.
func Since(d time.Duration) Offset {
	return Offset{graph.StartAt{Kind: graph.StartSince, Since: d.Milliseconds()}}
}
