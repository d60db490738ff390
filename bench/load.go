package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// create makes topics of four partitions.
func (b *bench) create(ctx context.Context, names ...string) error {
	return b.createWith(ctx, partitions, names...)
}

// createOut makes the topics that the App writes, and those of the program on Kafka Streams.
func (b *bench) createOut(ctx context.Context, names ...string) error {
	for _, kind := range []string{kindApp, kindOnce, kindStreams} {
		for _, name := range names {
			if err := b.create(ctx, spec{Kind: kind}.out(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// topics returns the names of all topics but Kafka's own.
func (b *bench) topics(ctx context.Context) (names []string, err error) {
	req := kmsg.NewPtrMetadataRequest()
	resp, err := req.RequestWith(ctx, b.client)
	if err != nil {
		return nil, err
	}
	for _, t := range resp.Topics {
		if name := *t.Topic; !strings.HasPrefix(name, "__") {
			names = append(names, name)
		}
	}
	return names, nil
}

// internalInput reports whether a topic is one that an application makes and reads.
func internalInput(topic, application string) bool {
	return strings.HasPrefix(topic, application+"-") && !strings.HasSuffix(topic, "-changelog")
}

// deleteTopics deletes all topics, and waits until they are gone.
func (b *bench) deleteTopics(ctx context.Context) error {
	for {
		names, err := b.topics(ctx)
		if err != nil || len(names) == 0 {
			return err
		}
		req := kmsg.NewPtrDeleteTopicsRequest()
		for _, name := range names {
			t := kmsg.NewDeleteTopicsRequestTopic()
			t.Topic = &name
			req.Topics, req.TopicNames = append(req.Topics, t), append(req.TopicNames, name)
		}
		if _, err := req.RequestWith(ctx, b.client); err != nil {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *bench) createWith(ctx context.Context, count int32, names ...string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, count, 1
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, b.client)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("create %q: %w", t.Topic, err)
		}
	}
	for _, name := range names {
		if err := b.led(ctx, name, min(count, partitions)); err != nil {
			return err
		}
	}
	return nil
}

// led waits until the first partitions of a new topic have leaders: the bare loop does not look for them.
func (b *bench) led(ctx context.Context, topic string, count int32) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		ends, err := b.endsOf(ctx, topic, count)
		if err == nil && len(ends) == int(count) {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("topic %q has no leaders: %w", topic, err)
		}
	}
}

// load writes n records, with keys by Kafka's default partitioner, as key says. A row of the table has its key for a number.
func (b *bench) load(ctx context.Context, topic string, n int64, key func(int64) int64) error {
	return b.loadAt(ctx, topic, n, key, func(int64) time.Time { return time.Time{} })
}

// loadAt is load with the times of the records; a zero time is now.
func (b *bench) loadAt(ctx context.Context, topic string, n int64, key func(int64) int64, at func(int64) time.Time) error {
	began := time.Now()
	failed := make(chan error, 1)
	const perSlab = 1000
	var slab []byte
	for i := range n {
		if i%perSlab == 0 {
			slab = make([]byte, 0, perSlab*(8+valueSize))
		}
		from := len(slab)
		k, number := key(i), i
		if topic == rowsTopic {
			number = k
		}
		slab = appendValue(appendKey(slab, k), number)
		r := &kgo.Record{Topic: topic, Key: slab[from : from+8], Value: slab[from+8:], Timestamp: at(i)}
		b.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := b.client.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
	}
	fmt.Fprintf(os.Stderr, "loaded %d records into %q in %.1f s\n", n, topic, time.Since(began).Seconds())
	return nil
}

// read calls f with everything in a topic, each partition in order.
func (b *bench) read(ctx context.Context, topic string, f func(*kgo.Record) error) error {
	ends, err := b.ends(ctx, topic)
	if err != nil {
		return err
	}
	from := map[int32]kgo.Offset{}
	left := 0
	for p, end := range ends {
		if end > 0 {
			from[p] = kgo.NewOffset().At(0)
			left++
		}
	}
	if left == 0 {
		return nil
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(b.broker), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords()) // a marker may be the last record
	if err != nil {
		return err
	}
	defer c.Close()
	for left > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		var bad error
		fetches.EachRecord(func(r *kgo.Record) {
			if bad == nil && !r.Attrs.IsControl() {
				bad = f(r)
			}
			if r.Offset == ends[r.Partition]-1 {
				left--
			}
		})
		if bad != nil {
			return bad
		}
	}
	return nil
}

// ends returns where the partitions of a topic end.
func (b *bench) ends(ctx context.Context, topic string) (map[int32]int64, error) {
	return b.endsOf(ctx, topic, partitions)
}

// endsOf returns where the first partitions of a topic end.
func (b *bench) endsOf(ctx context.Context, topic string, count int32) (map[int32]int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for p := range count {
		x := kmsg.NewListOffsetsRequestTopicPartition()
		x.Partition, x.Timestamp = p, -1
		t.Partitions = append(t.Partitions, x)
	}
	req.ReplicaID, req.Topics = -1, append(req.Topics, t)
	out := map[int32]int64{}
	for _, shard := range b.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, err
				}
				out[p.Partition] = p.Offset
			}
		}
	}
	return out, nil
}

func number(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }
