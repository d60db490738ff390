package plan

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/partitioner"
	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/timerange"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// Sink adds a sink of the current call after from. chooseTopic, when not nil, chooses each record's
// topic.
func Sink[K, V any](
	c *Compiler, step string, from Out, t Topic[K, V], chooseTopic func(topology.Record[K, V]) string,
) error {
	if chooseTopic == nil {
		c.sinkPartitionings[t.Name] = append(c.sinkPartitionings[t.Name], t.Partitioning)
	}
	return c.AddNode(step, newSink(t, chooseTopic), from)
}

func newSink[K, V any](t Topic[K, V], chooseTopic func(topology.Record[K, V]) string) *graph.Node {
	g := &graph.Node{Op: "sink", Kind: graph.Sink, Sink: &graph.SinkSpec{Topic: t.Name}}
	if chooseTopic != nil {
		g.Sink.Topic = ""
	}
	g.Wire = func(node *graph.Node, env graph.Env, _ []any) (any, error) {
		// Each task has a copy: workers wire their tasks in parallel, and the partitioner is set
		// below.
		t := t
		if t.inherited != nil {
			t.ChoosePartition = chooser(t.inherited, t.ChoosePartition)
		}
		s := &sink[K, V]{
			site: wire.NewSite(node, env), out: env.Sink(node), topic: t, chooseTopic: chooseTopic,
			serdesByTopic: map[string]serdes[K, V]{},
		}
		if chooseTopic == nil {
			if err := s.selectSerdes(t.Name); err != nil {
				return nil, err
			}
		}
		return wire.Outlet[K, V](s.write), nil
	}
	return g
}

// sink encodes records. Its buffers live as long as the task, so writing does not allocate.
type sink[K, V any] struct {
	site          wire.Site
	out           graph.SinkWriter
	topic         Topic[K, V]
	serdes        serdes[K, V]            // of the topic written to now
	serdesByTopic map[string]serdes[K, V] // by topic
	chooseTopic   func(topology.Record[K, V]) string
	buf           []byte
	headers       []kafka.Header
}

type serdes[K, V any] struct {
	key   serde.Serde[K]
	value serde.Serde[V]
	base  baseKeySerde // nil: keys are spread over partitions by all their bytes
}

// baseKeySerde is the serde of windowed keys. Records with such keys are spread over partitions by
// the key without its window, so that all windows of a key are in one partition.
//
// Kafka Streams does this in the user's topics, and not in its internal ones. Here it is also done
// in internal topics whose records meet windowed tables: the rows of a windowed table lie where the
// records of the plain key are.
type baseKeySerde interface{ Base(key []byte) []byte }

// selectSerdes makes the serdes of a topic the current ones.
func (s *sink[K, V]) selectSerdes(topic string) (err error) {
	bound, ok := s.serdesByTopic[topic]
	if !ok {
		if err = CheckName(topic); err != nil {
			return err
		}
		full := topic
		if s.site.Node.Sink.Internal {
			full = graph.FullName(s.site.Env, topic)
		}
		if bound.key, bound.value, err = bindSerdes(s.topic.Key, s.topic.Value, full); err != nil {
			return err
		}
		// An internal topic follows what its co-partitioned topics do (inheritedPartitioning).
		if !s.site.Node.Sink.Internal || s.topic.inherited.byBaseKey {
			bound.base, _ = bound.key.(baseKeySerde)
		}
		s.serdesByTopic[topic] = bound
	}
	s.serdes = bound
	return nil
}

func (s *sink[K, V]) write(r topology.Record[K, V]) error {
	s.site.Enter()
	out, err := s.prepare(r)
	if err != nil {
		var ok bool
		if out, ok, err = s.retry(out.topic, r, err); !ok {
			return err
		}
	}
	return s.out.Write(out.topic, out.partition, out.record)
}

// prepared is a record as it is written.
type prepared struct {
	topic     string
	partition int32
	record    kafka.ProduceRecord
}

// prepare encodes a record and chooses its topic and partition. An error is the record's.
func (s *sink[K, V]) prepare(r topology.Record[K, V]) (out prepared, err error) {
	s.site.Resume() // serdes, partitioners and choosers are the user's
	if out.topic = s.topic.Name; s.chooseTopic != nil {
		out.topic = s.chooseTopic(r)
		if err := s.selectSerdes(out.topic); err != nil {
			return out, fmt.Errorf("the topic chosen for a record: %w", err)
		}
	}
	out.record, out.partition, err = s.encode(out.topic, r)
	return out, err
}

// retry has the policy decide about a record that could not be prepared.
func (s *sink[K, V]) retry(topic string, record topology.Record[K, V], err error) (out prepared, ok bool, fatal error) {
	ok, fatal = s.site.Env.HandleFailure(s.site.Node, graph.Failure{
		Phase: graph.Producing, Err: err, Topic: topic,
	}, func() (err error) {
		out, err = s.prepare(record)
		return err
	})
	return out, ok, fatal
}

func (s *sink[K, V]) encode(topic string, record topology.Record[K, V]) (kafka.ProduceRecord, int32, error) {
	out := kafka.ProduceRecord{Time: record.Time.UnixMilli()}
	if err := timerange.Check(record.Time); err != nil {
		return out, 0, fmt.Errorf("topic %q does not allow it: %w", topic, err)
	}
	var err error
	// Key and value share one buffer. It is never empty, so that an empty key or value is not nil:
	// nil would be written as null.
	buf := append(s.buf[:0], 0)
	if !record.NoKey {
		if buf, err = s.serdes.key.Append(buf, record.Key); err != nil {
			return out, 0, fmt.Errorf("key for topic %q: %w", topic, quote.Error(err))
		}
	}
	split := len(buf)
	if !record.Tombstone {
		if buf, err = s.serdes.value.Append(buf, record.Value); err != nil {
			return out, 0, fmt.Errorf("value for topic %q: %w", topic, quote.Error(err))
		}
	}
	s.buf = buf
	if !record.NoKey {
		out.Key = buf[1:split:split]
	}
	if !record.Tombstone {
		out.Value = buf[split:]
	}
	s.headers = s.headers[:0]
	for _, h := range record.Headers {
		s.headers = append(s.headers, kafka.Header(h))
	}
	out.Headers = s.headers
	to, err := s.partition(topic, record, out.Key)
	return out, to, err
}

// partition returns the partition of a record, or graph.ByKey to leave the choice to the hash of
// its key.
func (s *sink[K, V]) partition(topic string, record topology.Record[K, V], key []byte) (int32, error) {
	if s.topic.ChoosePartition == nil && (s.serdes.base == nil || key == nil) {
		return graph.ByKey, nil
	}
	n, err := s.out.Partitions(topic)
	if err != nil {
		return 0, err
	}
	if s.topic.ChoosePartition == nil {
		return partitioner.ForKey(s.serdes.base.Base(key), n), nil
	}
	p := s.topic.ChoosePartition(record, n)
	// Only internal topics may decline to choose. A user's partitioner that returns -1 is out of
	// range, below.
	if p == int(graph.ByKey) && s.site.Node.Sink.Internal {
		return graph.ByKey, nil
	}
	if p < 0 || p >= n {
		return 0, fmt.Errorf("the partitioner chose partition %d of topic %q, which has %d", p, topic, n)
	}
	return int32(p), checkChosen(s.topic.inherited, record, key, p, n)
}
