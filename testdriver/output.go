package testdriver

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

const allPartitions int32 = -1

// Out reads a topic. It is a value. The driver marks each record that has been read, so two Outs of
// one topic share what they have read.
type Out[K, V any] struct {
	driver    *Driver
	topic     plan.Topic[K, V]
	partition int32
}

// Output returns the reader of any topic: that of a sink, a dead-letter topic or, by its full name,
// a repartition topic or a changelog.
func Output[K, V any](d *Driver, t stream.Topic[K, V]) Out[K, V] {
	d.test.Helper()
	p, err := bound(plan.TopicHandle[K, V](t).Topic())
	d.check(err)
	return Out[K, V]{driver: d, topic: p, partition: allPartitions}
}

// Partition returns a reader of one partition.
func (o Out[K, V]) Partition(p int32) Out[K, V] {
	o.partition = p
	return o
}

// Read returns the records that have not been read yet, in the order in which they were written,
// nil if there are none. Their Source is their place in the topic.
func (o Out[K, V]) Read() []stream.Record[K, V] {
	o.driver.test.Helper()
	var out []stream.Record[K, V]
	for _, r := range o.records() {
		if r.read {
			continue
		}
		r.read = true
		out = append(out, o.decode(r))
	}
	return out
}

// ReadOne returns the oldest record that has not been read yet, and ends the test if there is none.
func (o Out[K, V]) ReadOne() stream.Record[K, V] {
	o.driver.test.Helper()
	for _, r := range o.records() {
		if !r.read {
			r.read = true
			return o.decode(r)
		}
	}
	o.driver.test.Fatalf("testdriver: there is no record left in topic %q", o.topic.Name)
	return stream.Record[K, V]{}
}

// ReadValues is Read for tests that compare values only. It ends the test at a tombstone, which has
// no value.
func (o Out[K, V]) ReadValues() []V {
	o.driver.test.Helper()
	var out []V
	for _, r := range o.Read() {
		if r.Tombstone {
			o.driver.test.Fatalf("testdriver: the record at offset %d of topic %q[%d] is a tombstone and has no value; use Take",
				r.Source().Offset, o.topic.Name, r.Source().Partition)
			return nil
		}
		out = append(out, r.Value)
	}
	return out
}

// ReadTable is Table for the records that have not been read yet, and marks them as read: it
// returns what has changed since. Deleted keys and records without a key are left out.
func ReadTable[K comparable, V any](o Out[K, V]) map[K]V {
	o.driver.test.Helper()
	return rows(o.Read())
}

// Len returns how many records have not been read yet.
func (o Out[K, V]) Len() int {
	n := 0
	for _, r := range o.records() {
		if !r.read {
			n++
		}
	}
	return n
}

// IsEmpty reports whether every record has been read.
func (o Out[K, V]) IsEmpty() bool { return o.Len() == 0 }

// Table returns the rows of a topic that is the changelog of a table: the last value of each key,
// without deleted ones. It considers all records, read or not; those without a key are no rows.
func Table[K comparable, V any](o Out[K, V]) map[K]V {
	o.driver.test.Helper()
	var all []stream.Record[K, V]
	for _, r := range o.records() {
		all = append(all, o.decode(r))
	}
	return rows(all)
}

// rows returns the last value of each key.
func rows[K comparable, V any](records []stream.Record[K, V]) map[K]V {
	rows := map[K]V{}
	for _, r := range records {
		switch {
		case r.NoKey:
		case r.Tombstone:
			delete(rows, r.Key)
		default:
			rows[r.Key] = r.Value
		}
	}
	return rows
}

func (o Out[K, V]) records() []*record {
	topicLog := o.driver.logs[o.topic.Name]
	switch {
	case topicLog == nil:
		return nil
	case o.partition == allPartitions:
		return topicLog.all
	case int(o.partition) >= len(topicLog.partitions):
		return nil
	}
	return topicLog.partitions[o.partition]
}

func (o Out[K, V]) decode(r *record) stream.Record[K, V] {
	o.driver.test.Helper()
	out := stream.Record[K, V]{
		NoKey: r.Key == nil, Tombstone: r.Value == nil, Time: time.UnixMilli(r.Time), Headers: headers(r.Headers),
	}
	var err error
	if !out.NoKey {
		if out.Key, err = o.topic.Key.Decode(r.Key); err != nil {
			o.driver.check(fmt.Errorf("key in topic %q[%d] offset %d: %w", o.topic.Name, r.partition, r.Offset, err))
		}
	}
	if !out.Tombstone {
		if out.Value, err = o.topic.Value.Decode(r.Value); err != nil {
			o.driver.check(fmt.Errorf("value in topic %q[%d] offset %d: %w", o.topic.Name, r.partition, r.Offset, err))
		}
	}
	return out.From(topology.Source{Topic: o.topic.Name, Partition: r.partition, Offset: r.Offset})
}
