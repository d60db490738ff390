package plan

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/partition"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// Sink emits a sink of the current call after from. name, when set, chooses each record's topic.
func Sink[K, V any](c *Compile, step string, from Out, t Topic[K, V], name func(topology.Record[K, V]) string) error {
	return c.Add(step, newSink(t, name), from)
}

func newSink[K, V any](t Topic[K, V], name func(topology.Record[K, V]) string) *graph.Node {
	g := &graph.Node{Op: "sink", Kind: graph.Sink, Sink: &graph.SinkSpec{Topic: t.Name}}
	if name != nil {
		g.Sink.Topic = ""
	}
	g.Wire = func(n *graph.Node, env graph.Env, _ []any) (any, error) {
		s := &sink[K, V]{node: n, env: env, place: graph.PlaceOf(env), out: env.Sink(n), topic: t, name: name, bound: map[string]serdes[K, V]{}}
		if name != nil {
			return wire.Outlet[K, V](s.choose), nil
		}
		if err := s.bind(t.Name); err != nil {
			return nil, err
		}
		return wire.Outlet[K, V](s.write), nil
	}
	return g
}

// sink encodes records. Its buffers live as long as the task: writing does not allocate.
type sink[K, V any] struct {
	node    *graph.Node
	env     graph.Env
	place   *graph.Place // serdes, partitioners and choosers are the user's
	out     graph.SinkWriter
	topic   Topic[K, V]
	serdes  serdes[K, V]            // of the topic written to now
	bound   map[string]serdes[K, V] // by topic
	name    func(topology.Record[K, V]) string
	buf     []byte
	headers []kafka.Header
}

type serdes[K, V any] struct {
	key   serde.Serde[K]
	value serde.Serde[V]
	base  baser // nil: keys are spread over partitions by all their bytes
}

// baser is the serde of windowed keys: they are spread over the partitions of a topic by the bytes of the key without its window, so
// that all windows of a key are in one partition. Kafka Streams does so in topics of the user's, and not in its own.
type baser interface{ Base(key []byte) []byte }

// bind makes the serdes of a topic those that are used.
func (s *sink[K, V]) bind(topic string) (err error) {
	b, ok := s.bound[topic]
	if !ok {
		if err = CheckName(topic); err != nil {
			return err
		}
		full := topic
		if s.node.Sink.Internal {
			full = graph.FullName(s.env, topic)
		}
		if b.key, b.value, err = bind(s.topic.Key, s.topic.Value, full); err != nil {
			return err
		}
		if !s.node.Sink.Internal {
			b.base, _ = b.key.(baser)
		}
		s.bound[topic] = b
	}
	s.serdes = b
	return nil
}

// choose writes to the topic that name says.
func (s *sink[K, V]) choose(r topology.Record[K, V]) error {
	s.place.Node = s.node
	topic := s.name(r)
	if err := s.bind(topic); err != nil {
		return s.fail(topic, fmt.Errorf("the topic chosen for a record: %w", err))
	}
	return s.writeTo(topic, r)
}

func (s *sink[K, V]) write(r topology.Record[K, V]) error { return s.writeTo(s.topic.Name, r) }

func (s *sink[K, V]) writeTo(topic string, r topology.Record[K, V]) error {
	s.place.Node = s.node
	out, partition, err := s.encode(topic, r)
	if err != nil {
		return s.fail(topic, err)
	}
	return s.out.Write(topic, partition, out)
}

func (s *sink[K, V]) fail(topic string, err error) error {
	_, err = s.env.Fail(s.node, graph.Failure{Phase: graph.Produce, Err: err, Attempt: 1, Topic: topic})
	return err
}

func (s *sink[K, V]) encode(topic string, r topology.Record[K, V]) (kafka.ProduceRecord, int32, error) {
	out := kafka.ProduceRecord{Time: r.Time.UnixMilli()}
	if out.Time < 0 {
		return out, 0, fmt.Errorf("its time is %v, before 1970, which topic %q cannot hold", r.Time, topic)
	}
	var err error
	buf := append(s.buf[:0], 0) // never nil: only the flags mean absent
	if !r.NoKey {
		if buf, err = s.serdes.key.Append(buf, r.Key); err != nil {
			return out, 0, fmt.Errorf("key for topic %q: %w", topic, err)
		}
	}
	split := len(buf)
	if !r.Tombstone {
		if buf, err = s.serdes.value.Append(buf, r.Value); err != nil {
			return out, 0, fmt.Errorf("value for topic %q: %w", topic, err)
		}
	}
	s.buf = buf
	if !r.NoKey {
		out.Key = buf[1:split:split]
	}
	if !r.Tombstone {
		out.Value = buf[split:]
	}
	s.headers = s.headers[:0]
	for _, h := range r.Headers {
		s.headers = append(s.headers, kafka.Header(h))
	}
	out.Headers = s.headers
	to, err := s.partition(topic, r, out.Key)
	return out, to, err
}

func (s *sink[K, V]) partition(topic string, r topology.Record[K, V], key []byte) (int32, error) {
	if s.topic.Choose == nil && (s.serdes.base == nil || key == nil) {
		return graph.ByKey, nil
	}
	n, err := s.out.Partitions(topic)
	if err != nil {
		return 0, err
	}
	if s.topic.Choose == nil {
		return partition.ForKey(s.serdes.base.Base(key), n), nil
	}
	p := s.topic.Choose(r, n)
	if p == int(graph.ByKey) && s.node.Sink.Internal {
		return graph.ByKey, nil
	}
	if p < 0 || p >= n {
		return 0, fmt.Errorf("the partitioner chose partition %d of topic %q, which has %d", p, topic, n)
	}
	return int32(p), nil
}
