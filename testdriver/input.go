package testdriver

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/partition"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
)

// byPartitioner has the topic's partitioner choose, or the key.
const byPartitioner int32 = -1

// In sends records to a topic. It is a value: At, Partition and Header return a changed copy. Whatever a record sets off has happened
// when the method that sends it returns.
type In[K, V any] struct {
	d         *Driver
	topic     plan.Topic[K, V]
	at        time.Time
	partition int32
	headers   stream.Headers
}

// Input returns the sender of a topic that the program reads, be it by a pattern or an internal one by its full name.
func Input[K, V any](d *Driver, t stream.Topic[K, V]) In[K, V] {
	d.t.Helper()
	p, err := bound(t.Plan())
	if err == nil {
		err = d.isRead(p.Name)
	}
	d.check(err)
	return In[K, V]{d: d, topic: p, partition: byPartitioner}
}

// bound returns t with the serdes that it has for its name.
func bound[K, V any](t plan.Topic[K, V]) (plan.Topic[K, V], error) {
	err := t.Check()
	if b, ok := t.Key.(serde.Bound[K]); ok && err == nil {
		t.Key, err = b.Bind(t.Name, true)
	}
	if b, ok := t.Value.(serde.Bound[V]); ok && err == nil {
		t.Value, err = b.Bind(t.Name, false)
	}
	return t, err
}

// isRead returns an error when the program reads no topic of that name.
func (d *Driver) isRead(topic string) error {
	var topics []string
	for _, n := range d.g.Nodes {
		if n.Source == nil {
			continue
		}
		for _, t := range n.Source.Topics {
			if n.Source.Internal {
				t = graph.InternalTopic(d.opt.application, t)
			}
			topics = append(topics, t)
		}
		if n.Source.Pattern != "" {
			topics = append(topics, "pattern "+n.Source.Pattern)
			if d.matches(n.Sub, topic) {
				return nil
			}
		}
	}
	if slices.Contains(topics, topic) {
		return nil
	}
	slices.Sort(topics)
	return fmt.Errorf("the program does not read topic %q; it reads %s", topic, strings.Join(topics, ", "))
}

// At sets the time of the records. Without it a record's time is what the driver's clock shows.
func (in In[K, V]) At(t time.Time) In[K, V] {
	in.at = t
	return in
}

// Partition sets the partition of the records. Without it the topic's partitioner chooses, or the key as in Kafka.
func (in In[K, V]) Partition(p int32) In[K, V] {
	in.partition = p
	return in
}

// Header adds a header to the records. A nil value is null.
func (in In[K, V]) Header(name string, value []byte) In[K, V] {
	in.headers = in.headers.With(name, value)
	return in
}

// Send sends a record with a key and a value.
func (in In[K, V]) Send(k K, v V) {
	in.d.t.Helper()
	in.SendRecord(stream.Record[K, V]{Key: k, Value: v})
}

// SendValue sends a record without a key.
func (in In[K, V]) SendValue(v V) {
	in.d.t.Helper()
	in.SendRecord(stream.Record[K, V]{NoKey: true, Value: v})
}

// Delete sends a tombstone.
func (in In[K, V]) Delete(k K) {
	in.d.t.Helper()
	in.SendRecord(stream.Record[K, V]{Key: k, Tombstone: true})
}

// SendRecord sends a record as it is: its time, unless it is zero, goes before At's, its headers come after Header's.
func (in In[K, V]) SendRecord(r stream.Record[K, V]) {
	in.d.t.Helper()
	in.d.check(in.SendErr(r))
}

// SendErr is SendRecord for a test that expects an error of the program, and returns it. The driver is unusable after that.
func (in In[K, V]) SendErr(r stream.Record[K, V]) error {
	if r.Time.IsZero() {
		r.Time = in.time()
	}
	r.Headers = append(slices.Clone(in.headers), r.Headers...)
	out, err := in.encode(r)
	if err != nil {
		return err
	}
	p, err := in.choose(r, out)
	if err != nil {
		return err
	}
	return in.d.send(in.topic.Name, p, out)
}

// SendBytes sends key and value as bytes, for records that do not decode, say. Nil is null.
func (in In[K, V]) SendBytes(key, value []byte) {
	in.d.t.Helper()
	in.d.check(in.SendBytesErr(key, value))
}

// SendBytesErr is SendBytes for a test that expects an error of the program, and returns it.
func (in In[K, V]) SendBytesErr(key, value []byte) error {
	out := kafka.ProduceRecord{Key: key, Value: value, Headers: kafkaHeaders(in.headers), Time: in.time().UnixMilli()}
	p := in.partition
	if p == byPartitioner {
		p = in.d.byKey(in.topic.Name, out)
	}
	return in.d.send(in.topic.Name, p, out)
}

func (in In[K, V]) time() time.Time {
	if in.at.IsZero() {
		return in.d.now
	}
	return in.at
}

func (in In[K, V]) encode(r stream.Record[K, V]) (kafka.ProduceRecord, error) {
	out := kafka.ProduceRecord{Headers: kafkaHeaders(r.Headers), Time: r.Time.UnixMilli()}
	var err error
	if !r.NoKey {
		if out.Key, err = in.topic.Key.Append([]byte{}, r.Key); err != nil {
			return out, fmt.Errorf("key for topic %q: %w", in.topic.Name, err)
		}
		out.Key = present(out.Key)
	}
	if !r.Tombstone {
		if out.Value, err = in.topic.Value.Append([]byte{}, r.Value); err != nil {
			return out, fmt.Errorf("value for topic %q: %w", in.topic.Name, err)
		}
		out.Value = present(out.Value)
	}
	return out, nil
}

// present makes nil an empty slice: only the flags of a record mean absent.
func present(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func kafkaHeaders(h stream.Headers) []kafka.Header {
	var out []kafka.Header
	for _, x := range h {
		out = append(out, kafka.Header(x))
	}
	return out
}

func (in In[K, V]) choose(r stream.Record[K, V], out kafka.ProduceRecord) (int32, error) {
	switch {
	case in.partition != byPartitioner:
		return in.partition, nil
	case in.topic.Choose == nil:
		if w, ok := in.topic.Key.(interface{ Base([]byte) []byte }); ok && out.Key != nil { // as sinks do with windowed keys
			return partition.ForKey(w.Base(out.Key), in.d.count(in.topic.Name)), nil
		}
		return in.d.byKey(in.topic.Name, out), nil
	}
	p, n := in.topic.Choose(r, in.d.count(in.topic.Name)), in.d.count(in.topic.Name)
	if p < 0 || p >= n {
		return 0, fmt.Errorf("the partitioner chose partition %d of topic %q, which has %d", p, in.topic.Name, n)
	}
	return int32(p), nil
}

func (d *Driver) byKey(topic string, r kafka.ProduceRecord) int32 {
	if r.Key == nil {
		return d.log(topic).keyless.Next(d.count(topic), len(r.Value))
	}
	return partition.ForKey(r.Key, d.count(topic))
}

// send writes a record from outside and processes what it sets off.
func (d *Driver) send(topic string, p int32, r kafka.ProduceRecord) error {
	if err := d.usable(); err != nil {
		return err
	}
	if _, err := d.write(topic, p, r, false); err != nil {
		return err
	}
	return d.drain()
}
