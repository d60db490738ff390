package table_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

var notes = stream.NewTopic("notes", serde.String, serde.String)

func trace(v string) store.Headers { return store.Headers{{Name: "trace", Value: []byte(v)}} }

func traced(d *testdriver.Driver, key, value, id string, ms int64) {
	testdriver.Input(d, notes).At(time.UnixMilli(ms)).Header("trace", []byte(id)).Send(key, value)
}

func TestKeepHeaders_Tables(t *testing.T) {
	var rows, counts, kept store.KeyValueRef[string, store.Timestamped[string]]
	var number store.KeyValueRef[string, store.Timestamped[int64]]
	d := drive(t, func(b *stream.Builder) {
		s := stream.From(b, notes)
		rows = table.ToTable(s, "rows", store.KeepHeaders()).TimestampedStore()
		number = table.Count(stream.GroupByKey(s), "number", store.KeepHeaders()).TimestampedStore()
		joined := table.Reduce(stream.GroupByKey(s), "joined", func(a, v string) string { return a + v })
		counts = joined.TimestampedStore()
		kept = table.Materialize(table.MapValues(joined, func(v string) string { return v + "!" }), "kept", store.KeepHeaders(), store.InMemory()).TimestampedStore()
	})
	traced(d, "k", "a", "1", 1)
	traced(d, "k", "b", "2", 2)
	traced(d, "l", "c", "3", 3)
	check := func() {
		v, ok, err := rows.In(d).Get("k")
		require.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, store.Timestamped[string]{Value: "b", Time: time.UnixMilli(2), Headers: trace("2")}, v)
		n, _, err := number.In(d).Get("k")
		require.NoError(t, err)
		assert.Equal(t, store.Timestamped[int64]{Value: 2, Time: time.UnixMilli(2), Headers: trace("2")}, n)
		v, _, err = counts.In(d).Get("k")
		require.NoError(t, err)
		assert.Nil(t, v.Headers, "not asked for")
		v, _, err = kept.In(d).Get("k")
		require.NoError(t, err)
		assert.Equal(t, store.Timestamped[string]{Value: "ab!", Time: time.UnixMilli(2), Headers: trace("2")}, v)
		var all []store.Headers
		for row, err := range rows.In(d).All() {
			require.NoError(t, err)
			assert.Equal(t, row.Headers, row.Value.Headers)
			all = append(all, row.Headers)
		}
		assert.Equal(t, []store.Headers{trace("2"), trace("3")}, all)
	}
	check()
	log := d.Raw("testdriver-rows-changelog")
	require.Len(t, log, 3)
	assert.Equal(t, "b", string(log[1].Value))
	assert.Equal(t, trace("2"), log[1].Headers)
	d.Restart()
	check()
	d.Wipe()
	check()
}

func TestKeepHeaders_WindowedTablesInTheirChangelogs(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		g := stream.GroupByKey(stream.From(b, notes))
		table.CountWindows(g, window.Tumbling(10*time.Millisecond), "fixed", store.KeepHeaders())
		table.CountWindows(g, window.Sliding(10*time.Millisecond), "sliding", store.KeepHeaders())
		table.CountWindows(g, window.Sessions(10*time.Millisecond), "sessions", store.KeepHeaders())
	})
	traced(d, "k", "a", "1", 1)
	d.Wipe()
	traced(d, "k", "b", "2", 2)
	d.Wipe()
	for _, name := range []string{"fixed", "sliding", "sessions"} {
		log := d.Raw("testdriver-" + name + "-changelog")
		require.NotEmpty(t, log, name)
		n, last := int64(0), store.Headers(nil)
		for _, r := range log {
			if r.Value != nil {
				v, err := serde.Int64.Decode(r.Value)
				require.NoError(t, err, name)
				if v >= n {
					n, last = v, r.Headers
				}
			}
		}
		assert.EqualValues(t, 2, n, name)
		assert.Equal(t, trace("2"), last, name)
	}
}

func TestKeepHeaders_Processors(t *testing.T) {
	seen := store.NewTimestamped("seen", serde.String, serde.String, store.KeepHeaders())
	d := drive(t, func(b *stream.Builder) {
		stream.To(stream.Process(stream.From(b, notes), "p", func(c *stream.Context[string, string]) (func(record) error, error) {
			s := seen.In(c)
			return func(r record) error {
				old, ok, err := s.Get(r.Key)
				if ok {
					c.Forward(record{Key: r.Key, Value: old.Value, Headers: old.Headers})
				}
				if err != nil {
					return err
				}
				return s.Put(r.Key, store.Timestamped[string]{Value: r.Value, Headers: r.Headers})
			}, nil
		}, seen), results)
	})
	traced(d, "k", "a", "1", 1)
	d.Wipe()
	traced(d, "k", "b", "2", 2)
	out := testdriver.Output(d, results).Read()
	require.Len(t, out, 1)
	assert.Equal(t, "a", out[0].Value)
	assert.Equal(t, trace("1"), out[0].Headers)
	testdriver.Input(d, notes).At(time.UnixMilli(3)).Send("k", "c")
	testdriver.Input(d, notes).At(time.UnixMilli(4)).Send("k", "d")
	out = testdriver.Output(d, results).Read()
	require.Len(t, out, 2)
	assert.Nil(t, out[1].Headers, "a row put without headers has none")
}

func TestKeepHeaders_OtherStoresHaveThoseOfTheCurrentRecord(t *testing.T) {
	plain := store.NewKeyValue("plain", serde.String, serde.String, store.KeepHeaders())
	windows := store.NewWindow("windows", serde.String, serde.String, time.Second, time.Hour, store.KeepHeaders(), store.Duplicates())
	sessions := store.NewSession("sessions", serde.String, serde.String, time.Hour, store.KeepHeaders())
	versions := store.NewVersioned("versions", serde.String, serde.String, time.Hour, store.KeepHeaders())
	var versioned store.VersionedRef[string, string]
	d := drive(t, func(b *stream.Builder) {
		s := stream.From(b, notes)
		stream.Process(s, "p", func(c *stream.Context[string, string]) (func(record) error, error) {
			p, w, s, v := plain.In(c), windows.In(c), sessions.In(c), versions.In(c)
			return func(r record) error {
				_, _, err := v.Put(r.Key, r.Value, r.Time)
				return errors.Join(err, p.Put(r.Key, r.Value), w.Put(r.Key, r.Time, r.Value), s.Put(r.Key, r.Time, r.Time, r.Value))
			}, nil
		}, plain, windows, sessions, versions)
		versioned = table.VersionedStore(table.ToTable(s, "versioned", store.Versions(time.Hour), store.KeepHeaders()))
	})
	traced(d, "k", "a", "1", 1)
	traced(d, "k", "b", "2", 2)
	for range 2 {
		var got []store.Headers
		for row, err := range plain.In(d).All() {
			require.NoError(t, err)
			got = append(got, row.Headers)
		}
		assert.Equal(t, []store.Headers{trace("2")}, got)
		got = nil
		for row, err := range windows.In(d).Fetch("k", time.UnixMilli(0), time.UnixMilli(9)) {
			require.NoError(t, err)
			got = append(got, row.Headers)
		}
		for row, err := range sessions.In(d).All(time.UnixMilli(0), time.UnixMilli(9)) {
			require.NoError(t, err)
			got = append(got, row.Headers)
		}
		for _, ref := range []store.VersionedRef[string, string]{versions, versioned} {
			for row, err := range ref.In(d).History("k", time.UnixMilli(0), time.UnixMilli(9)) {
				require.NoError(t, err)
				got = append(got, row.Headers)
			}
			row, ok, err := ref.In(d).AsOf("k", time.UnixMilli(1))
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, trace("1"), row.Headers)
		}
		want := []store.Headers{trace("1"), trace("2")}
		assert.Equal(t, slices.Repeat(want, 4), got)
		d.Wipe()
	}
}

func TestKeepHeaders_NotInGlobalStores(t *testing.T) {
	b := stream.NewBuilder()
	ref := store.NewTimestamped("all", serde.String, serde.String, store.KeepHeaders())
	stream.GlobalStore(b, notes, "keep", func(*topology.Task) (func(record) error, error) { return nil, nil }, ref)
	_, err := b.Build()
	require.ErrorContains(t, err, "store.KeepHeaders does not apply")
}

// A Java application may have given a store another name than its repartition topic.
func TestStoreName_IsApartFromTheTopic(t *testing.T) {
	var ref store.KeyValueRef[string, int64]
	d := drive(t, func(b *stream.Builder) {
		s := stream.From(b, notes)
		g := stream.GroupBy(s, func(_, v string) string { return v }).Named("by-value")
		n := table.Count(g, "KSTREAM-AGGREGATE-STATE-STORE-0000000002", store.Name("counts"))
		ref = n.Store()
		table.CountWindows(g, window.Tumbling(time.Second), "windowed", store.Name("counts-by-second"))
		byValue := table.GroupBy(table.ToTable(s, "rows", store.Name("rows-store")), func(k, v string) (string, string, bool) { return v, k, true })
		table.CountRows(byValue, "grouped", store.Name("grouped-store"))
	})
	traced(d, "k", "a", "1", 1)
	n, ok, err := ref.In(d).Get("a")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.EqualValues(t, 1, n)
	assert.Subset(t, d.Topics(), []string{
		"testdriver-by-value-repartition", "testdriver-counts-changelog", "testdriver-counts-by-second-changelog", "testdriver-rows-store-changelog",
		"testdriver-grouped-repartition", "testdriver-grouped-store-changelog",
	})
}
