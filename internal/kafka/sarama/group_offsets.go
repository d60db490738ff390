package sarama

import (
	"context"
	"fmt"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// offsets is the role for committed offsets.
type offsets struct {
	pool         *connPool
	coordinators coordinators
}

func newOffsets(c *Client) *offsets {
	pool := newConnPool(c)
	return &offsets{pool: pool, coordinators: newCoordinators(pool)}
}

// call makes a request to the group's coordinator.
func (o *offsets) call(ctx context.Context, what, group string, f func(*conn, *ibm.Broker) error) error {
	return o.pool.retry(ctx, what, func(ctx context.Context) error {
		return o.coordinators.request(ctx, group, o.pool.client.cfg.RequestTimeout, f)
	})
}

// Commit commits offsets. It is repeated when there is no response: the same offsets of the same
// generation are the same commit.
func (o *offsets) Commit(ctx context.Context, group, memberID string, generation int32,
	at map[kafka.TopicPartition]kafka.OffsetMeta) error {
	if len(at) == 0 {
		return nil
	}
	return o.call(ctx, "commit offsets of group "+group, group, func(cn *conn, b *ibm.Broker) error {
		instance, err := o.pool.client.instanceID(cn)
		if err != nil {
			return err
		}
		req := &ibm.OffsetCommitRequest{Version: cn.version(apiOffsetCommit, 8), ConsumerGroup: group, ConsumerID: memberID,
			ConsumerGroupGeneration: generation, GroupInstanceId: instance}
		if req.Version >= 2 && req.Version <= 4 { // 0 would be no time at all; -1 is the broker's setting
			req.RetentionTime = -1
		}
		for tp, m := range at {
			req.AddBlockWithLeaderEpoch(tp.Topic, tp.Partition, m.Offset, -1, -1, m.Metadata)
		}
		resp, err := b.CommitOffset(req)
		if err != nil {
			return err
		}
		return commitError(resp, at)
	})
}

// commitError returns the first error of a partition, or one that concerns the whole group, where
// there is one: it says more. A partition of which the response says nothing is not committed.
func commitError(resp *ibm.OffsetCommitResponse, at map[kafka.TopicPartition]kafka.OffsetMeta) error {
	var first error
	for tp := range at {
		if _, ok := resp.Errors[tp.Topic][tp.Partition]; !ok {
			first = fmt.Errorf("%s: %w", tp, ibm.ErrIncompleteResponse)
		}
	}
	for topic, ps := range resp.Errors {
		for p, k := range ps {
			err := codeError(k)
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

// groupWide reports whether a code of a partition is the group's.
func groupWide(k ibm.KError) bool {
	switch k {
	case ibm.ErrIllegalGeneration, ibm.ErrUnknownMemberId, ibm.ErrRebalanceInProgress, ibm.ErrFencedInstancedId,
		ibm.ErrGroupAuthorizationFailed, ibm.ErrNotCoordinatorForConsumer, ibm.ErrConsumerCoordinatorNotAvailable,
		ibm.ErrOffsetsLoadInProgress:
		return true
	}
	return false
}

// Fetch reads committed offsets. Each is the offset at some time during the call at which no transaction was about to
// change it: of many partitions that others commit all the time, hardly ever are all so at once.
func (o *offsets) Fetch(ctx context.Context, group string, tps []kafka.TopicPartition) (
	map[kafka.TopicPartition]kafka.OffsetMeta, error) {
	out := make(map[kafka.TopicPartition]kafka.OffsetMeta, len(tps))
	if len(tps) == 0 {
		return out, nil
	}
	err := o.call(ctx, "committed offsets of group "+group, group, func(cn *conn, b *ibm.Broker) error {
		req := &ibm.OffsetFetchRequest{Version: cn.version(apiOffsetFetch, 7), ConsumerGroup: group}
		req.RequireStable = req.Version >= 7
		for _, tp := range tps {
			if _, ok := out[tp]; !ok {
				req.AddPartition(tp.Topic, tp.Partition)
			}
		}
		resp, err := b.FetchOffset(req)
		if err != nil {
			return err
		}
		// A group that never was has committed nothing.
		if resp.Err == ibm.ErrGroupIDNotFound {
			resp = &ibm.OffsetFetchResponse{}
		}
		if err := codeError(resp.Err); err != nil {
			return err
		}
		var unstable error
		for _, tp := range tps {
			if _, ok := out[tp]; ok {
				continue
			}
			at, err := committedOffset(resp.GetBlock(tp.Topic, tp.Partition))
			switch {
			case err == nil:
				out[tp] = at
			case isUnstableOffset(err):
				unstable = fmt.Errorf("%s: %w", tp, err)
			default:
				return fmt.Errorf("%s: %w", tp, err)
			}
		}
		return unstable
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// committedOffset returns what a response says of one partition.
func committedOffset(b *ibm.OffsetFetchResponseBlock) (kafka.OffsetMeta, error) {
	// A broker before 2.0 says so of a topic that does not exist any more.
	if b == nil || b.Err == ibm.ErrUnknownTopicOrPartition {
		return kafka.OffsetMeta{Offset: -1}, nil
	}
	return kafka.OffsetMeta{Offset: b.Offset, Metadata: b.Metadata}, codeError(b.Err)
}

// Close closes the connections; waiting calls return.
func (o *offsets) Close() { o.pool.close() }
