package app_test

import (
	"fmt"
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

type (
	tally  struct{ N int64 }
	tally2 struct {
		N     int64
		Words []string
	}
)

// total aggregates with values of type A.
func total[A any](value serde.Serde[A], opts ...store.Option) func(stream.Grouped[string, string]) {
	return func(g stream.Grouped[string, string]) {
		table.Aggregate(g, "s", func() (a A) { return a }, func(_, _ string, a A) A { return a }, opts...).WithSerdes(nil, value)
	}
}

func windowed(w window.Any, opts ...store.Option) func(stream.Grouped[string, string]) {
	return func(g stream.Grouped[string, string]) { table.CountWindows(g, w, "s", opts...) }
}

// A store whose rows would be read as something else is refused, with what it was and is, with its disk and without. What reads the same
// bytes goes on.
func TestStoreTypes_OfTables(t *testing.T) {
	type version struct {
		name, is string // is: the type, in the error
		make     func(stream.Grouped[string, string])
	}
	unnamed := serde.Func(serde.Int64.Append, serde.Int64.Decode)
	versions := []version{
		{"a count", "key-value, bytes to int64", func(g stream.Grouped[string, string]) { table.Count(g, "s") }},
		{"a count in memory", "key-value, bytes to int64", func(g stream.Grouped[string, string]) { table.Count(g, "s", store.InMemory(), store.KeepHeaders()) }},
		{"a sum of floats", "key-value, bytes to float64", total(serde.Float64)},
		{"JSON", "key-value, bytes to json", total(serde.JSON[tally]())},
		{"JSON of another struct", "key-value, bytes to json", total(serde.JSON[tally2]())},
		{"a serde without a name", "", total(unnamed)},
		{"versions", "versioned, bytes to int64", func(g stream.Grouped[string, string]) {
			table.Materialize(table.Count(g, "other"), "s", store.Versions(time.Hour))
		}},
		{"tumbling windows", "window 1m, bytes to int64", windowed(window.Tumbling(time.Minute))},
		{"hopping windows with grace", "window 1m, bytes to int64", windowed(window.Hopping(time.Minute, time.Second).Grace(time.Hour), store.Retention(5*time.Hour))},
		{"longer windows", "window 1h30m, bytes to int64", windowed(window.Tumbling(90 * time.Minute))},
		{"sliding windows", "sliding window 1m, bytes to int64", windowed(window.Sliding(time.Minute))},
		{"sessions", "session, bytes to int64", windowed(window.Sessions(time.Minute))},
	}
	top := func(t *testing.T, v version) *topology.Topology {
		b := stream.NewBuilder()
		v.make(stream.GroupByKey(stream.From(b, in)))
		return build(t, b)
	}
	for _, first := range versions {
		for _, otherDisk := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, other disk %v", first.name, otherDisk), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2))
					cfg := config(t, b)
					write(t, b, "in", 0, 5)
					runToEnd(t, top(t, first), cfg)
					for _, second := range versions {
						if otherDisk {
							cfg.StateDir = t.TempDir()
						}
						if first.is == second.is || first.is == "" || second.is == "" {
							continue // below
						}
						app, err := millstream.New(top(t, second), cfg)
						require.NoError(t, err)
						err = app.RunToEnd(noSync(t.Context()))
						require.ErrorContains(t, err, `the type of store "s", made at `, second.name)
						require.ErrorContains(t, err, fmt.Sprintf("changed: it was (%s) and is (%s)", first.is, second.is))
						require.ErrorContains(t, err, "give it another name")
					}
					write(t, b, "in", 5, 5)
					for _, second := range versions {
						if first.is == second.is {
							runToEnd(t, top(t, second), cfg)
						}
					}
				})
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2))
		cfg := config(t, b)
		for i, v := range []version{versions[0], versions[5], versions[2]} { // nothing is known of the one in the middle, nor then of what was before
			write(t, b, "in", 5*i, 5)
			runToEnd(t, top(t, v), cfg)
		}
	})
}

// Stores of processors, buffers and joins are told apart like those of tables.
func TestStoreTypes_OfOtherStores(t *testing.T) {
	puts := func(ref store.KeyValueRef[string, int64]) func(*stream.Builder) {
		return func(b *stream.Builder) {
			stream.ForEach(stream.Process(stream.From(b, in), "p", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
				s := ref.In(c)
				return func(r stream.Record[string, string]) error { return s.Put(r.Key, 1) }, nil
			}, ref), func(stream.Record[string, string]) {})
		}
	}
	calm := func(d time.Duration) func(*stream.Builder) {
		return func(b *stream.Builder) {
			stream.ForEach(table.ToStream(table.SuppressFor(table.From(b, in, "rows"), d, "s", table.MaxRecords(100))), func(stream.Record[string, string]) {})
		}
	}
	joins := func(d time.Duration, key serde.Serde[string]) func(*stream.Builder) {
		return func(b *stream.Builder) {
			side := stream.From(b, in).WithSerdes(key, nil)
			stream.ForEach(join.StreamStream(side, side, window.Within(d), "j", func(l, r string) string { return l + r }, store.Shared()), func(stream.Record[string, string]) {})
		}
	}
	for _, c := range []struct {
		name          string
		first, second func(*stream.Builder)
		changed       string // empty: it goes on
	}{
		{"a processor's store", puts(store.NewKeyValue("s", serde.String, serde.Int64)), puts(store.NewKeyValue("s", serde.JSON[string](), serde.Int64)),
			`store "s", made at .* it was \(key-value, bytes to int64\) and is \(key-value, json to int64\)`},
		{"a buffer", calm(time.Minute), puts(store.NewKeyValue("s", serde.String, serde.Int64)), `it was \(buffer, bytes to bytes\) and is \(key-value, `},
		{"another time of a buffer", calm(time.Minute), calm(time.Hour), ""},
		{"another window of a join", joins(time.Minute, serde.String), joins(time.Hour, serde.String), ""},
		{"other keys of a join", joins(time.Minute, serde.String), joins(time.Minute, serde.JSON[string]()), `it was \(window with duplicates, bytes to bytes\) and is \(window with duplicates, json to bytes\)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2))
				cfg := config(t, b)
				top := func(make func(*stream.Builder)) *topology.Topology {
					b := stream.NewBuilder()
					make(b)
					return build(t, b)
				}
				write(t, b, "in", 0, 5)
				runToEnd(t, top(c.first), cfg)
				app, err := millstream.New(top(c.second), cfg)
				require.NoError(t, err)
				err = app.RunToEnd(noSync(t.Context()))
				if c.changed == "" {
					require.NoError(t, err)
					return
				}
				require.Error(t, err)
				assert.Regexp(t, c.changed, err.Error())
			})
		})
	}
}

// What is kept from a topic is read again when its type changes; what has no changelog cannot be.
func TestStoreTypes_OnDiskAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 1))
		require.NoError(t, b.Produce(t.Context(), "rows", broker.Record{Key: []byte("v0"), Value: []byte(`"r"`)}))
		cfg := config(t, b)
		top := func(value serde.Serde[string]) *topology.Topology {
			b := stream.NewBuilder()
			g := table.Global(b, stream.NewTopic("rows", serde.String, value), "rows")
			stream.To(join.StreamGlobal(stream.From(b, in), g, func(r stream.Record[string, string]) (string, bool) { return r.Value, true },
				func(v, row string) string { return v + row }), out)
			return build(t, b)
		}
		log := logTo(&cfg)
		for i, c := range []struct {
			value    serde.Serde[string]
			out      string
			restored int64
		}{{serde.String, `v0"r"`, 1}, {serde.String, `v0"r"`, 0}, {serde.JSON[string](), "v0r", 1}} {
			require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte("k"), Value: []byte("v0")}))
			app := runToEnd(t, top(c.value), cfg)
			rs, err := b.Read(t.Context(), "out")
			require.NoError(t, err)
			assert.Equal(t, c.out, string(rs[len(rs)-1].Value), "round %d", i)
			assert.Equal(t, c.restored, app.Stats().Restored, "round %d", i)
		}
		assert.Contains(t, log.String(), `msg="millstream: the type of a store changed; its files are removed, and it is restored" application=app store=rows was="key-value, bytes to bytes" is="key-value, bytes to json"`)
	})
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1))
		cfg := config(t, b)
		top := func(count func(stream.Grouped[string, string])) *topology.Topology {
			b := stream.NewBuilder()
			count(stream.GroupByKey(stream.From(b, in)))
			return build(t, b)
		}
		runToEnd(t, top(total(serde.Int64, store.NoChangelog())), cfg)
		app, err := millstream.New(top(total(serde.Float64, store.NoChangelog())), cfg)
		require.NoError(t, err)
		require.ErrorContains(t, app.RunToEnd(noSync(t.Context())), `changed: it was (key-value, bytes to int64) and is (key-value, bytes to float64); it has no changelog`)
	})
}
