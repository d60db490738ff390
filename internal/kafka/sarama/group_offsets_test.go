package sarama

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
)

// Offsets of an open transaction are waited for.
func TestOffsets_FetchWaitsForTransaction(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		h := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "g", Err: kerr.UnstableOffsetCommit, Count: -1})
		o, err := w.client.Offsets()
		require.NoError(t, err)
		defer o.Close()
		time.AfterFunc(50*time.Second, h.Remove)
		began := time.Now()
		got, err := o.Fetch(ctx, "g", []kafka.TopicPartition{tp(0)})
		require.NoError(t, err)
		assert.Equal(t, int64(-1), got[tp(0)].Offset)
		assert.InDelta(t, 50, time.Since(began).Seconds(), 2, "longer than the request timeout, if need be")
	})
}

// While one call waits for a transaction, another commits.
func TestOffsets_CommitDoesNotWaitForFetch(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		g := w.group()
		defer g.Close()
		j := w.member(ctx, g)
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "g", Err: kerr.UnstableOffsetCommit, Count: -1})
		o, err := w.client.Offsets()
		require.NoError(t, err)
		ended := make(chan error)
		go func() {
			_, err := o.Fetch(ctx, "g", []kafka.TopicPartition{tp(0)})
			ended <- err
		}()
		time.Sleep(5 * time.Second)
		began := time.Now()
		require.NoError(t, o.Commit(ctx, "g", j.MemberID, j.Generation, map[kafka.TopicPartition]kafka.OffsetMeta{tp(0): {Offset: 3}}))
		assert.Less(t, time.Since(began), 100*time.Millisecond)
		o.Close()
		require.Error(t, <-ended)
	})
}

// Transactions of several producers follow each other, so that the offset of some partition is always about to change. Each that was not
// for a moment is known.
func TestOffsets_FetchAmongTransactions(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		o, err := w.client.Offsets()
		require.NoError(t, err)
		defer o.Close()
		requests := int32(0) // the broker's goroutine has it, and this one after the end
		w.cluster.ControlKey(int16(kmsg.OffsetFetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			req := r.(*kmsg.OffsetFetchRequest)
			resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
			for _, topic := range req.Topics {
				answer := kmsg.NewOffsetFetchResponseTopic()
				answer.Topic = topic.Topic
				for _, p := range topic.Partitions {
					at := kmsg.NewOffsetFetchResponseTopicPartition()
					at.Partition, at.Offset = p, int64(10*(p+1))
					if p == requests%3 {
						at.Offset, at.ErrorCode = -1, kerr.UnstableOffsetCommit.Code
					}
					answer.Partitions = append(answer.Partitions, at)
				}
				resp.Topics = append(resp.Topics, answer)
			}
			requests++
			return resp, nil, true
		})
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		at, err := o.Fetch(short, "g", []kafka.TopicPartition{tp(0), tp(1), tp(2)})
		require.NoError(t, err)
		for p := range int32(3) {
			assert.Equal(t, int64(10*(p+1)), at[tp(p)].Offset)
		}
		assert.Len(t, at, 3)
		assert.Equal(t, int32(2), requests)
	})
}
