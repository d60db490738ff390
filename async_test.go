package millstream_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// Calls that wait run side by side, their results keep the order of each partition, and what a crash interrupts is done again.
func TestAsyncInAnApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 2))
		sb := stream.NewBuilder()
		s := stream.TryMapValues(stream.From(sb, in), func(ctx context.Context, r stream.Record[string, string]) (string, error) {
			select {
			case <-time.After(10 * time.Millisecond):
				return strings.ToUpper(r.Value), nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}, stream.Async(25))
		stream.To(s, out)
		top := build(t, sb)
		const n = 1000
		write(t, b, "in", 0, n)

		// A first App ends in the middle, and settles what it has in flight.
		ctx, cancel := context.WithCancel(t.Context())
		app, err := millstream.New(top, config(t, b))
		require.NoError(t, err)
		var first sync.WaitGroup
		first.Go(func() { assert.NoError(t, app.Run(noSync(ctx))) })
		time.Sleep(300 * time.Millisecond)
		cancel()
		first.Wait()

		began := time.Now()
		toEnd(t, top, config(t, b))
		took := time.Since(began)
		assert.Less(t, took, 5*time.Second, "one after the other takes ten")

		rs, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		last := map[int32]int{0: -1, 1: -1}
		for _, r := range rs {
			i, err := strconv.Atoi(strings.TrimPrefix(string(r.Value), "V"))
			require.NoError(t, err)
			assert.Greater(t, i, last[r.Partition], "in the order of the partition, and once, as the first App settled")
			last[r.Partition] = i
		}
		assert.Len(t, rs, n)
	})
}
