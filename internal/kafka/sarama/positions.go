package sarama

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// byLeader groups what is asked of partitions by the leaders' addresses.
func byLeader[V any](m *metadata, at map[kafka.TopicPartition]V) (map[string][]kafka.TopicPartition, error) {
	out := map[string][]kafka.TopicPartition{}
	for tp := range at {
		l, err := m.leader(tp)
		if err != nil {
			return nil, err
		}
		out[l.addr] = append(out[l.addr], tp)
	}
	return out, nil
}

// perLeader runs f for each leader's part of at until all of at is done, looking leaders up anew after transient errors. f
// deletes from the map what is done.
func perLeader[V any](ctx context.Context, a *admin, what string, at map[kafka.TopicPartition]V, f func(*link, *sarama.Broker, []kafka.TopicPartition) error) error {
	fresh := false
	return a.r.retry(ctx, what, func(ctx context.Context) error {
		leaders, err := byLeader(a.r.c.meta, at)
		if err != nil || fresh {
			if err := a.lookUp(ctx, topicsOf(at)); err != nil {
				return err
			}
			if leaders, err = byLeader(a.r.c.meta, at); err != nil {
				return err
			}
		}
		fresh = true
		for addr, tps := range leaders {
			_, err := ask(ctx, a.r, addr, func(l *link, b *sarama.Broker) (struct{}, error) { return struct{}{}, f(l, b, tps) })
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func topicsOf[V any](at map[kafka.TopicPartition]V) []string {
	set := map[string]bool{}
	for tp := range at {
		set[tp.Topic] = true
	}
	return slices.Collect(maps.Keys(set))
}

func (a *admin) lookUp(ctx context.Context, topics []string) error {
	resp, err := askAny(ctx, a.r, describe(topics))
	if err == nil {
		a.r.c.meta.publish(resp)
	}
	return err
}

// ListOffsets looks positions up.
func (a *admin) ListOffsets(ctx context.Context, isolation kafka.Isolation, at map[kafka.TopicPartition]int64) (map[kafka.TopicPartition]int64, error) {
	out := make(map[kafka.TopicPartition]int64, len(at))
	if err := a.positions(ctx, isolation, maps.Clone(at), out); err != nil {
		return nil, err
	}
	past := map[kafka.TopicPartition]int64{} // times after the last record: the end
	for tp, o := range out {
		if o < 0 {
			past[tp] = kafka.Latest
		}
	}
	if err := a.positions(ctx, isolation, past, out); err != nil {
		return nil, err
	}
	return out, nil
}

func (a *admin) positions(ctx context.Context, isolation kafka.Isolation, todo, out map[kafka.TopicPartition]int64) error {
	if len(todo) == 0 {
		return nil
	}
	return perLeader(ctx, a, "list offsets", todo, func(l *link, b *sarama.Broker, tps []kafka.TopicPartition) error {
		req := &sarama.OffsetRequest{Version: l.version(apiListOffsets, 6), IsolationLevel: sarama.IsolationLevel(isolation)}
		for _, tp := range tps {
			req.AddBlock(tp.Topic, tp.Partition, todo[tp], 1)
		}
		resp, err := b.GetAvailableOffsets(req)
		if err != nil {
			return err
		}
		for _, tp := range tps {
			block := resp.GetBlock(tp.Topic, tp.Partition)
			if block == nil {
				return sarama.ErrIncompleteResponse
			}
			if err := failure(block.Err); err != nil {
				return fmt.Errorf("%s: %w", tp, err)
			}
			out[tp] = block.Offset
			delete(todo, tp)
		}
		return nil
	})
}

// DeleteRecords removes what is before each offset.
func (a *admin) DeleteRecords(ctx context.Context, before map[kafka.TopicPartition]int64) error {
	todo := maps.Clone(before)
	if len(todo) == 0 {
		return nil
	}
	return perLeader(ctx, a, "delete records", todo, func(l *link, b *sarama.Broker, tps []kafka.TopicPartition) error {
		req := &sarama.DeleteRecordsRequest{Version: l.version(apiDeleteRecords, 2), Timeout: a.r.c.cfg.RequestTimeout / 2, Topics: map[string]*sarama.DeleteRecordsRequestTopic{}}
		for _, tp := range tps {
			t := req.Topics[tp.Topic]
			if t == nil {
				t = &sarama.DeleteRecordsRequestTopic{PartitionOffsets: map[int32]int64{}}
				req.Topics[tp.Topic] = t
			}
			t.PartitionOffsets[tp.Partition] = todo[tp]
		}
		resp, err := b.DeleteRecords(req)
		if err != nil {
			return err
		}
		for _, tp := range tps {
			t := resp.Topics[tp.Topic]
			if t == nil || t.Partitions[tp.Partition] == nil {
				return sarama.ErrIncompleteResponse
			}
			if err := failure(t.Partitions[tp.Partition].Err); err != nil {
				return fmt.Errorf("%s: %w", tp, err)
			}
			delete(todo, tp)
		}
		return nil
	})
}
