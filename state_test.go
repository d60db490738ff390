package millstream_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/internal/state"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

var counts = stream.NewTopic("counts", serde.String, serde.Int64)

// counting counts values: one sub-topology that re-keys, one that counts.
func counting(t *testing.T, opts ...store.Option) (*topology.Topology, store.KeyValueRef[string, int64]) {
	b := stream.NewBuilder()
	byValue := stream.GroupBy(stream.From(b, in), func(_, v string) string { return v })
	n := table.Count(byValue, "counts", opts...)
	stream.To(table.ToStream(n), counts)
	return build(t, b), n.Store()
}

// simple counts by key: one sub-topology.
func simple(t *testing.T, opts ...store.Option) *topology.Topology {
	b := stream.NewBuilder()
	stream.To(table.ToStream(table.Count(stream.GroupByKey(stream.From(b, in)), "counts", opts...)), counts)
	return build(t, b)
}

// words writes n records whose values are among 20 words, and adds them up in sum.
func words(t *testing.T, b *broker.Broker, r *rand.Rand, n int, sum map[string]int64) {
	t.Helper()
	rs := make([]broker.Record, n)
	for i := range rs {
		w := fmt.Sprintf("w%d", r.IntN(20))
		sum[w]++
		rs[i] = broker.Record{Partition: broker.ByKey, Key: []byte(w), Value: []byte(w)}
	}
	require.NoError(t, b.Produce(t.Context(), "in", rs...))
}

// latest reads the last value of each key.
func latest(t *testing.T, b *broker.Broker, topic string) map[string]int64 {
	t.Helper()
	rs, err := b.Read(t.Context(), topic)
	require.NoError(t, err)
	out := map[string]int64{}
	for _, r := range rs {
		n, err := serde.Int64.Decode(r.Value)
		require.NoError(t, err)
		out[string(r.Key)] = n
	}
	return out
}

func toEnd(t *testing.T, top *topology.Topology, cfg millstream.Config) *millstream.App {
	t.Helper()
	app, err := millstream.New(top, cfg)
	require.NoError(t, err)
	require.NoError(t, app.RunToEnd(noSync(t.Context())))
	return app
}

// noSync spares the disk: nobody cuts its power here.
func noSync(ctx context.Context) context.Context {
	return state.With(ctx, state.Options{NoSync: true, PageSize: 1024, TransactionBytes: 1})
}

func TestCountsSurviveRestarts(t *testing.T) {
	for name, opts := range map[string][]store.Option{"on disk": nil, "in memory": {store.InMemory()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(1, 2))
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
				top, _ := counting(t, opts...)
				cfg := config(t, b)
				sum := map[string]int64{}
				for round := range 4 {
					if round == 2 {
						cfg.StateDir = t.TempDir() // another machine
					}
					words(t, b, r, 500, sum)
					app := toEnd(t, top, cfg)
					require.Equal(t, sum, latest(t, b, "counts"), "round %d", round)
					restored := app.Stats().Restored
					if name == "on disk" && round%2 == 1 {
						assert.Zero(t, restored, "round %d: the state was there", round)
					} else if round > 0 {
						assert.Positive(t, restored, "round %d: the state was not there", round)
					}
				}
			})
		})
	}
}

func TestChangelogIsJavas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		at := time.UnixMilli(1_234_567)
		require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Partition: 1, Key: []byte("k"), Value: []byte("v"), Time: at}))
		toEnd(t, simple(t), config(t, b))
		rs, err := b.Read(t.Context(), "app-counts-changelog")
		require.NoError(t, err)
		require.Len(t, rs, 1)
		assert.EqualValues(t, 1, rs[0].Partition, "the task's partition, whatever the key hashes to")
		assert.Equal(t, "k", string(rs[0].Key))
		assert.Equal(t, []byte{0, 0, 0, 0, 0, 0, 0, 1}, rs[0].Value)
		assert.Equal(t, at.UnixMilli(), rs[0].Time.UnixMilli())
	})
}

// crashing runs an App that is killed when it passes a crash point for the nth time. It returns whether it was.
func crashing(t *testing.T, top *topology.Topology, cfg millstream.Config, at crashpoint.Point, nth int) bool {
	t.Helper()
	var mu sync.Mutex
	left := nth
	ctx := crashpoint.With(noSync(t.Context()), func(p crashpoint.Point) {
		mu.Lock()
		defer mu.Unlock()
		if p == at {
			if left--; left <= 0 {
				panic(crashpoint.Dead)
			}
		}
	})
	app, err := millstream.New(top, cfg)
	require.NoError(t, err)
	err = app.RunToEnd(ctx)
	if err != nil {
		require.ErrorIs(t, err, crashpoint.Dead)
	}
	return err != nil
}

// Whatever the point at which a process dies: after the next start every input counts, the table equals its changelog, and what was not
// settled counts at most three times: sent twice to the repartition topic, and counted twice from there the first time.
func TestCrashAtEveryPoint(t *testing.T) {
	for _, p := range crashpoint.Points() {
		t.Run(p.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(p), 7))
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
				top, ref := counting(t)
				cfg := config(t, b)
				cfg.CommitInterval = 5 * time.Millisecond
				sum := map[string]int64{}
				words(t, b, r, 300, sum)
				toEnd(t, top, cfg)
				if p == crashpoint.RestoreHalf || p == crashpoint.RestoreDone {
					cfg.StateDir = t.TempDir()
				}
				if p == crashpoint.StartPositions || p == crashpoint.StartPositionsCommitted {
					cfg.ApplicationID = "other"
				}
				words(t, b, r, 300, sum)
				require.True(t, crashing(t, top, cfg, p, 1), "the point is passed")
				time.Sleep(15 * time.Second) // the session of the dead
				words(t, b, r, 10, sum)
				m := start(t, top, cfg)
				time.Sleep(15 * time.Second)
				got := map[string]int64{}
				for row, err := range ref.In(m).All() {
					require.NoError(t, err)
					got[row.Key] = row.Value
				}
				m.stop()
				for w, n := range sum {
					assert.GreaterOrEqual(t, got[w], n, "lost: %s", w)
					assert.LessOrEqual(t, got[w], 3*n, "counted more often than it was delivered: %s", w)
				}
				assert.Equal(t, got, latest(t, b, "counts"), "outputs and table")
				changelog := latest(t, b, cfg.ApplicationID+"-counts-changelog")
				assert.Equal(t, changelog, got, "table and changelog")
			})
		})
	}
}

func TestStateWithoutOffsetsStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		write(t, b, "in", 0, 3)
		cfg := config(t, b)
		toEnd(t, simple(t), cfg)
		deleteGroup(t, b, "app")
		m := start(t, simple(t), cfg)
		require.ErrorContains(t, <-m.done, `store "counts" has state in app-counts-changelog[0], but group "app" has no committed offset`)
	})
}

func TestStateDirectoryOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		cfg := config(t, b)
		m := start(t, simple(t), cfg)
		write(t, b, "in", 0, 3)
		await(t, b, "counts", 3)
		other := start(t, simple(t), cfg)
		require.ErrorIs(t, <-other.done, state.ErrOwned)
		m.stop()
	})
}

func deleteGroup(t *testing.T, b *broker.Broker, group string) {
	t.Helper()
	administer(t, b, func(a kafka.Admin) error { return a.DeleteGroup(t.Context(), group) })
}

func deleteBefore(t *testing.T, b *broker.Broker, topic string, offset int64) {
	t.Helper()
	administer(t, b, func(a kafka.Admin) error {
		return a.DeleteRecords(t.Context(), map[kafka.TopicPartition]int64{{Topic: topic}: offset})
	})
}

func administer(t *testing.T, b *broker.Broker, f func(kafka.Admin) error) {
	t.Helper()
	c, err := sarama.New(sarama.Config{Brokers: b.Brokers(), Dialer: b.Dialer()})
	require.NoError(t, err)
	defer c.Close()
	admin, err := c.Admin()
	require.NoError(t, err)
	defer admin.Close()
	require.NoError(t, f(admin))
}
