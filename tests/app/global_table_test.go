package app_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// Whatever the partition counts, each instance has all rows before it processes anything, and follows the topic then.
func TestGlobalTable_IsCompleteOnEachInstance(t *testing.T) {
	for name, opts := range map[string][]store.Option{"on disk": nil, "in memory": {store.InMemory()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("out", 4), broker.Topic("rows", 7))
				writeRows(t, b, 500, 1)
				writeRows(t, b, 500, 2)
				write(t, b, "in", 0, 600)
				top, ref := globalJoin(t, opts...)
				members := []*member{start(t, top, config(t, b)), start(t, top, config(t, b))}
				got := values(await(t, b, "out", 600))
				for i := range 600 {
					want := fmt.Sprintf("v%d+r%d.2 true", i, i)
					if i >= 500 {
						want = fmt.Sprintf("v%d+ false", i)
					}
					require.Equal(t, want, got[fmt.Sprintf("k%d", i)])
				}
				writeRows(t, b, 1, 3)
				time.Sleep(20 * time.Second) // both have their tasks by then
				write(t, b, "in", 0, 1)
				assert.Equal(t, "v0+r0.3 true", values(await(t, b, "out", 601))["k0"])
				for _, m := range members {
					require.NoError(t, m.Ready())
					assert.Empty(t, m.Stats().Dropped)
					rows := ref.In(m)
					v, ok, err := rows.Get("v499")
					require.NoError(t, err)
					assert.True(t, ok)
					assert.Equal(t, "r499.2", v, "each has all")
					n, err := rows.Len()
					require.NoError(t, err)
					assert.EqualValues(t, 500, n)
					require.ErrorIs(t, rows.Put("v0", "x"), millstream.ErrReadOnly)
					var keys []string
					for r, err := range rows.Backward(store.From("v1"), store.Below("v3")) {
						require.NoError(t, err)
						keys = append(keys, r.Key)
					}
					assert.Len(t, keys, 222)
					assert.IsDecreasing(t, keys)
				}
				for _, m := range members {
					m.stop()
					_, _, err := ref.In(m).Get("v1")
					require.ErrorIs(t, err, millstream.ErrNotRunning)
				}
				assert.Nil(t, b.Cluster().TopicInfo("app-rows-changelog"))
			})
		})
	}
}

// A restart reads what its file has not seen; another machine all.
func TestGlobalTable_RestoresFromItsCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 3))
		top, ref := globalJoin(t)
		cfg := config(t, b)
		var mu sync.Mutex
		var last map[int32]millstream.RestoreInfo
		cfg.Events.Restore = func(r millstream.RestoreInfo) {
			mu.Lock()
			defer mu.Unlock()
			last[r.Partition] = r
		}
		restored := func(round int) (n int64, full bool) {
			last = map[int32]millstream.RestoreInfo{}
			write(t, b, "in", round, 1)
			m := start(t, top, cfg)
			await(t, b, "out", round+1)
			v, _, err := ref.In(m).Get("v7")
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprintf("r7.%d", round), v)
			m.stop()
			assert.Len(t, last, 3)
			for _, r := range last {
				assert.Equal(t, r.End, r.Done)
				assert.Equal(t, "rows", r.Store)
				n, full = n+r.Records, full || r.Full
			}
			assert.Equal(t, n, m.Stats().Restored)
			return n, full
		}
		writeRows(t, b, 100, 0)
		n, full := restored(0)
		assert.EqualValues(t, 100, n)
		assert.True(t, full)
		writeRows(t, b, 10, 1)
		n, full = restored(1)
		assert.EqualValues(t, 10, n, "the rest was in the file")
		assert.False(t, full)
		cfg.StateDir = t.TempDir()
		writeRows(t, b, 10, 2)
		n, full = restored(2)
		assert.EqualValues(t, 120, n)
		assert.True(t, full)
	})
}

func TestGlobalTable_TopicGetsPartitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 2))
		writeRows(t, b, 10, 0)
		top, ref := globalJoin(t)
		cfg := config(t, b)
		m := start(t, top, cfg)
		time.Sleep(time.Second)
		require.NoError(t, b.AddPartitions(t.Context(), "rows", 5))
		time.Sleep(5 * time.Minute)
		for p := range int32(5) {
			r := broker.Record{Partition: p, Key: fmt.Appendf(nil, "new%d", p), Value: []byte("x")}
			require.NoError(t, b.Produce(t.Context(), "rows", r))
		}
		time.Sleep(time.Second)
		n, err := ref.In(m).Len()
		require.NoError(t, err)
		assert.EqualValues(t, 15, n)
		m.stop()
		m = start(t, top, cfg)
		time.Sleep(time.Second)
		n, err = ref.In(m).Len()
		require.NoError(t, err)
		assert.EqualValues(t, 15, n)
		assert.Zero(t, m.Stats().Restored)
		m.stop()
	})
}

// What aborted transactions wrote is no row, and a topic that ends in a marker is read to its end.
func TestGlobalTable_ReadsCommittedRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 1))
		writeRows(t, b, 2, 0)
		transact(t, b, "rows", kgo.TryAbort, kgo.Record{Key: []byte("v0"), Value: []byte("aborted")})
		transact(t, b, "rows", kgo.TryCommit, kgo.Record{Key: []byte("v1"), Value: []byte("committed")})
		top, ref := globalJoin(t)
		m := start(t, top, config(t, b))
		time.Sleep(time.Second)
		require.NoError(t, m.Ready())
		for k, want := range map[string]string{"v0": "r0.0", "v1": "committed"} {
			v, _, err := ref.In(m).Get(k)
			require.NoError(t, err)
			assert.Equal(t, want, v)
		}
		m.stop()
	})
}

// Nothing but a global table: there are no tasks, and queries are answered.
func TestGlobalTable_AloneInApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("rows", 3))
		writeRows(t, b, 10, 0)
		builder := stream.NewBuilder()
		g := table.Global(builder, rows, "rows")
		top := build(t, builder)
		m := start(t, top, config(t, b))
		time.Sleep(time.Second)
		require.NoError(t, m.Ready())
		v, ok, err := g.Store().In(m).Get("v3")
		require.NoError(t, err)
		assert.Equal(t, "r3.0 true", fmt.Sprint(v, " ", ok))
		m.stop()
		runToEnd(t, top, config(t, b))
	})
}

func TestGlobalTable_MissingTopicIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		top, _ := globalJoin(t)
		m := start(t, top, config(t, b))
		require.ErrorContains(t, <-m.done, `"rows"`)
	})
}

// What the program writes to its own global topic comes back to all instances.
func TestGlobalTable_WrittenByTheProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("rows", 3))
		builder := stream.NewBuilder()
		g := table.Global(builder, rows, "rows")
		stream.To(stream.MapValues(stream.From(builder, in), strings.ToUpper), rows)
		top := build(t, builder)
		members := []*member{start(t, top, config(t, b)), start(t, top, config(t, b))}
		write(t, b, "in", 0, 100)
		time.Sleep(20 * time.Second)
		for _, m := range members {
			n, err := g.Store().In(m).Len()
			require.NoError(t, err)
			assert.EqualValues(t, 100, n)
			m.stop()
		}
	})
}
