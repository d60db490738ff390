package app_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// finalCounts counts by key and second, and writes each count once.
func finalCounts(t *testing.T, opts ...store.Option) *topology.Topology {
	b := stream.NewBuilder()
	n := table.CountWindows(stream.GroupByKey(stream.From(b, in)), window.Tumbling(time.Second), "per-second", opts...)
	final := table.SuppressUntilClose(n, "final", table.MaxBytes(1<<20).StopWhenFull(), opts...)
	keys := stream.MapKeys(table.ToStream(final), func(k window.Key[string]) string { return fmt.Sprint(k.Key, " ", k.Start.UnixMilli()) })
	stream.To(stream.Repartition(keys, "spread"), counts)
	return build(t, b)
}

// TestSuppress_Rebalance: each result once and complete, whoever has the buffer when its window closes.
func TestSuppress_Rebalance(t *testing.T) {
	for name, opts := range map[string][]store.Option{"on disk": nil, "in memory": {store.InMemory()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 2))
				cfg := config(t, b)
				want := map[string]int64{}
				var at int64
				feed := func(seconds int) {
					for range seconds {
						var rs []broker.Record
						for i := range 5 {
							for p := range 4 {
								key := keyOf(p, 4)
								want[fmt.Sprintf("%s %d", key, at)]++
								rs = append(rs, broker.Record{Partition: int32(p), Key: key, Value: []byte("v"), Time: time.UnixMilli(at + int64(i))})
							}
						}
						require.NoError(t, b.Produce(t.Context(), "in", rs...))
						at += 1000
						time.Sleep(200 * time.Millisecond)
					}
				}
				first := start(t, finalCounts(t, opts...), cfg)
				feed(20)
				cfg.StateDir = t.TempDir()
				second := start(t, finalCounts(t, opts...), cfg)
				feed(100)
				assert.NotEmpty(t, second.Tasks())
				first.stop()
				feed(100)
				second.stopAfter(20 * time.Second)
				for p := range 4 { // the last windows are not closed
					delete(want, fmt.Sprintf("%s %d", keyOf(p, 4), at-1000))
				}
				assert.Equal(t, want, latest(t, b, "counts"))
				out, err := b.Read(t.Context(), "counts")
				require.NoError(t, err)
				assert.Len(t, out, len(want))
			})
		})
	}
}

// TestSuppress_ChangelogHasHeaderOfKafkaStreams has the header that Kafka Streams knows its format by.
func TestSuppress_ChangelogHasHeaderOfKafkaStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		builder := stream.NewBuilder()
		suppressed := table.SuppressFor(table.From(builder, in, "t"), time.Minute, "suppressed", table.Unbounded())
		stream.To(table.ToStream(suppressed), out)
		top := build(t, builder)
		cfg := config(t, b)
		at := time.UnixMilli(60_000)
		put := func(key, value string, at time.Time) {
			require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte(key), Value: []byte(value), Time: at, Headers: []broker.Header{{Name: "n", Value: []byte(value)}}}))
		}
		put("a", "1", at)
		runToEnd(t, top, cfg)
		put("a", "2", at.Add(time.Second))
		cfg.StateDir = t.TempDir() // the buffer is restored
		runToEnd(t, top, cfg)
		put("b", "1", at.Add(time.Minute))
		runToEnd(t, top, cfg)
		rs, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		require.Len(t, rs, 1)
		assert.Equal(t, "a=2", fmt.Sprintf("%s=%s", rs[0].Key, rs[0].Value))
		assert.Equal(t, []broker.Header{{Name: "n", Value: []byte("2")}}, rs[0].Headers)
		rs, err = b.Read(t.Context(), "app-suppressed-changelog")
		require.NoError(t, err)
		require.Len(t, rs, 4)
		for _, r := range rs {
			if r.Value == nil {
				assert.Empty(t, r.Headers)
			} else {
				assert.Equal(t, []broker.Header{{Name: "v", Value: []byte{3}}}, r.Headers)
			}
		}
	})
}
