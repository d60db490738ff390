package testdriver

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/partitioner"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
)

// byPartitioner has the topic's partitioner choose, or the key.
const byPartitioner int32 = -1

// In sends records to a topic. It is a value: At, Advancing, Partition and Header return a changed
// copy. When a method that sends a record returns, everything that the record caused has happened.
type In[K, V any] struct {
	driver    *Driver
	topic     plan.Topic[K, V]
	at        time.Time
	advancing *advancingTime // nil: times stand still
	partition int32
	headers   stream.Headers
}

// Input returns the sender for a topic that the program reads, by name or by a pattern. Internal
// topics have their full names.
func Input[K, V any](d *Driver, t stream.Topic[K, V]) In[K, V] {
	d.test.Helper()
	p, err := bound(plan.TopicHandle[K, V](t).Topic())
	if err == nil {
		err = d.isRead(p.Name)
	}
	d.check(err)
	return In[K, V]{driver: d, topic: p, partition: byPartitioner}
}

// bound returns the topic with its serdes bound to its name.
func bound[K, V any](topic plan.Topic[K, V]) (plan.Topic[K, V], error) {
	err := topic.Check()
	if b, ok := topic.Key.(serde.Bound[K]); ok && err == nil {
		topic.Key, err = b.Bind(topic.Name, true)
	}
	if b, ok := topic.Value.(serde.Bound[V]); ok && err == nil {
		topic.Value, err = b.Bind(topic.Name, false)
	}
	return topic, err
}

// isRead returns an error when the program reads no topic of that name.
func (d *Driver) isRead(topic string) error {
	var topics []string
	for _, node := range d.graph.Nodes {
		if node.Source == nil {
			continue
		}
		for _, t := range node.Source.Topics {
			if node.Source.Internal {
				t = graph.InternalTopic(d.options.application, t)
			}
			topics = append(topics, t)
		}
		if node.Source.Pattern != "" {
			topics = append(topics, "pattern "+node.Source.Pattern)
			if d.matches(node.Subtopology, topic) {
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

// advancingTime is the time of an In's next record. Copies of the In share it.
type advancingTime struct {
	next time.Time
	by   time.Duration
}

// At sets the time of the records, or of the next one after Advancing. Without it the time of a
// record is the driver's present time.
func (in In[K, V]) At(t time.Time) In[K, V] {
	in.at = t
	if in.advancing != nil {
		return in.Advancing(in.advancing.by)
	}
	return in
}

// Advancing makes each record later than the one before by the given time. The first has the time
// of At, or the driver's present time. Records with a time of their own keep it, and do not advance
// the time of others. Copies of the returned In share its time, except those made by At.
func (in In[K, V]) Advancing(by time.Duration) In[K, V] {
	in.advancing = &advancingTime{next: in.at, by: by}
	if in.at.IsZero() {
		in.advancing.next = in.driver.now
	}
	return in
}

// AdvanceTime moves the time of the next record of an In made by Advancing. It does not move the
// driver's clock; Driver.Advance does.
func (in In[K, V]) AdvanceTime(by time.Duration) {
	if in.advancing == nil {
		in.driver.test.Helper()
		in.driver.test.Fatalf("testdriver: AdvanceTime moves the times of an In that Advancing returned; use At to set the "+
			"time of topic %q", in.topic.Name)
		return
	}
	in.advancing.next = in.advancing.next.Add(by)
}

// Partition sets the partition of the records. By default the topic's partitioner chooses it, or
// the key, as in Kafka.
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
	in.driver.test.Helper()
	in.SendRecord(stream.Record[K, V]{Key: k, Value: v})
}

// SendValue sends a record without a key.
func (in In[K, V]) SendValue(v V) {
	in.driver.test.Helper()
	in.SendRecord(stream.Record[K, V]{NoKey: true, Value: v})
}

// Delete sends a tombstone.
func (in In[K, V]) Delete(k K) {
	in.driver.test.Helper()
	in.SendRecord(stream.Record[K, V]{Key: k, Tombstone: true})
}

// SendRecord sends a record as it is. Its time, if not zero, takes precedence over At; its headers
// follow those of Header.
func (in In[K, V]) SendRecord(r stream.Record[K, V]) {
	in.driver.test.Helper()
	in.driver.check(in.SendErr(r))
}

// SendValues sends a record without a key for each value, in order, as SendValue does.
func (in In[K, V]) SendValues(values ...V) {
	in.driver.test.Helper()
	for _, v := range values {
		in.SendValue(v)
	}
}

// SendRecords sends records in order, as SendRecord does.
func (in In[K, V]) SendRecords(records ...stream.Record[K, V]) {
	in.driver.test.Helper()
	for _, r := range records {
		in.SendRecord(r)
	}
}

// SendErr is SendRecord for a test that expects an error of the program. It returns the error,
// after which the driver cannot be used.
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
	return in.driver.input(in.topic.Name, p, out)
}

// SendBytes sends key and value as bytes, for example for records that do not decode. Nil is null.
func (in In[K, V]) SendBytes(key, value []byte) {
	in.driver.test.Helper()
	in.driver.check(in.SendBytesErr(key, value))
}

// SendBytesErr is SendBytes for a test that expects an error of the program, and returns it.
func (in In[K, V]) SendBytesErr(key, value []byte) error {
	out := kafka.ProduceRecord{Key: key, Value: value, Headers: kafkaHeaders(in.headers), Time: in.time().UnixMilli()}
	p := in.partition
	if p == byPartitioner {
		p = in.driver.byKey(in.topic.Name, out)
	}
	return in.driver.input(in.topic.Name, p, out)
}

// time returns the time of a record without a time of its own.
func (in In[K, V]) time() time.Time {
	switch {
	case in.advancing != nil:
		at := in.advancing.next
		in.advancing.next = at.Add(in.advancing.by)
		return at
	case in.at.IsZero():
		return in.driver.now
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

// present returns an empty slice for nil: only the flags of a record mean absent.
func present(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func kafkaHeaders(h stream.Headers) []kafka.Header {
	var out []kafka.Header
	for _, header := range h {
		out = append(out, kafka.Header(header))
	}
	return out
}

func (in In[K, V]) choose(r stream.Record[K, V], out kafka.ProduceRecord) (int32, error) {
	switch {
	case in.partition != byPartitioner:
		return in.partition, nil
	case in.topic.ChoosePartition == nil:
		if w, ok := in.topic.Key.(interface{ Base([]byte) []byte }); ok && out.Key != nil { // as sinks do with windowed keys
			return partitioner.ForKey(w.Base(out.Key), in.driver.count(in.topic.Name)), nil
		}
		return in.driver.byKey(in.topic.Name, out), nil
	}
	p, n := in.topic.ChoosePartition(r, in.driver.count(in.topic.Name)), in.driver.count(in.topic.Name)
	if p < 0 || p >= n {
		return 0, fmt.Errorf("the partitioner chose partition %d of topic %q, which has %d", p, in.topic.Name, n)
	}
	return int32(p), nil
}

func (d *Driver) byKey(topic string, r kafka.ProduceRecord) int32 {
	if r.Key == nil {
		return d.log(topic).keyless.Next(d.count(topic), len(r.Value))
	}
	return partitioner.ForKey(r.Key, d.count(topic))
}

// input writes a record from outside the program and processes what it causes.
func (d *Driver) input(topic string, p int32, r kafka.ProduceRecord) error {
	if err := d.usable(); err != nil {
		return err
	}
	if _, err := d.write(topic, p, r, false); err != nil {
		return err
	}
	return d.drain()
}
