package testdriver

import (
	"bytes"
	"fmt"
	"regexp"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/partition"
	"github.com/millstream-go/millstream/internal/task"
	"github.com/millstream-go/millstream/topology"
)

// log is a topic in memory.
type log struct {
	name       string
	partitions [][]*record
	all        []*record // in the order in which they were written
	written    bool      // by the program
	keyless    partition.Spread
}

type record struct {
	kafka.Record
	partition int32
	taken     bool // by an Out
}

// count returns how many partitions a topic has; one that is not known yet gets as many as the options say.
func (d *Driver) count(topic string) int {
	if d.counts[topic] == 0 {
		d.counts[topic] = d.opt.partitions
	}
	return d.counts[topic]
}

func (d *Driver) log(topic string) *log {
	l := d.logs[topic]
	if l == nil {
		l = &log{name: topic}
		d.logs[topic] = l
	}
	for len(l.partitions) < d.count(topic) {
		l.partitions = append(l.partitions, nil)
	}
	return l
}

// append writes a record, whose bytes it copies.
func (l *log) append(p int32, r kafka.ProduceRecord) *record {
	x := &record{partition: p, Record: kafka.Record{
		Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Time: r.Time, Offset: int64(len(l.partitions[p])),
	}}
	for _, h := range r.Headers {
		x.Headers = append(x.Headers, kafka.Header{Name: h.Name, Value: bytes.Clone(h.Value)})
	}
	l.partitions[p] = append(l.partitions[p], x)
	l.all = append(l.all, x)
	return x
}

// output is the driver as its tasks write to it.
type output Driver

func (o *output) Partitions(topic string) (int, error) { return (*Driver)(o).count(topic), nil }

func (o *output) Send(topic string, p int32, r kafka.ProduceRecord) error {
	d := (*Driver)(o)
	if n := len(r.Key) + len(r.Value); n > d.opt.maxRecord {
		return fmt.Errorf("a record of %d bytes for topic %q, which takes %d: %w", n, topic, d.opt.maxRecord, kafka.ErrTooLarge)
	}
	_, err := d.write(topic, p, r, true)
	return err
}

// write appends a record to a topic and has it delivered to the task that reads it.
func (d *Driver) write(topic string, p int32, r kafka.ProduceRecord, program bool) (*record, error) {
	l := d.log(topic)
	if p < 0 || int(p) >= len(l.partitions) {
		return nil, fmt.Errorf("topic %q has %d partitions, there is no %d", topic, len(l.partitions), p)
	}
	l.written = l.written || program
	x := l.append(p, r)
	d.pending = append(d.pending, delivery{kafka.TopicPartition{Topic: topic, Partition: p}, x})
	return x, nil
}

// replay has what a partition holds from an offset on delivered again.
func (d *Driver) replay(tp kafka.TopicPartition, from int64) {
	l := d.logs[tp.Topic]
	if l == nil || int(tp.Partition) >= len(l.partitions) {
		return
	}
	for _, r := range l.partitions[tp.Partition][min(from, int64(len(l.partitions[tp.Partition]))):] {
		d.pending = append(d.pending, delivery{tp, r})
	}
}

// deliver hands what was written to the tasks that read it.
func (d *Driver) deliver() error {
	for len(d.pending) > 0 {
		x := d.pending[0]
		d.pending = d.pending[1:]
		to := d.reader(x.tp)
		if to == nil {
			continue
		}
		b := &kafka.Batch{TopicPartition: x.tp, Records: []kafka.Record{x.r.Record}, Next: x.r.Offset + 1}
		if err := to.Add(b); err != nil {
			return d.broken(err)
		}
		if err := d.apply(to); err != nil {
			return d.broken(err)
		}
	}
	return nil
}

// reader returns the task that reads a partition, nil when none does.
func (d *Driver) reader(tp kafka.TopicPartition) *task.Task {
	if x, ok := d.readers[tp]; ok || d.internal[tp.Topic] {
		return x
	}
	d.readers[tp] = nil
	for _, x := range d.tasks {
		if x.ID().Partition == tp.Partition && d.matches(x.ID().Sub, tp.Topic) {
			d.readers[tp] = x
		}
	}
	return d.readers[tp]
}

// matches says whether a source of a sub-topology has a pattern that a topic's name matches.
func (d *Driver) matches(sub int, topic string) bool {
	for _, n := range d.g.Subs[sub].Sources() {
		if n.Source.Pattern == "" {
			continue
		}
		if ok, _ := regexp.MatchString("^(?:"+n.Source.Pattern+")$", topic); ok {
			return true
		}
	}
	return false
}

// Raw is a record of a topic, as bytes.
type Raw struct {
	Partition  int32
	Offset     int64
	Key, Value []byte // nil: null
	Headers    topology.Headers
	Time       time.Time
}

// Raw returns all records that a topic has had so far, in the order in which they were written, whether an Out has taken them or
// not. Any topic can be read: inputs, sinks, dead letters, and with the application's id before their names repartition topics and
// changelogs ("testdriver-counts-changelog").
func (d *Driver) Raw(topic string) []Raw {
	l := d.logs[topic]
	if l == nil {
		return nil
	}
	out := make([]Raw, len(l.all))
	for i, r := range l.all {
		out[i] = Raw{
			Partition: r.partition, Offset: r.Offset, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value),
			Headers: headers(r.Headers), Time: time.UnixMilli(r.Time),
		}
	}
	return out
}

func headers(from []kafka.Header) topology.Headers {
	var out topology.Headers
	for _, h := range from {
		out = append(out, topology.Header{Name: h.Name, Value: bytes.Clone(h.Value)})
	}
	return out
}
