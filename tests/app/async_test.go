package app_test

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
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// Calls that wait run side by side, their results keep the order of each partition, and what a crash interrupts is done again.
func TestAsync_KeepsOrderInApp(t *testing.T) {
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
		runToEnd(t, top, config(t, b))
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

// A process that dies with calls in flight, at each point of a commit: what was not committed is done again, nothing is left out.
func TestAsync_LosesNothingInCrash(t *testing.T) {
	for _, p := range crashpoint.Points() {
		switch p {
		case crashpoint.CutBegin, crashpoint.CutOffsets, crashpoint.CutDone:
		default:
			continue
		}
		t.Run(p.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 2))
				sb := stream.NewBuilder()
				s := stream.TryMapRecords(stream.From(sb, in), func(ctx context.Context, r stream.Record[string, string]) (stream.Record[string, string], error) {
					time.Sleep(time.Duration(len(r.Key)) * time.Millisecond) // some overtake others
					return r, ctx.Err()
				}, stream.Async(8))
				stream.To(s, out)
				top, cfg := build(t, sb), config(t, b)
				cfg.CommitInterval = 5 * time.Millisecond
				const n = 300
				write(t, b, "in", 0, n)
				require.True(t, runUntilCrash(t, top, cfg, p, 3), "the point is passed")
				time.Sleep(15 * time.Second) // the session of the dead
				runToEnd(t, top, cfg)
				rs, err := b.Read(t.Context(), "out")
				require.NoError(t, err)
				seen := map[string]bool{}
				for _, r := range rs {
					seen[string(r.Value)] = true
				}
				assert.Len(t, seen, n)
				assert.Less(t, len(rs), 2*n, "all of it twice")
			})
		})
	}
}
