package sarama

import (
	"context"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// offsets is the role for committed offsets.
type offsets struct {
	r     *role
	coord coordinators
}

func (o *offsets) call(ctx context.Context, what, group string, f func(*link, *sarama.Broker) error) error {
	return o.r.retry(ctx, what, func(ctx context.Context) error {
		o.coord.r = o.r
		addr, err := o.coord.of(ctx, group)
		if err != nil {
			return err
		}
		_, err = ask(ctx, o.r, addr, func(l *link, b *sarama.Broker) (struct{}, error) { return struct{}{}, f(l, b) })
		o.coord.forget(group, err)
		return err
	})
}

// Commit commits offsets. It is repeated when its answer is lost: the same offsets of the same generation are the same commit.
func (o *offsets) Commit(ctx context.Context, group, memberID string, generation int32, at map[kafka.TopicPartition]kafka.OffsetMeta) error {
	if len(at) == 0 {
		return nil
	}
	return o.call(ctx, "commit offsets of group "+group, group, func(l *link, b *sarama.Broker) error {
		req := &sarama.OffsetCommitRequest{Version: l.version(apiOffsetCommit, 8), ConsumerGroup: group, ConsumerID: memberID, ConsumerGroupGeneration: generation}
		if req.Version >= 2 && req.Version <= 4 {
			req.RetentionTime = -1
		}
		for tp, m := range at {
			req.AddBlockWithLeaderEpoch(tp.Topic, tp.Partition, m.Offset, -1, -1, m.Metadata)
		}
		resp, err := b.CommitOffset(req)
		if err != nil {
			return err
		}
		return refusedCommit(resp)
	})
}

// refusedCommit returns an error that concerns the whole group rather than one of a single partition.
func refusedCommit(resp *sarama.OffsetCommitResponse) error {
	var first error
	for topic, ps := range resp.Errors {
		for p, k := range ps {
			err := failure(k)
			if err == nil {
				continue
			}
			err = fmt.Errorf("%s: %w", kafka.TopicPartition{Topic: topic, Partition: p}, err)
			if first == nil || groupWide(k) {
				first = err
			}
		}
	}
	return first
}

func groupWide(k sarama.KError) bool {
	switch k {
	case sarama.ErrIllegalGeneration, sarama.ErrUnknownMemberId, sarama.ErrRebalanceInProgress, sarama.ErrFencedInstancedId,
		sarama.ErrGroupAuthorizationFailed, sarama.ErrNotCoordinatorForConsumer, sarama.ErrConsumerCoordinatorNotAvailable,
		sarama.ErrOffsetsLoadInProgress:
		return true
	}
	return false
}

// Fetch reads committed offsets.
func (o *offsets) Fetch(ctx context.Context, group string, tps []kafka.TopicPartition) (map[kafka.TopicPartition]kafka.OffsetMeta, error) {
	out := make(map[kafka.TopicPartition]kafka.OffsetMeta, len(tps))
	if len(tps) == 0 {
		return out, nil
	}
	err := o.call(ctx, "committed offsets of group "+group, group, func(l *link, b *sarama.Broker) error {
		req := &sarama.OffsetFetchRequest{Version: l.version(apiOffsetFetch, 7), ConsumerGroup: group}
		req.RequireStable = req.Version >= 7
		for _, tp := range tps {
			req.AddPartition(tp.Topic, tp.Partition)
		}
		resp, err := b.FetchOffset(req)
		if err != nil {
			return err
		}
		if resp.Err == sarama.ErrGroupIDNotFound { // a group that never was has committed nothing
			resp = &sarama.OffsetFetchResponse{}
		}
		if err := failure(resp.Err); err != nil {
			return err
		}
		for _, tp := range tps {
			if out[tp], err = committed(resp.GetBlock(tp.Topic, tp.Partition)); err != nil {
				return fmt.Errorf("%s: %w", tp, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func committed(b *sarama.OffsetFetchResponseBlock) (kafka.OffsetMeta, error) {
	if b == nil || b.Err == sarama.ErrUnknownTopicOrPartition { // a broker before 2.0 says so of a topic that is gone
		return kafka.OffsetMeta{Offset: -1}, nil
	}
	return kafka.OffsetMeta{Offset: b.Offset, Metadata: b.Metadata}, failure(b.Err)
}

// Close closes the connections; waiting calls return.
func (o *offsets) Close() { o.r.close() }
