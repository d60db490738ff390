package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cluster is the program's own access to Kafka, beside the library's: it creates topics, writes the
// inputs, and reads the output as any other consumer would.
type cluster struct {
	client  *kgo.Client
	brokers []string
}

func connect(brokers []string) (cluster, error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ProducerLinger(0))
	return cluster{c, brokers}, err
}

// create creates the topics that are missing. compacted is the one that is a table.
func (k cluster) create(ctx context.Context, topics []TopicConfig, compacted string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 30_000
	for _, t := range topics {
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic, rt.NumPartitions, rt.ReplicationFactor = t.Name, int32(t.Partitions), int16(t.Replication)
		if t.Name == compacted {
			compact := kmsg.NewCreateTopicsRequestTopicConfig()
			compact.Name, compact.Value = "cleanup.policy", kmsg.StringPtr("compact")
			rt.Configs = append(rt.Configs, compact)
		}
		req.Topics = append(req.Topics, rt)
	}
	resp, err := req.RequestWith(ctx, k.client)
	if err != nil {
		return fmt.Errorf("create the missing topics at %s: %w; check that a Kafka runs there, and -brokers or "+
			"bootstrap.servers",
			strings.Join(k.brokers, ","), err)
	}
	var errs []error
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			errs = append(errs, fmt.Errorf("create topic %q: %w", t.Topic, err))
		}
	}
	return errors.Join(errs...)
}

// produce writes a message and does not wait; failures come to done.
func (k cluster) produce(ctx context.Context, config Config, message Message, done func(*kgo.Record, error)) {
	record := &kgo.Record{Topic: config.Stream.Name, Value: message.Value, Timestamp: message.Time}
	if message.Table {
		record.Topic = config.Table.Name
	}
	if message.Key != "" {
		record.Key = []byte(message.Key)
	}
	k.client.Produce(ctx, record, done)
}

// produceAll writes messages, waits for all acknowledgements, and returns how many there were.
func (k cluster) produceAll(ctx context.Context, config Config, messages func(yield func(Message) bool)) (int, error) {
	written := 0
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for message := range messages {
		written++
		k.produce(ctx, config, message, func(_ *kgo.Record, err error) {
			if err != nil {
				cancel(fmt.Errorf("write to an input: %w", err))
			}
		})
		if ctx.Err() != nil {
			break
		}
	}
	if err := k.client.Flush(ctx); err != nil {
		return written, context.Cause(ctx)
	}
	return written, context.Cause(ctx)
}

// ends returns the end offset of each partition of a topic.
func (k cluster) ends(ctx context.Context, topic string, partitions int) (map[int32]int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel = -1, 1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	for p := range partitions {
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = int32(p), -1, -1
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	ends := map[int32]int64{}
	for _, shard := range k.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, fmt.Errorf("end of topic %q: %w", topic, shard.Err)
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("end of %s[%d]: %w", topic, p.Partition, err)
				}
				ends[p.Partition] = p.Offset
			}
		}
	}
	return ends, nil
}

// partitions returns how many partitions a topic has.
func (k cluster) partitions(ctx context.Context, topic string) (int, error) {
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, k.client)
	if err != nil {
		return 0, fmt.Errorf("look topic %q up: %w", topic, err)
	}
	if len(resp.Topics) != 1 {
		return 0, fmt.Errorf("look topic %q up: the answer is about %d topics", topic, len(resp.Topics))
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		return 0, fmt.Errorf("look topic %q up: %w", topic, err)
	}
	return len(resp.Topics[0].Partitions), nil
}

func (k cluster) close() { k.client.Close() }
