package plan

import (
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/timerange"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// Topic is what stream.Topic has: a topic as programs, sinks and the test driver use it.
type Topic[K, V any] struct {
	Name            string
	Key             serde.Serde[K]
	Value           serde.Serde[V]
	ExtractTime     func(r topology.Record[K, V], latest time.Time) (time.Time, bool)
	ChoosePartition func(r topology.Record[K, V], n int) int // the partitioner
	DecodePolicy    failure.Policy
	Start           graph.StartAt
	// Partitioning describes ChoosePartition where that is a user's function; nil for Kafka's
	// default.
	Partitioning *Partitioning

	inherited *inheritedPartitioning // of an internal topic: what its sink follows
}

// Check returns what is wrong with a topic.
func (t Topic[K, V]) Check() error {
	var errs []error
	if err := CheckName(t.Name); err != nil {
		errs = append(errs, fmt.Errorf("topic: %w", err))
	}
	return errors.Join(append(errs, t.CheckSerdes())...)
}

func (t Topic[K, V]) checkPolicy() error {
	if err := t.DecodePolicy.Validate(); err != nil {
		return fmt.Errorf("OnDecodeError of topic %q: %w", t.Name, err)
	}
	return nil
}

// CheckSerdes returns which serdes are missing.
func (t Topic[K, V]) CheckSerdes() error {
	var errs []error
	if IsNilSerde(t.Key) {
		errs = append(errs, fmt.Errorf(
			"topic %q has no serde for its keys; give stream.NewTopic one, serde.None for a topic without keys", t.Name,
		))
	}
	if IsNilSerde(t.Value) {
		errs = append(errs, fmt.Errorf("topic %q has no serde for its values", t.Name))
	}
	return errors.Join(errs...)
}

func openQueue[K, V any](topics []Topic[K, V]) func(*graph.Node, graph.Env, string, []any) (graph.Queue, error) {
	return func(graphNode *graph.Node, env graph.Env, topic string, outs []any) (graph.Queue, error) {
		t := topics[0]
		for _, candidate := range topics {
			if candidate.Name == topic {
				t = candidate
			}
		}
		q := &queue[K, V]{node: graphNode, env: env, topic: t, out: outs[0].(wire.Outlet[K, V])}
		if graphNode.Source.Internal {
			topic = graph.FullName(env, topic)
		}
		var err error
		q.key, q.value, err = bindSerdes(t.Key, t.Value, topic)
		return q, err
	}
}

// bindSerdes returns the serdes for one topic: a schema registry has a different one for each.
func bindSerdes[K, V any](
	key serde.Serde[K], value serde.Serde[V], topic string,
) (serde.Serde[K], serde.Serde[V], error) {
	var err error
	if bound, ok := key.(serde.Bound[K]); ok {
		if key, err = bound.Bind(topic, true); err != nil {
			return nil, nil, fmt.Errorf("serde for the keys of %q: %w", topic, err)
		}
	}
	if bound, ok := value.(serde.Bound[V]); ok {
		if value, err = bound.Bind(topic, false); err != nil {
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

func (q *queue[K, V]) DecodeHead(in *graph.Input, latest int64) (int64, bool, error) {
	at, ok, err := q.readHead(in, latest)
	if err != nil {
		return q.retryHead(in, latest, err)
	}
	return at, ok, nil
}

// retryHead has the policy decide about a record that could not be read.
func (q *queue[K, V]) retryHead(in *graph.Input, latest int64, err error) (at int64, ok bool, fatal error) {
	read, fatal := q.env.HandleFailure(q.node, graph.Failure{Phase: graph.Decoding, Err: err}, func() (err error) {
		at, ok, err = q.readHead(in, latest)
		return err
	})
	return at, read && ok, fatal
}

// readHead decodes a record and returns its time. ok is false when it has none and was counted. An
// error is the record's.
func (q *queue[K, V]) readHead(in *graph.Input, latest int64) (at int64, ok bool, err error) {
	if err := q.decode(in); err != nil {
		return 0, false, err
	}
	at = in.Record.Time
	// The extractor decides alone: a record whose own timestamp is invalid may get a valid one
	// here.
	if q.topic.ExtractTime != nil {
		var before time.Time
		if latest >= 0 {
			before = time.UnixMilli(latest)
		}
		t, ok := q.topic.ExtractTime(q.head, before)
		if !ok || t.Unix() < 0 {
			q.env.Drop(q.node, graph.NoTime)
			return 0, false, nil
		}
		if err := timerange.Check(t); err != nil {
			return 0, false, fmt.Errorf("the topic's Timestamp function: %w", err)
		}
		q.head.Time = t.Truncate(time.Millisecond)
		return t.UnixMilli(), true, nil
	}
	if err := timerange.Check(q.head.Time); err != nil {
		return 0, false, fmt.Errorf("%w; give the topic a Timestamp function that makes another one", err)
	}
	return at, true, nil
}

func (q *queue[K, V]) decode(in *graph.Input) (err error) {
	if q.head, err = decodeRecord(q.key, q.value, &in.Record); err != nil {
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

// decodeRecord decodes a record, without its headers.
func decodeRecord[K, V any](
	key serde.Serde[K], value serde.Serde[V], in *kafka.Record,
) (record topology.Record[K, V], err error) {
	record = topology.Record[K, V]{NoKey: in.Key == nil, Tombstone: in.Value == nil, Time: time.UnixMilli(in.Time)}
	if !record.NoKey {
		if record.Key, err = key.Decode(in.Key); err != nil {
			return record, fmt.Errorf("key: %w", quote.Error(err))
		}
	}
	if !record.Tombstone {
		if record.Value, err = value.Decode(in.Value); err != nil {
			return record, fmt.Errorf("value: %w", quote.Error(err))
		}
	}
	return record, nil
}

func (q *queue[K, V]) Process() error { return q.out(q.head) }
