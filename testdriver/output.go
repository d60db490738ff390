package testdriver

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

const allPartitions int32 = -1

// Out reads a topic. It is a value; what has been taken is kept by the driver, for each record: two Outs of one topic share it.
type Out[K, V any] struct {
	d         *Driver
	topic     plan.Topic[K, V]
	partition int32
}

// Output returns the reader of a topic, which may be any one: a sink's, a dead-letter topic, or by its full name a repartition topic
// or a changelog.
func Output[K, V any](d *Driver, t stream.Topic[K, V]) Out[K, V] {
	d.t.Helper()
	p, err := bound(t.Plan())
	d.check(err)
	return Out[K, V]{d: d, topic: p, partition: allPartitions}
}

// Partition returns a reader of one partition.
func (o Out[K, V]) Partition(p int32) Out[K, V] {
	o.partition = p
	return o
}

// Take returns the records that nobody has taken yet, in the order in which they were written, nil when there is none. Their Source says where
// in the topic they are.
func (o Out[K, V]) Take() []stream.Record[K, V] {
	o.d.t.Helper()
	var out []stream.Record[K, V]
	for _, r := range o.records() {
		if r.taken {
			continue
		}
		r.taken = true
		out = append(out, o.decode(r))
	}
	return out
}

// TakeOne returns the oldest record that nobody has taken yet, and ends the test when there is none.
func (o Out[K, V]) TakeOne() stream.Record[K, V] {
	o.d.t.Helper()
	for _, r := range o.records() {
		if !r.taken {
			r.taken = true
			return o.decode(r)
		}
	}
	o.d.t.Fatalf("testdriver: there is no record left in topic %q", o.topic.Name)
	return stream.Record[K, V]{}
}

// Table returns the rows of a topic that is the changelog of a table: the last value of each key, without deleted ones. It looks at
// all records, taken or not; those without a key are no rows.
func Table[K comparable, V any](o Out[K, V]) map[K]V {
	o.d.t.Helper()
	rows := map[K]V{}
	for _, x := range o.records() {
		r := o.decode(x)
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
	l := o.d.logs[o.topic.Name]
	switch {
	case l == nil:
		return nil
	case o.partition == allPartitions:
		return l.all
	case int(o.partition) >= len(l.partitions):
		return nil
	}
	return l.partitions[o.partition]
}

func (o Out[K, V]) decode(r *record) stream.Record[K, V] {
	o.d.t.Helper()
	out := stream.Record[K, V]{
		NoKey: r.Key == nil, Tombstone: r.Value == nil, Time: time.UnixMilli(r.Time), Headers: headers(r.Headers),
	}
	var err error
	if !out.NoKey {
		if out.Key, err = o.topic.Key.Decode(r.Key); err != nil {
			o.d.check(fmt.Errorf("key in topic %q[%d] offset %d: %w", o.topic.Name, r.partition, r.Offset, err))
		}
	}
	if !out.Tombstone {
		if out.Value, err = o.topic.Value.Decode(r.Value); err != nil {
			o.d.check(fmt.Errorf("value in topic %q[%d] offset %d: %w", o.topic.Name, r.partition, r.Offset, err))
		}
	}
	return out.From(topology.Source{Topic: o.topic.Name, Partition: r.partition, Offset: r.Offset})
}
