package plan

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// Topic is what stream.Topic holds: a topic as programs, sinks and the test driver use it.
type Topic[K, V any] struct {
	Name    string
	Key     serde.Serde[K]
	Value   serde.Serde[V]
	Extract func(r topology.Record[K, V], latest time.Time) (time.Time, bool)
	Choose  func(r topology.Record[K, V], n int) int // partitioner
	Decode  failure.Policy
	Start   graph.StartAt
}

// Check says what is wrong with a topic.
func (t Topic[K, V]) Check() error {
	var errs []error
	if err := CheckName(t.Name); err != nil {
		errs = append(errs, fmt.Errorf("topic: %w", err))
	}
	return errors.Join(append(errs, t.CheckSerdes())...)
}

func (t Topic[K, V]) checkPolicy() error {
	if err := t.Decode.Validate(); err != nil {
		return fmt.Errorf("OnDecodeError of topic %q: %w", t.Name, err)
	}
	return nil
}

// CheckSerdes says which serdes are missing.
func (t Topic[K, V]) CheckSerdes() error {
	var errs []error
	if IsNilSerde(t.Key) {
		errs = append(errs, fmt.Errorf("topic %q has no serde for its keys; give stream.NewTopic one, serde.None for a topic without keys", t.Name))
	}
	if IsNilSerde(t.Value) {
		errs = append(errs, fmt.Errorf("topic %q has no serde for its values", t.Name))
	}
	return errors.Join(errs...)
}

func open[K, V any](topics []Topic[K, V]) func(*graph.Node, graph.Env, string, []any) (graph.Queue, error) {
	return func(n *graph.Node, env graph.Env, topic string, outs []any) (graph.Queue, error) {
		t := topics[0]
		for _, x := range topics {
			if x.Name == topic {
				t = x
			}
		}
		q := &queue[K, V]{node: n, env: env, topic: t, out: outs[0].(wire.Outlet[K, V])}
		if n.Source.Internal {
			topic = graph.FullName(env, topic)
		}
		var err error
		q.key, q.value, err = bind(t.Key, t.Value, topic)
		return q, err
	}
}

// bind makes the serdes of one topic, where a schema registry has another one for each.
func bind[K, V any](key serde.Serde[K], value serde.Serde[V], topic string) (serde.Serde[K], serde.Serde[V], error) {
	var err error
	if b, ok := key.(serde.Bound[K]); ok {
		if key, err = b.Bind(topic, true); err != nil {
			return nil, nil, fmt.Errorf("serde for the keys of %q: %w", topic, err)
		}
	}
	if b, ok := value.(serde.Bound[V]); ok {
		if value, err = b.Bind(topic, false); err != nil {
			return nil, nil, fmt.Errorf("serde for the values of %q: %w", topic, err)
		}
	}
	return key, value, nil
}

// queue decodes the records of one source topic.
type queue[K, V any] struct {
	node  *graph.Node
	env   graph.Env
	topic Topic[K, V]
	key   serde.Serde[K]
	value serde.Serde[V]
	out   wire.Outlet[K, V]
	head  topology.Record[K, V]
}

func (q *queue[K, V]) Head(in *graph.Input, latest int64) (int64, bool, error) {
	if err := q.decode(in); err != nil {
		_, err = q.env.Fail(q.node, graph.Failure{Phase: graph.Decode, Err: err, Attempt: 1})
		return 0, false, err
	}
	at := in.Record.Time
	if q.topic.Extract != nil {
		var before time.Time
		if latest >= 0 {
			before = time.UnixMilli(latest)
		}
		t, ok := q.topic.Extract(q.head, before)
		if at = t.UnixMilli(); !ok || at < 0 {
			q.env.Drop(q.node, graph.NoTime)
			return 0, false, nil
		}
		q.head.Time = t.Truncate(time.Millisecond)
	} else if at < 0 {
		err := fmt.Errorf("its timestamp is %d; give the topic a Timestamp function that makes one", at)
		_, err = q.env.Fail(q.node, graph.Failure{Phase: graph.Decode, Err: err, Attempt: 1})
		return 0, false, err
	}
	return at, true, nil
}

func (q *queue[K, V]) decode(in *graph.Input) (err error) {
	if q.head, err = decode(q.key, q.value, &in.Record); err != nil {
		return err
	}
	if len(in.Headers) > 0 {
		q.head.Headers = make(topology.Headers, len(in.Headers))
		for i, h := range in.Headers {
			q.head.Headers[i] = topology.Header(h)
		}
	}
	q.head = q.head.From(topology.Source{Topic: in.Topic, Partition: in.Partition, Offset: in.Offset})
	return nil
}

// decode decodes a record, but for its headers.
func decode[K, V any](key serde.Serde[K], value serde.Serde[V], in *kafka.Record) (r topology.Record[K, V], err error) {
	r = topology.Record[K, V]{NoKey: in.Key == nil, Tombstone: in.Value == nil, Time: time.UnixMilli(in.Time)}
	if !r.NoKey {
		if r.Key, err = key.Decode(in.Key); err != nil {
			return r, fmt.Errorf("key: %w", err)
		}
	}
	if !r.Tombstone {
		if r.Value, err = value.Decode(in.Value); err != nil {
			return r, fmt.Errorf("value: %w", err)
		}
	}
	return r, nil
}

func (q *queue[K, V]) Process() error { return q.out(q.head) }
