package testdriver

import (
	"bytes"
	"fmt"
	"regexp"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/partitioner"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/topology"
)

// log is a topic in memory.
type log struct {
	name       string
	partitions [][]*record
	all        []*record // in the order in which they were written
	written    bool      // by the program
	keyless    partitioner.Sticky
}

type record struct {
	kafka.Record
	partition int32
	read      bool // by an Out
}

// count returns how many partitions a topic has. A topic that is not known yet gets the number that
// the options set.
func (d *Driver) count(topic string) int {
	if d.counts[topic] == 0 {
		d.counts[topic] = d.options.partitions
	}
	return d.counts[topic]
}

func (d *Driver) log(topic string) *log {
	topicLog := d.logs[topic]
	if topicLog == nil {
		topicLog = &log{name: topic}
		d.logs[topic] = topicLog
	}
	for len(topicLog.partitions) < d.count(topic) {
		topicLog.partitions = append(topicLog.partitions, nil)
	}
	return topicLog
}

// append appends a record. It copies the bytes.
func (l *log) append(p int32, r kafka.ProduceRecord) *record {
	stored := &record{partition: p, Record: kafka.Record{
		Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Time: r.Time, Offset: int64(len(l.partitions[p])),
	}}
	for _, h := range r.Headers {
		stored.Headers = append(stored.Headers, kafka.Header{Name: h.Name, Value: bytes.Clone(h.Value)})
	}
	l.partitions[p] = append(l.partitions[p], stored)
	l.all = append(l.all, stored)
	return stored
}

// output is the driver as its tasks see it when they write.
type output Driver

func (o *output) Partitions(topic string) (int, error) { return (*Driver)(o).count(topic), nil }

func (o *output) Send(topic string, p int32, r kafka.ProduceRecord) error {
	d := (*Driver)(o)
	if n := len(r.Key) + len(r.Value); n > d.options.maxRecord {
		return fmt.Errorf("a record of %d bytes for topic %q, which takes %d: %w", n, topic, d.options.maxRecord,
			kafka.ErrTooLarge)
	}
	_, err := d.write(topic, p, r, true)
	return err
}

// write appends a record to a topic and schedules its delivery to the task that reads it.
func (d *Driver) write(topic string, p int32, r kafka.ProduceRecord, program bool) (*record, error) {
	topicLog := d.log(topic)
	if p < 0 || int(p) >= len(topicLog.partitions) {
		return nil, fmt.Errorf("topic %q has %d partitions, there is no %d", topic, len(topicLog.partitions), p)
	}
	topicLog.written = topicLog.written || program
	written := topicLog.append(p, r)
	d.pending = append(d.pending, delivery{kafka.TopicPartition{Topic: topic, Partition: p}, written})
	return written, nil
}

// replay schedules the delivery of a partition's records from an offset on.
func (d *Driver) replay(tp kafka.TopicPartition, from int64) {
	l := d.logs[tp.Topic]
	if l == nil || int(tp.Partition) >= len(l.partitions) {
		return
	}
	for _, r := range l.partitions[tp.Partition][min(from, int64(len(l.partitions[tp.Partition]))):] {
		d.pending = append(d.pending, delivery{tp, r})
	}
}

// deliver passes the scheduled records to the tasks that read them.
func (d *Driver) deliver() error {
	for len(d.pending) > 0 {
		next := d.pending[0]
		d.pending = d.pending[1:]
		reader := d.reader(next.tp)
		if reader == nil {
			continue
		}
		batch := &kafka.Batch{TopicPartition: next.tp, Records: []kafka.Record{next.record.Record},
			Next: next.record.Offset + 1}
		if err := reader.Add(batch); err != nil {
			return d.fail(err)
		}
		if err := d.applyGlobal(reader); err != nil {
			return d.fail(err)
		}
	}
	return nil
}

// reader returns the task that reads a partition, nil when none does.
func (d *Driver) reader(tp kafka.TopicPartition) *task.Task {
	if known, ok := d.readers[tp]; ok || d.internal[tp.Topic] {
		return known
	}
	// The topic may match a pattern. Topics of patterns are unknown until something is written to them.
	d.readers[tp] = nil
	for _, t := range d.tasks {
		if t.ID().Partition == tp.Partition && d.matches(t.ID().Subtopology, tp.Topic) {
			d.readers[tp] = t
		}
	}
	return d.readers[tp]
}

// matches reports whether a source of a sub-topology has a pattern that matches a topic's name.
func (d *Driver) matches(sub int, topic string) bool {
	for _, n := range d.graph.Subtopologies[sub].Sources() {
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

// Raw returns all records of a topic in the order in which they were written, whether an Out has
// read them or not. Any topic can be read: inputs, sinks, dead letters and, with the application's
// id before their names, repartition topics and changelogs ("testdriver-counts-changelog").
func (d *Driver) Raw(topic string) []Raw {
	topicLog := d.logs[topic]
	if topicLog == nil {
		return nil
	}
	out := make([]Raw, len(topicLog.all))
	for i, r := range topicLog.all {
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
