package sarama

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	ibm "github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// byLeader groups what is asked of partitions by the leaders' addresses.
func byLeader[V any](m *metadata, at map[kafka.TopicPartition]V) (map[string][]kafka.TopicPartition, error) {
	out := map[string][]kafka.TopicPartition{}
	for tp := range at {
		lead, err := m.leader(tp)
		if err != nil {
			return nil, err
		}
		out[lead.addr] = append(out[lead.addr], tp)
	}
	return out, nil
}

// perLeader calls f for the partitions of each leader until todo is empty: f deletes from it what
// is done.
func perLeader[V any](ctx context.Context, a *admin, what string, todo map[kafka.TopicPartition]V,
	f func(*conn, *ibm.Broker, []kafka.TopicPartition) error) error {
	again := false
	return a.pool.retry(ctx, what, func(ctx context.Context) error {
		leaders, err := byLeader(a.pool.client.metadata, todo)
		// After an error some leader may have moved, whichever it was.
		if err != nil || again {
			if _, err := a.pool.describeTopics(ctx, topicsOf(todo)); err != nil {
				return err
			}
			if leaders, err = byLeader(a.pool.client.metadata, todo); err != nil {
				return err
			}
		}
		again = true
		for addr, tps := range leaders {
			if err := a.pool.request(ctx, addr, func(cn *conn, b *ibm.Broker) error { return f(cn, b, tps) }); err != nil {
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

// ListOffsets returns offsets for positions or times.
func (a *admin) ListOffsets(ctx context.Context, isolation kafka.Isolation, at map[kafka.TopicPartition]int64) (
	map[kafka.TopicPartition]int64, error) {
	out := make(map[kafka.TopicPartition]int64, len(at))
	if err := a.listOffsets(ctx, isolation, maps.Clone(at), out); err != nil {
		return nil, err
	}
	// A broker answers -1 for a time after the last record, which is the end.
	past := map[kafka.TopicPartition]int64{}
	for tp, o := range out {
		if o < 0 {
			past[tp] = kafka.Latest
		}
	}
	if err := a.listOffsets(ctx, isolation, past, out); err != nil {
		return nil, err
	}
	return out, nil
}

// listOffsets moves what is asked for in todo to out, once it is known.
func (a *admin) listOffsets(
	ctx context.Context, isolation kafka.Isolation, todo, out map[kafka.TopicPartition]int64,
) error {
	if len(todo) == 0 {
		return nil
	}
	return perLeader(ctx, a, "list offsets", todo, func(cn *conn, b *ibm.Broker, tps []kafka.TopicPartition) error {
		req := &ibm.OffsetRequest{Version: cn.version(apiListOffsets, 6), IsolationLevel: ibm.IsolationLevel(isolation)}
		for _, tp := range tps {
			req.AddBlock(tp.Topic, tp.Partition, todo[tp], 1)
		}
		resp, err := b.GetAvailableOffsets(req)
		if err != nil {
			return err
		}
		// What is done leaves todo, so that a retry asks for the rest alone.
		for _, tp := range tps {
			offset, err := listedOffset(resp, tp)
			if err != nil {
				return fmt.Errorf("%s: %w", tp, err)
			}
			out[tp] = offset
			delete(todo, tp)
		}
		return nil
	})
}

// listedOffset returns what a response says of tp.
func listedOffset(resp *ibm.OffsetResponse, tp kafka.TopicPartition) (int64, error) {
	block := resp.GetBlock(tp.Topic, tp.Partition)
	if block == nil {
		return 0, ibm.ErrIncompleteResponse
	}
	return block.Offset, codeError(block.Err)
}

// DeleteRecords removes what is before each offset.
func (a *admin) DeleteRecords(ctx context.Context, before map[kafka.TopicPartition]int64) error {
	todo := maps.Clone(before)
	if len(todo) == 0 {
		return nil
	}
	outOfRange := map[kafka.TopicPartition]int64{}
	err := perLeader(ctx, a, "delete records", todo, func(cn *conn, b *ibm.Broker, tps []kafka.TopicPartition) error {
		req := &ibm.DeleteRecordsRequest{Version: cn.version(apiDeleteRecords, 2),
			Timeout: a.pool.client.cfg.RequestTimeout / 2,
			Topics:  map[string]*ibm.DeleteRecordsRequestTopic{}}
		for _, tp := range tps {
			t := req.Topics[tp.Topic]
			if t == nil {
				t = &ibm.DeleteRecordsRequestTopic{PartitionOffsets: map[int32]int64{}}
				req.Topics[tp.Topic] = t
			}
			t.PartitionOffsets[tp.Partition] = todo[tp]
		}
		resp, err := b.DeleteRecords(req)
		if err != nil {
			return err
		}
		// What is done leaves todo, so that a retry asks for the rest alone.
		for _, tp := range tps {
			t := resp.Topics[tp.Topic]
			if t == nil || t.Partitions[tp.Partition] == nil {
				return ibm.ErrIncompleteResponse
			}
			code := t.Partitions[tp.Partition].Err
			if code == ibm.ErrOffsetOutOfRange {
				outOfRange[tp] = todo[tp]
			} else if err := codeError(code); err != nil {
				return fmt.Errorf("%s: %w", tp, err)
			}
			delete(todo, tp)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.checkDeleted(ctx, outOfRange)
}

// checkDeleted returns an error for offsets of DeleteRecords that were out of range, unless what is before them is
// deleted already, as when another member runs the task by now and has deleted more. Kafka has no error for those. The
// in-process broker has, and the request would be repeated, with a warning each time, for as long as the App runs.
func (a *admin) checkDeleted(ctx context.Context, outOfRange map[kafka.TopicPartition]int64) error {
	if len(outOfRange) == 0 {
		return nil
	}
	at := map[kafka.TopicPartition]int64{}
	for tp := range outOfRange {
		at[tp] = kafka.Earliest
	}
	starts, err := a.ListOffsets(ctx, kafka.ReadUncommitted, at)
	if err != nil {
		return fmt.Errorf("delete records: %w", err)
	}
	var errs []error
	for tp, offset := range outOfRange {
		if starts[tp] < offset {
			errs = append(errs, fmt.Errorf("delete records: %s: before %d: %w", tp, offset, codeError(ibm.ErrOffsetOutOfRange)))
		}
	}
	return errors.Join(errs...)
}
