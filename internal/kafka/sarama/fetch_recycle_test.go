package sarama

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/kafka"
)

// batchList is a sink that keeps batches as they are.
type batchList struct {
	mu      sync.Mutex
	batches []*kafka.Batch
}

func (s *batchList) Deliver(b *kafka.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, b)
}

func (s *batchList) FetchFailed(tp kafka.TopicPartition, err error) { panic(fmt.Sprint(tp, err)) }

func (s *batchList) take() []*kafka.Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.batches
	s.batches = nil
	return taken
}

// TestFetch_Recycle recycles some of the batches that are fetched, in no order, and keeps others, which stay as they
// were. Memory is used again.
func TestFetch_Recycle(t *testing.T) {
	for _, compression := range []string{"none", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				seed := rand.Uint64()
				t.Log("seed", seed)
				rnd := rand.New(rand.NewPCG(seed, 0))
				const partitions, records = 3, 1200
				value := func(p int32, offset int64) string {
					return strings.Repeat(fmt.Sprint(p, "-", offset, " "), 1+int(offset)%50)
				}
				p := w.producer(kafka.ProduceConfig{BatchBytes: 4 << 10, Compression: compression})
				defer p.Close()
				for i := range int64(records) {
					for n := range int32(partitions) {
						require.NoError(t, p.Send(ctx, tp(n), kafka.ProduceRecord{Key: []byte("k"), Value: []byte(value(n, i)),
							Headers: []kafka.Header{{Name: "h", Value: []byte(value(n, i))}}}))
					}
				}
				require.NoError(t, done(ctx, t, p.Cut()).Err)

				f, err := w.client.Fetcher(kafka.FetchConfig{PartitionBytes: 8 << 10, BufferBytes: 16 << 10})
				require.NoError(t, err)
				defer f.Close()
				s := &batchList{}
				for n := range int32(partitions) {
					f.Add(tp(n), 0, s)
				}
				intact := func(b *kafka.Batch) {
					for _, r := range b.Records {
						require.Equal(t, value(b.Partition, r.Offset), string(r.Value))
						require.Equal(t, string(r.Value), string(r.Headers[0].Value))
					}
				}
				next := map[int32]int64{}
				var kept []*kafka.Batch
				slabs, used := map[*kafka.Record]bool{}, 0
				for next[0]+next[1]+next[2] < partitions*records {
					time.Sleep(10 * time.Millisecond) // of the bubble: what has room is fetched
					synctest.Wait()
					kept = append(kept, s.take()...)
					for _, b := range kept {
						intact(b)
					}
					rnd.Shuffle(len(kept), func(i, j int) { kept[i], kept[j] = kept[j], kept[i] })
					for range min(len(kept), 1+rnd.IntN(4)) {
						b := kept[len(kept)-1]
						kept = kept[:len(kept)-1]
						intact(b)
						next[b.Partition] += int64(len(b.Records))
						if len(b.Records) > 0 {
							slabs[unsafe.SliceData(b.Records)] = true
							used++
						}
						if rnd.IntN(5) > 0 {
							b.Recycle()
							b.Recycle() // the second time nothing happens
						}
						f.Release(b.TopicPartition, b.Bytes)
					}
				}
				require.Equal(t, map[int32]int64{0: records, 1: records, 2: records}, next)
				require.Less(t, len(slabs), used*3/4, "slices of records are used again")
			})
		})
	}
}
