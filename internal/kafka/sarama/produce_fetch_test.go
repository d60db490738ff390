package sarama

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/kafka"
)

func TestProduceFetch_RoundTrip(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		f, err := w.client.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		for i := range int32(3) {
			f.Add(tp(i), 0, s)
		}
		n := 0
		for round := range 10 {
			for i := range 300 {
				v := fmt.Sprint(n)
				n++
				require.NoError(t, p.Send(ctx, tp(int32(i%3)), kafka.ProduceRecord{Key: []byte("k"), Value: []byte(v), Time: int64(1000 + round)}))
			}
			p.Flush()
		}
		k := done(ctx, t, p.Cut())
		require.NoError(t, k.Err)
		assert.Equal(t, map[kafka.TopicPartition]int64{tp(0): 1000, tp(1): 1000, tp(2): 1000}, k.Ends)
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 1000 && s.next[tp(1)] == 1000 && s.next[tp(2)] == 1000 })
		for i := range int32(3) {
			for j, r := range s.records[tp(i)] {
				require.Equal(t, fmt.Sprint(j*3+int(i)), string(r.Value))
				require.Equal(t, int64(j), r.Offset)
				require.Equal(t, int64(1000+j/100), r.Time)
			}
		}
		require.NoError(t, p.Healthy())
		require.NoError(t, f.Healthy())
	})
}

func TestProduceFetch_NullAndEmpty(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		recs := []kafka.ProduceRecord{
			{},
			{Key: []byte{}, Value: []byte{}, Time: -1},
			{Key: []byte("k"), Headers: []kafka.Header{{Name: "a"}, {Name: "", Value: []byte{}}, {Name: "c", Value: []byte("x")}}, Time: 5},
			{Value: []byte("v"), Time: 3},
		}
		for _, r := range recs {
			require.NoError(t, p.Send(ctx, tp(0), r))
		}
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		got := w.log(ctx, tp(0))
		require.Len(t, got, len(recs))
		for i, r := range recs {
			assert.Equal(t, kafka.Record{Key: r.Key, Value: r.Value, Headers: r.Headers, Offset: int64(i), Time: r.Time}, got[i])
		}
	})
}
