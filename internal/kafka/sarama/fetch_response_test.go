package sarama

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch/batchtest"
)

// Numbers of compressions.
const none, gzip = 0, 1

// One corrupt batch ends its partition, after it was asked for thrice, and no other.
func TestFetch_CorruptBatchFailsItsPartition(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		require.NoError(t, w.cluster.MoveTopicPartition("t", 1, 0))
		w.write(ctx, tp(0), "a", "b")
		w.write(ctx, tp(1), "c")
		bad := batchtest.Batch(0, 1, 0, -1, "a")
		bad[batchtest.RecordsAt+2] ^= 1
		w.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			req := r.(*kmsg.FetchRequest)
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			for _, rt := range req.Topics {
				st := kmsg.NewFetchResponseTopic()
				st.Topic = rt.Topic
				for _, rp := range rt.Partitions {
					sp := kmsg.NewFetchResponseTopicPartition()
					sp.Partition, sp.HighWatermark = rp.Partition, 2
					sp.RecordBatches = bad
					if rp.Partition == 1 {
						sp.RecordBatches = batchtest.Batch(rp.FetchOffset, 1, 0, -1, "good")
					}
					st.Partitions = append(st.Partitions, sp)
				}
				resp.Topics = append(resp.Topics, st)
			}
			return resp, nil, true
		})
		f, err := w.client.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		f.Add(tp(0), 0, s)
		f.Add(tp(1), 0, s)
		s.until(ctx, t, func() bool { return s.failed[tp(0)] != nil && len(s.records[tp(1)]) > 5 })
		require.ErrorIs(t, s.failed[tp(0)], recordbatch.ErrCorrupt)
		assert.Empty(t, s.failed[tp(1)])
	})
}

func TestFetch_LogAppendTime(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		require.NoError(t, w.cluster.CreateTopic("l", 1, map[string]string{"message.timestamp.type": "LogAppendTime"}))
		l := kafka.TopicPartition{Topic: "l"}
		w.write(ctx, l, "a", "b")
		assert.Len(t, w.log(ctx, l), 2)
	}, kfake.NumBrokers(3))
}

// answering has the fetches of partition 0 of topic t answered with batches, which begin at offset 0.
func (w *world) answering(batches []byte, high int64) *atomic.Int64 {
	var asked atomic.Int64
	w.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		req := r.(*kmsg.FetchRequest)
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		empty := true
		for _, rt := range req.Topics {
			st := kmsg.NewFetchResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				sp := kmsg.NewFetchResponseTopicPartition()
				sp.Partition, sp.HighWatermark, sp.LastStableOffset = rp.Partition, high, high
				if rp.FetchOffset < high {
					empty = false
					asked.Add(1)
					sp.RecordBatches = batchtest.From(batches, rp.FetchOffset)
				}
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		if empty {
			w.cluster.SleepControl(func() { time.Sleep(time.Duration(req.MaxWaitMillis) * time.Millisecond) })
		}
		return resp, nil, true
	})
	return &asked
}

// What a small answer inflates to comes in pieces, as the buffer has room for it: 100 batches of
// half a megabyte in a few kilobytes take no more than two buffers, and are fetched once.
func TestFetch_DecompressesAsBufferHasRoom(t *testing.T) {
	for name, c := range batchtest.Compressors {
		if name == "none" {
			continue
		}
		simulate(t, func(ctx context.Context, w *world) {
			var batches []byte
			records := c.Compress(batchtest.Records(5, make([]byte, 100<<10)))
			for i := range 100 {
				batches = append(batches, batchtest.Pack(int64(5*i), c.Number, 5, records)...)
			}
			defer time.Sleep(time.Second) // of the broker, see answering
			asked := w.answering(batches, 500)
			f, err := w.client.Fetcher(kafka.FetchConfig{})
			require.NoError(t, err)
			defer f.Close()
			s := collect(f)
			f.Add(tp(0), 0, s)
			s.until(ctx, t, func() bool { return s.next[tp(0)] > 0 })
			s.release = func(tp kafka.TopicPartition, bytes int) {
				assert.Less(t, bytes, 2<<20)
				f.Release(tp, bytes)
			}
			s.until(ctx, t, func() bool {
				held := 0
				for _, b := range s.batches {
					held += b.Bytes
				}
				assert.LessOrEqual(t, held, 2<<20, name)
				return s.next[tp(0)] == 500
			})
			assert.Len(t, s.records[tp(0)], 500)
			for i, r := range s.records[tp(0)] {
				require.Equal(t, int64(i), r.Offset)
			}
			assert.Equal(t, int64(1), asked.Load(), name)
		})
	}
}

// A batch that cannot be read comes between its neighbours, once, whatever is wrong with it, and
// nothing is asked for twice.
func TestFetch_UnreadableBatch(t *testing.T) {
	bomb := batchtest.Compressors["gzip"].Compress(batchtest.Records(1, make([]byte, 9<<20)))
	broken := batchtest.Compressors["gzip"].Compress(batchtest.Records(3, []byte("x")))
	for name, tt := range map[string]struct {
		records []byte
		codec   int16
		count   int
		want    string
	}{
		"a bomb":                 {bomb, gzip, 1, "take more than 8388608 bytes of memory"},
		"no compressed data":     {[]byte("not gzip"), gzip, 3, "gzip"},
		"cut compressed data":    {broken[:len(broken)-9], gzip, 3, "unexpected EOF"},
		"fewer than said":        {batchtest.Records(2, []byte("x")), none, 3, "a record ends beyond it"},
		"an unknown compression": {batchtest.Records(3, []byte("x")), 6, 3, "compression 6 is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				last := int64(1 + tt.count)
				batches := slices.Concat(batchtest.Batch(0, 2, 0, -1, "a", "b"), batchtest.Pack(2, tt.codec, tt.count, tt.records), batchtest.Batch(last+1, 1, 0, -1, "z"))
				defer time.Sleep(time.Second) // of the broker, see answering
				asked := w.answering(batches, last+2)
				f, err := w.client.Fetcher(kafka.FetchConfig{InflatedBytes: 8 << 20})
				require.NoError(t, err)
				defer f.Close()
				s := collect(f)
				f.Add(tp(0), 0, s)
				s.until(ctx, t, func() bool {
					for _, b := range s.batches {
						if len(b.Records) > 0 && b.Records[0].Offset == 2 {
							require.ErrorContains(t, b.Unreadable, tt.want)
							assert.ErrorContains(t, b.Unreadable, "t[0]: the record batch of offsets 2 to ")
							assert.Equal(t, last+1, b.Next)
						} else {
							assert.Nil(t, b.Unreadable)
						}
					}
					return s.next[tp(0)] == last+2
				})
				assert.Equal(t, []string{"a", "b", "", "z"}, values(s.records[tp(0)]))
				require.NoError(t, s.failed[tp(0)])
				assert.Equal(t, int64(1), asked.Load())
			})
		})
	}
}

// Large batches are inflated one at a time in a client, but for a while only: a task may have one
// in its buffer and wait for another.
func TestFetch_LargeBatchesOneAtATime(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		text := make([]byte, 3<<20)
		for i := range text {
			text[i] = "abcd"[rand.N(4)]
		}
		defer time.Sleep(time.Second)
		w.answering(batchtest.Pack(0, gzip, 1, batchtest.Compressors["gzip"].Compress(batchtest.Records(1, text))), 1)
		f, err := w.client.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		for p := range int32(3) {
			f.Add(tp(p), 0, s)
		}
		read := func() (n int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, rs := range s.records {
				n += len(rs)
			}
			return n
		}
		time.Sleep(largeWait / 2)
		synctest.Wait()
		assert.Equal(t, 1, read())
		time.Sleep(2 * largeWait)
		synctest.Wait()
		assert.Equal(t, 3, read(), "nobody waits for ever")
		for p := range int32(3) { // released: the next need not wait
			s.mu.Lock()
			f.Release(tp(p), 3<<20+200)
			s.mu.Unlock()
		}
		for p := range int32(3) {
			f.Add(tp(p), 0, s)
			time.Sleep(largeRetry * 2)
			synctest.Wait()
			assert.Equal(t, 4+int(p), read())
			f.Release(tp(p), 3<<20+200)
		}
	})
}

// errors.As must find the cause through the description.
func TestFetch_UnreadableBatchUnwraps(t *testing.T) {
	var over *kafka.InflatedError
	assert.True(t, errors.As(&kafka.UnreadableBatch{Err: &kafka.InflatedError{Limit: 1}}, &over))
}
