package app_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// windowedKinds are programs whose stores expire, each with what the second of two records of a key shows, if the first is still there.
func windowedKinds(t *testing.T) map[string]func(opts ...store.Option) *topology.Topology {
	text := func(b *stream.Builder, topic string) stream.KStream[string, string] {
		return stream.From(b, stream.NewTopic(topic, serde.String, serde.String))
	}
	return map[string]func(opts ...store.Option) *topology.Topology{
		"windows": func(opts ...store.Option) *topology.Topology {
			b := stream.NewBuilder()
			days := table.CountWindows(stream.GroupByKey(text(b, "in")), window.Tumbling(24*time.Hour).Grace(24*time.Hour), "s", opts...)
			stream.To(countText(days), out)
			return build(t, b)
		},
		"windows on close": func(opts ...store.Option) *topology.Topology {
			b := stream.NewBuilder()
			days := table.CountWindows(stream.GroupByKey(text(b, "in")), window.Tumbling(2*time.Minute).Grace(0).OnClose(), "s", opts...)
			stream.To(countText(days), out)
			return build(t, b)
		},
		"sessions": func(opts ...store.Option) *topology.Topology {
			b := stream.NewBuilder()
			visits := table.CountWindows(stream.GroupByKey(text(b, "in")), window.Sessions(time.Hour), "s", opts...)
			stream.To(stream.FilterRecords(countText(visits), func(r stream.Record[string, string]) bool { return !r.Tombstone }), out)
			return build(t, b)
		},
		"a join of streams": func(opts ...store.Option) *topology.Topology {
			b := stream.NewBuilder()
			pairs := join.StreamStream(text(b, "in"), text(b, "in2"), window.Within(time.Hour), "s", func(l, r string) string { return "2" }, opts...)
			stream.To(pairs, out)
			return build(t, b)
		},
		"versions": func(opts ...store.Option) *topology.Topology {
			b := stream.NewBuilder()
			versions := table.From(b, stream.NewTopic("in", serde.String, serde.String), "s", append(opts, store.Versions(time.Hour))...)
			stream.To(join.StreamTable(text(b, "in2"), versions, "j", func(_, v string) string { return "2" }), out)
			return build(t, b)
		},
	}
}

// countText makes a stream of texts of counts.
func countText(t table.KTable[window.Key[string], int64]) stream.KStream[string, string] {
	return stream.Map(table.ToStream(t), func(k window.Key[string], n int64) (string, string) { return k.Key, fmt.Sprint(n) })
}

// Stores live by the times of records, and brokers by their clock: a changelog must keep what its store has, however old the records are.
func TestChangelogRetention_OldRecordsStay(t *testing.T) {
	for name, program := range windowedKinds(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1, "retention.ms=-1"), broker.Topic("in2", 1, "retention.ms=-1"), broker.Topic("out", 1))
				old := time.Now().Add(-90 * 24 * time.Hour).Truncate(24 * time.Hour)
				put := func(topic string, after time.Duration) {
					require.NoError(t, b.Produce(t.Context(), topic, broker.Record{Key: []byte("k"), Value: []byte("v"), Time: old.Add(after)}))
				}
				cfg := config(t, b)
				put("in", 0)
				runToEnd(t, program(), cfg)
				time.Sleep(3 * 24 * time.Hour)
				b.Cluster().ApplyRetention()
				cfg.StateDir = t.TempDir() // another machine
				switch name {
				case "a join of streams", "versions":
					put("in2", time.Minute)
				case "windows on close":
					put("in", time.Minute)
					put("in", 10*time.Minute)
				default:
					put("in", time.Minute)
				}
				runToEnd(t, program(), cfg)
				got, err := b.Read(t.Context(), "out")
				require.NoError(t, err)
				require.NotEmpty(t, got)
				assert.Equal(t, "2", string(got[len(got)-1].Value))
			})
		})
	}
}

// restores collects what an App says of restores and of changelogs.
type restores struct {
	mu      sync.Mutex
	missing int64
	log     bytes.Buffer
}

func (r *restores) watch(cfg *millstream.Config) {
	cfg.Logger = slog.New(slog.NewTextHandler(r, nil))
	cfg.Events.Restore = func(i millstream.RestoreInfo) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.missing = max(r.missing, i.Missing)
	}
}

func (r *restores) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func (r *restores) said() (missing int64, log string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missing, r.log.String()
}

// The owner deletes what has expired from the changelog of windows, and nothing that is live: members come and go, with their disks and without,
// some are killed, and each window has all of its records in the end.
func TestChangelogRetention_OwnerDeletesExpired(t *testing.T) {
	for name, program := range map[string]func(b *stream.Builder) table.KTable[window.Key[string], int64]{
		"windows": func(b *stream.Builder) table.KTable[window.Key[string], int64] {
			return table.CountWindows(stream.GroupByKey(stream.From(b, in)), window.Hopping(time.Minute, 20*time.Second).Grace(30*time.Second), "s")
		},
		"sessions": func(b *stream.Builder) table.KTable[window.Key[string], int64] {
			return table.CountWindows(stream.GroupByKey(stream.From(b, in)), window.Sessions(20*time.Second).Grace(30*time.Second), "s")
		},
	} {
		// This broker has a compacted topic begin with the first record that is left, as if what was compacted away had been deleted. Kafka does not.
		compacts := rand.IntN(2) == 0
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Log("compacts", compacts)
			t.Log("seed", seed)
			r := rand.New(rand.NewPCG(seed, 1))
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1, "retention.ms=-1"), broker.Topic("out", 1, "retention.ms=-1"))
				builder := stream.NewBuilder()
				stream.To(stream.Map(table.ToStream(program(builder)), func(k window.Key[string], n int64) (string, string) {
					return fmt.Sprint(k.Key, k.Start.UnixMilli(), "-", k.End.UnixMilli()), fmt.Sprint(n)
				}), out)
				top := build(t, builder)
				var said restores
				cfg := config(t, b)
				said.watch(&cfg)
				var all []broker.Record
				now := time.Now().Add(-400 * 24 * time.Hour)
				m := start(t, top, cfg)
				for round := range 40 {
					var rs []broker.Record
					for range 20 {
						now = now.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
						at := now.Add(-time.Duration(r.IntN(25_000)) * time.Millisecond).Truncate(time.Millisecond)
						rs = append(rs, broker.Record{Key: fmt.Appendf(nil, "k%d", r.IntN(4)), Value: []byte("v"), Time: at})
					}
					require.NoError(t, b.Produce(t.Context(), "in", rs...))
					all = append(all, rs...)
					time.Sleep(time.Duration(10+r.IntN(30)) * time.Second)
					if round%4 == 3 {
						m.stopAfter(time.Minute)
						if r.IntN(2) == 0 {
							cfg.StateDir = t.TempDir()
						}
						if compacts {
							b.Cluster().Compact()
						}
						m = start(t, top, cfg)
					}
				}
				m.stopAfter(time.Minute)
				missing, log := said.said()
				if !compacts {
					assert.Zero(t, missing)
					assert.NotContains(t, log, "has lost rows")
				}
				first, end := changelogStart(t, b, "app-s-changelog")
				assert.Greater(t, first, end/2, "of %d", end)

				want := newest(t, top, all)
				got := map[string]string{}
				records, err := b.Read(t.Context(), "out")
				require.NoError(t, err)
				for _, x := range records {
					got[string(x.Key)] = string(x.Value)
				}
				assert.Equal(t, want, got)
			})
		})
	}
}

// newest returns what a program makes of records that one App processes without a break.
func newest(t *testing.T, top *topology.Topology, rs []broker.Record) map[string]string {
	b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1, "retention.ms=-1"), broker.Topic("out", 1, "retention.ms=-1"))
	require.NoError(t, b.Produce(t.Context(), "in", rs...))
	runToEnd(t, top, config(t, b))
	records, err := b.Read(t.Context(), "out")
	require.NoError(t, err)
	return values(records)
}

// What somebody else has deleted from a changelog, although rows in it were live, is said once: in the log and to Events.
func TestChangelogRetention_RowsDeletedByOthersAreReported(t *testing.T) {
	for name, upTo := range map[string]int64{"a part": 2, "all": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
				top := windowedKinds(t)["windows"]()
				cfg := config(t, b)
				run := func(key string) *restores {
					var said restores
					said.watch(&cfg)
					cfg.StateDir = t.TempDir()
					require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte(key), Value: []byte("v"), Time: time.UnixMilli(1_000_000)}))
					runToEnd(t, top, cfg)
					return &said
				}
				for _, key := range []string{"a", "b", "c", "d"} {
					missing, log := run(key).said()
					assert.Zero(t, missing)
					assert.NotContains(t, log, "level=ERROR")
				}
				deleteBefore(t, b, "app-s-changelog", upTo)
				missing, log := run("e").said()
				assert.Equal(t, map[int64]int64{2: 2, -1: 4}[upTo], missing)
				assert.Contains(t, log, `level=ERROR msg="millstream: a changelog has lost rows that its store still had`)
				assert.Contains(t, log, `store=s topic=app-s-changelog partition=0`)
				assert.Contains(t, log, "stream_time=1970-01-01T00:16:40Z")
				missing, log = run("f").said()
				assert.Zero(t, missing)
				assert.NotContains(t, log, "has lost rows")
			})
		})
	}
}

// The changelog of a versioned store is not compacted, which would leave the latest versions alone: its owner writes those again now and then,
// and deletes what stood before them once it has expired.
func TestChangelogRetention_VersionsStaySmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("in2", 1), broker.Topic("out", 1))
		builder := stream.NewBuilder()
		versions := table.From(builder, in, "s", store.Versions(time.Minute))
		stream.To(join.StreamTable(stream.From(builder, stream.NewTopic("in2", serde.String, serde.String)), versions, "j", func(_, v string) string { return v }), out)
		top := build(t, builder)
		var said restores
		cfg := config(t, b)
		said.watch(&cfg)
		latest, at := map[string]string{}, time.UnixMilli(0)
		m := start(t, top, cfg)
		for i := range 300 {
			var rs []broker.Record
			for j := range 50 {
				at = at.Add(20 * time.Millisecond)
				n := i*50 + j
				k, v := fmt.Sprint("k", n%500), fmt.Sprint(n)
				if n < 100 {
					k = fmt.Sprint("never again ", n)
				}
				rs = append(rs, broker.Record{Key: []byte(k), Value: []byte(v), Time: at})
				latest[k] = v
			}
			require.NoError(t, b.Produce(t.Context(), "in", rs...))
			time.Sleep(2 * time.Second)
			if i%60 == 59 {
				m.stopAfter(time.Minute)
				cfg.StateDir = t.TempDir()
				m = start(t, top, cfg)
			}
		}
		keys := slices.Sorted(maps.Keys(latest))
		for _, k := range keys {
			require.NoError(t, b.Produce(t.Context(), "in2", broker.Record{Key: []byte(k), Value: []byte("?"), Time: at}))
		}
		got := values(await(t, b, "out", len(keys)))
		m.stopAfter(time.Minute)
		assert.Equal(t, latest, got)
		missing, _ := said.said()
		assert.Zero(t, missing)
		first, end := changelogStart(t, b, "app-s-changelog")
		assert.Less(t, end-first, int64(12_000), "of %d", end)
	})
}
