package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ByKey as a Record's Partition lets the key choose, as Kafka's own producers do (murmur2); without
// a key any partition is taken.
const ByKey int32 = -1

// Record is a record of a topic. Nil keys, values and header values are null.
type Record struct {
	Partition  int32
	Offset     int64 // set by Read and Follow
	Key, Value []byte
	Headers    []Header
	Time       time.Time // milliseconds count; the zero Time is written as now
}

// Header is one header of a Record.
type Header struct {
	Name  string
	Value []byte
}

// Produce writes records to a topic in order and returns when all are accepted. They stay the caller's.
func (b *Broker) Produce(ctx context.Context, topic string, records ...Record) error {
	if err := b.exists(topic); err != nil {
		return err
	}
	c, err := b.writer()
	if err != nil {
		return err
	}
	out := make([]*kgo.Record, len(records))
	for i, r := range records {
		out[i] = &kgo.Record{Topic: topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Time}
		for _, h := range r.Headers {
			out[i].Headers = append(out[i].Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
	}
	if err := c.ProduceSync(ctx, out...).FirstErr(); err != nil {
		return fmt.Errorf("broker: produce to %q: %w", topic, err)
	}
	return nil
}

// exists spares the clients' patient waiting for a topic that nobody creates.
func (b *Broker) exists(topic string) error {
	if b.cluster.TopicInfo(topic) == nil {
		return fmt.Errorf("broker: there is no topic %q", topic)
	}
	return nil
}

// AddPartitions gives a topic more partitions, up to total, as kafka-topics --alter does. Those
// that it has stay as they are.
func (b *Broker) AddPartitions(ctx context.Context, topic string, total int) error {
	c, err := b.client()
	if err != nil {
		return err
	}
	defer c.Close()
	req, t := kmsg.NewPtrCreatePartitionsRequest(), kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = topic, int32(total)
	req.Topics, req.TimeoutMillis = append(req.Topics, t), 5000
	resp, err := req.RequestWith(ctx, c)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("broker: topic %q: %d partitions: %w", topic, total, err)
	}
	b.renewWriteClient()
	return nil
}

// renewWriteClient has the next Produce use another client, which asks how many partitions topics have.
func (b *Broker) renewWriteClient() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.writeClient != nil {
		b.oldWriteClients, b.writeClient = append(b.oldWriteClients, b.writeClient), nil // a Produce may be under way
	}
}

func (b *Broker) writer() (*kgo.Client, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.writeClient != nil {
		return b.writeClient, nil
	}
	c, err := b.client(kgo.ProducerLinger(0), kgo.RecordPartitioner(partitioner{kgo.StickyKeyPartitioner(nil)}))
	b.writeClient = c
	return c, err
}

func (b *Broker) client(opts ...kgo.Opt) (*kgo.Client, error) {
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.addrs...), kgo.Dialer(b.Dialer()),
		kgo.DisableClientMetrics())...)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	return c, nil
}

// partitioner chooses the partition that a record names, otherwise the key's.
type partitioner struct{ byKey kgo.Partitioner }

func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return topicPartitioner{p.byKey.ForTopic(topic)}
}

type topicPartitioner struct{ kgo.TopicPartitioner }

func (p topicPartitioner) RequiresConsistency(*kgo.Record) bool { return true }

func (p topicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition)
	}
	return p.TopicPartitioner.Partition(r, n)
}

// Read returns what a consumer of committed records finds in a topic now: by partition, then by
// offset. Records of open and aborted transactions are left out, and what compaction and retention
// have removed.
func (b *Broker) Read(ctx context.Context, topic string) ([]Record, error) {
	if err := b.exists(topic); err != nil {
		return nil, err
	}
	r := reader{unreadEnds: map[int32]int64{}, partitions: map[int32]*partition{}}
	starts := map[int32]kgo.Offset{}
	infos := b.cluster.PartitionInfos(topic)
	// The ends of now: records that are written meanwhile are of the next Read.
	for _, p := range infos {
		r.partitions[p.Partition] = &partition{openTxns: map[int64][]int{}}
		if p.HighWatermark > p.LogStartOffset {
			r.unreadEnds[p.Partition] = p.HighWatermark
			starts[p.Partition] = kgo.NewOffset().At(p.LogStartOffset)
		}
	}
	if err := b.read(ctx, topic, starts, &r); err != nil {
		return nil, err
	}
	var all []Record
	for i := range infos {
		all = append(all, r.partitions[int32(i)].committedRecords()...)
	}
	return all, nil
}

func (b *Broker) read(ctx context.Context, topic string, starts map[int32]kgo.Offset, r *reader) error {
	if len(starts) == 0 {
		return nil
	}
	// All records are fetched, and markers with them, and sorted out here: a reader of committed
	// records would never learn that it has passed the last offset when that was aborted.
	c, err := b.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}), kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer c.Close()
	for len(r.unreadEnds) > 0 {
		f := c.PollFetches(ctx)
		if err := f.Err(); err != nil {
			return fmt.Errorf("broker: read %q: %w", topic, err)
		}
		f.EachRecord(r.add)
	}
	return nil
}

// reader collects the records of a topic up to the ends it started with.
type reader struct {
	unreadEnds map[int32]int64 // high watermark of partitions not yet read
	partitions map[int32]*partition
}

func (r *reader) add(k *kgo.Record) {
	end, ok := r.unreadEnds[k.Partition]
	if !ok || k.Offset >= end {
		return
	}
	if k.Offset == end-1 {
		delete(r.unreadEnds, k.Partition)
	}
	r.partitions[k.Partition].add(k)
}

// partition sorts out which records were committed.
type partition struct {
	records  []Record
	dropped  []bool          // by index of records
	openTxns map[int64][]int // indexes of records of an open transaction, by producer
}

const markerCommit = 1

func (p *partition) add(k *kgo.Record) {
	switch {
	case k.Attrs.IsControl():
		p.endTransaction(k.ProducerID, k.Key)
	default:
		if k.Attrs.IsTransactional() {
			p.openTxns[k.ProducerID] = append(p.openTxns[k.ProducerID], len(p.records))
		}
		p.records = append(p.records, fromKgoRecord(k))
		p.dropped = append(p.dropped, false)
	}
}

// endTransaction ends a producer's transaction. A marker's key is a version and a type of two bytes
// each.
func (p *partition) endTransaction(producer int64, key []byte) {
	if len(key) < 4 || binary.BigEndian.Uint16(key[2:]) != markerCommit {
		for _, i := range p.openTxns[producer] {
			p.dropped[i] = true
		}
	}
	delete(p.openTxns, producer)
}

// committedRecords ends before the first record of an open transaction, as consumers do.
func (p *partition) committedRecords() (out []Record) {
	end := len(p.records)
	for _, open := range p.openTxns {
		end = min(end, open[0])
	}
	for i, r := range p.records[:end] {
		if !p.dropped[i] {
			out = append(out, r)
		}
	}
	return out
}

// Follow yields the committed records of a topic from its beginning, each as soon as it is there,
// in order within a partition. It ends when the loop does or ctx ends, and with an error when it
// cannot go on.
func (b *Broker) Follow(ctx context.Context, topic string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		c, err := b.follower(topic)
		if err != nil {
			yield(Record{}, err)
			return
		}
		defer c.Close()
		for ctx.Err() == nil {
			// An error of a poll that ctx ended is the end, not an error.
			f := c.PollFetches(ctx)
			if err := f.Err(); err != nil && ctx.Err() == nil {
				yield(Record{}, fmt.Errorf("broker: follow %q: %w", topic, err))
				return
			}
			for it := f.RecordIter(); !it.Done(); {
				if !yield(fromKgoRecord(it.Next()), nil) {
					return
				}
			}
		}
	}
}

func (b *Broker) follower(topic string) (*kgo.Client, error) {
	if err := b.exists(topic); err != nil {
		return nil, err
	}
	starts := map[int32]kgo.Offset{}
	for _, p := range b.cluster.PartitionInfos(topic) {
		starts[p.Partition] = kgo.NewOffset().AtStart()
	}
	if len(starts) == 0 {
		return nil, errors.New("broker: the topic has no partitions")
	}
	return b.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
}

func fromKgoRecord(k *kgo.Record) Record {
	r := Record{Partition: k.Partition, Offset: k.Offset, Key: k.Key, Value: k.Value, Time: k.Timestamp}
	for _, h := range k.Headers {
		r.Headers = append(r.Headers, Header{Name: h.Key, Value: h.Value})
	}
	return r
}
