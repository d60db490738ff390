package table_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

type (
	text   = table.KTable[string, string]
	record = stream.Record[string, string]
)

func drive(t *testing.T, f func(b *stream.Builder)) *testdriver.Driver {
	t.Helper()
	b := stream.NewBuilder()
	f(b)
	top, err := b.Build()
	require.NoError(t, err)
	return testdriver.New(t, top)
}

// send sends "key=value@time" or "key@time", a tombstone; "=value@time" has no key.
func send(d *testdriver.Driver, in stream.Topic[string, string], records ...string) {
	for _, s := range records {
		what, at, _ := strings.Cut(s, "@")
		k, v, ok := strings.Cut(what, "=")
		var ms int64
		_, _ = fmt.Sscan(at, &ms)
		testdriver.Input(d, in).SendRecord(record{Key: k, NoKey: k == "", Value: v, Tombstone: !ok, Time: time.UnixMilli(ms)})
	}
}

// taken returns what came out since the last call, in the form of send.
func taken[V any](d *testdriver.Driver, t stream.Topic[string, V]) string {
	var out []string
	for _, r := range testdriver.Output(d, t).Read() {
		if r.Tombstone {
			out = append(out, fmt.Sprintf("%s@%d", r.Key, r.Time.UnixMilli()))
		} else {
			out = append(out, fmt.Sprintf("%s=%v@%d", r.Key, r.Value, r.Time.UnixMilli()))
		}
	}
	return strings.Join(out, " ")
}

func startsWithX(_, v string) bool { return strings.HasPrefix(v, "x") }

// TestFrom_Tombstones is the table of what is sent when rows come and go, by what keeps a store.
func TestFrom_Tombstones(t *testing.T) {
	in := []string{"a=o@1", "a=x1@2", "a=x2@1", "a=o@4", "a=o@5", "a@6", "a@7", "=x@8"}
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder) text
		want string
	}{
		{"a table sends every record, repeated deletions too",
			func(b *stream.Builder) text { return table.From(b, texts, "t") },
			"a=o@1 a=x1@2 a=x2@1 a=o@4 a=o@5 a@6 a@7"},
		{"so does one that keeps no store",
			func(b *stream.Builder) text { return table.From(b, texts, "t", store.OnDemand()) },
			"a=o@1 a=x1@2 a=x2@1 a=o@4 a=o@5 a@6 a@7"},
		{"a filter of a stored table sends changes only",
			func(b *stream.Builder) text { return table.Filter(table.From(b, texts, "t"), startsWithX) },
			"a=x1@2 a=x2@1 a@4"},
		{"a filter of a table without store sends a tombstone for all that fail",
			func(b *stream.Builder) text {
				return table.Filter(table.From(b, texts, "t", store.OnDemand()), startsWithX)
			},
			"a@1 a=x1@2 a=x2@1 a@4 a@5 a@6 a@7"},
		{"keeping the filter's result does not change that",
			func(b *stream.Builder) text {
				return table.Materialize(table.Filter(table.From(b, texts, "t", store.OnDemand()), startsWithX), "f")
			},
			"a@1 a=x1@2 a=x2@1 a@4 a@5 a@6 a@7"},
		{"a filter of a kept filter does: the kept one knows what it had",
			func(b *stream.Builder) text {
				f := table.Materialize(table.Filter(table.From(b, texts, "t", store.OnDemand()), startsWithX), "f")
				return table.Filter(f, func(_, v string) bool { return true })
			},
			"a=x1@2 a=x2@1 a@4"},
		{"mapped values send every deletion",
			func(b *stream.Builder) text {
				return table.MapValues(table.From(b, texts, "t"), func(v string) string { return v + "!" })
			},
			"a=o!@1 a=x1!@2 a=x2!@1 a=o!@4 a=o!@5 a@6 a@7"},
		{"a filter behind mapped values gets old values through them",
			func(b *stream.Builder) text {
				m := table.MapValues(table.From(b, texts, "t"), func(v string) string { return "x" + v })
				return table.FilterNot(m, func(_, v string) bool { return v == "xo" })
			},
			"a=xx1@2 a=xx2@1 a@4"},
		{"mapped rows see deletions",
			func(b *stream.Builder) text {
				return table.MapRows(table.From(b, texts, "t"), func(_, v string, row bool) (string, bool) { return fmt.Sprint(v, row), v != "x2" })
			},
			"a=otrue@1 a=x1true@2 a@1 a=otrue@4 a=otrue@5 a=false@6 a=false@7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := drive(t, func(b *stream.Builder) { stream.To(table.ToStream(tt.f(b)), results) })
			send(d, texts, in...)
			assert.Equal(t, tt.want, taken(d, results))
			assert.Equal(t, map[string]int{"record without key": 1}, d.Dropped())
		})
	}
}

func TestAggregate(t *testing.T) {
	join := func(agg, v string) string { return agg + v }
	for _, tt := range []struct {
		name string
		f    func(g stream.Grouped[string, string]) text
		want string
	}{
		{"a reduction takes the first value as it is, and the greatest time",
			func(g stream.Grouped[string, string]) text { return table.Reduce(g, "s", join) },
			"a=1@5 a=12@5 b=3@2 a=124@7"},
		{"an aggregation adds the first to zero",
			func(g stream.Grouped[string, string]) text {
				return table.Aggregate(g, "s", func() string { return "0" }, func(_, v, a string) string { return a + v })
			},
			"a=01@5 a=012@5 b=03@2 a=0124@7"},
		{"a deleted row starts again, with its own time",
			func(g stream.Grouped[string, string]) text {
				return table.Reduce(g, "s", join).DeleteWhen(func(_, v string) bool { return v == "12" })
			},
			"a=1@5 a@5 b=3@2 a=4@7"},
		{"a row may be deleted by its first record",
			func(g stream.Grouped[string, string]) text {
				return table.Reduce(g, "s", join).DeleteWhen(func(_, v string) bool { return v == "1" })
			},
			"a@5 a=2@3 b=3@2 a=24@7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := drive(t, func(b *stream.Builder) {
				stream.To(table.ToStream(tt.f(stream.GroupByKey(stream.From(b, texts)))), results)
			})
			send(d, texts, "a=1@5", "a=2@3", "b=3@2", "a@9", "=9@9", "@9", "a=4@7")
			assert.Equal(t, tt.want, taken(d, results))
			assert.Equal(t, map[string]int{"record without key": 2, "record without value": 1}, d.Dropped())
		})
	}
}

func TestFilter_OfAnAggregationComparesWithItsStart(t *testing.T) {
	// As Kafka Streams does: the old value of a new row is that of zero, so a filter that would let it
	// pass says that it is gone.
	d := drive(t, func(b *stream.Builder) {
		n := table.Count(stream.GroupByKey(stream.From(b, texts)), "n")
		stream.To(table.ToStream(table.Filter(n, func(_ string, n int64) bool { return n%2 == 0 })), sums)
	})
	send(d, texts, "a=1@1", "a=2@2", "a=3@3")
	assert.Equal(t, "a@1 a=2@2 a@3", taken(d, sums))
}

func TestAggregate_MutatingFoldDoesNotChangeOldValues(t *testing.T) {
	lists := serde.JSON[[]string]()
	d := drive(t, func(b *stream.Builder) {
		add := func(_, v string, agg []string) []string {
			if len(agg) > 0 {
				agg[0] = v // the old value must not see it
			}
			return append(agg, v)
		}
		t := table.Aggregate(stream.GroupByKey(stream.From(b, texts)), "lists", table.Zero, add).WithSerdes(nil, lists)
		first := table.Filter(t, func(_ string, l []string) bool { return l[0] == "1" })
		stream.To(stream.MapValues(table.ToStream(first), func(l []string) string { return strings.Join(l, "") }), results)
	})
	send(d, texts, "a=1@1", "a=2@2", "a=3@3")
	assert.Equal(t, "a=1@1 a@2", taken(d, results), "the first row passed, so its end is sent; the others never did")
}

func TestAggregate_RowsOfBytesAreCopied(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		raw := stream.MapValues(stream.From(b, texts), func(v string) []byte { return []byte(v) })
		r := table.Reduce(stream.GroupByKey(raw), "raw", func(_, v []byte) []byte { return v })
		changed := table.Filter(r, func(_ string, v []byte) bool { return string(v) != "aaaa" })
		stream.To(stream.MapValues(table.ToStream(changed), func(v []byte) string { return string(v) }), results)
	})
	send(d, texts, "k=aaaa@1", "k=bbbb@2", "k=aaaa@3", "k=aaaa@4")
	assert.Equal(t, "k=bbbb@2 k@3", taken(d, results))
}

func TestAggregate_OneGroupingSeveralAggregations(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		g := stream.GroupBy(stream.From(b, texts), func(_, v string) string { return v }).Named("by-value")
		stream.To(table.ToStream(table.Count(g, "n")), sums)
		stream.To(table.ToStream(table.Reduce(g, "last", func(_, v string) string { return v })), results)
	})
	send(d, texts, "a=v@1", "b=v@2")
	assert.Equal(t, "v=1@1 v=2@2", taken(d, sums))
	assert.Equal(t, "v=v@1 v=v@2", taken(d, results))
	assert.Contains(t, d.Topics(), "testdriver-by-value-repartition")
}

func TestAggregate_StoreSurvivesARestart(t *testing.T) {
	var n table.KTable[string, int64]
	d := drive(t, func(b *stream.Builder) {
		n = table.Count(stream.GroupByKey(stream.From(b, texts)), "n")
		stream.To(table.ToStream(n), sums)
	})
	send(d, texts, "a=1@5", "a=1@6")
	d.Restart()
	send(d, texts, "a=1@2")
	assert.Equal(t, "a=1@5 a=2@6 a=3@6", taken(d, sums))
	rows := 0
	for r, err := range n.Store().In(d).All() {
		require.NoError(t, err)
		assert.Equal(t, store.Row[string, int64]{Key: "a", Value: 3, Time: time.UnixMilli(6)}, r)
		rows++
	}
	assert.Equal(t, 1, rows)
}

// even takes strings of an even length.
var even = serde.Func(func(dst []byte, v string) ([]byte, error) {
	if len(v)%2 == 1 {
		return nil, errors.New("odd")
	}
	return append(dst, v...), nil
}, func(b []byte) (string, error) { return string(b), nil })

func TestAggregate_RowThatCannotBeStoredGoesToThePolicy(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		r := table.Reduce(stream.GroupByKey(stream.From(b, texts)), "r", func(agg, v string) string { return agg + v }).
			WithSerdes(nil, even).OnError(failure.Skip())
		stream.To(table.ToStream(r), results)
	})
	send(d, texts, "a=12@1", "a=3@2", "a=45@3")
	assert.Equal(t, "a=12@1 a=1245@3", taken(d, results))
	require.Len(t, d.Failures(), 1)
	assert.ErrorContains(t, d.Failures()[0].Err, `store "r": encode the value: odd`)
}

func TestGlobal_RowThatCannotBeStoredGoesToThePolicy(t *testing.T) {
	var ref store.KeyValueRef[string, string]
	d := drive(t, func(b *stream.Builder) {
		ref = table.Global(b, texts, "g").WithSerdes(nil, even).OnError(failure.Skip()).Store()
	})
	send(d, texts, "a=12@1", "a=3@2", "b=45@3")
	v, _, err := ref.In(d).Get("a")
	require.NoError(t, err)
	assert.Equal(t, "12", v)
	_, ok, err := ref.In(d).Get("b")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, map[string]int{"record could not be written": 1}, d.Dropped())
}

func TestTables_Mistakes(t *testing.T) {
	type custom struct{ N int }
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder)
		want string
	}{
		{"a store's name is taken", func(b *stream.Builder) {
			g := stream.GroupByKey(stream.From(b, texts))
			table.Count(g, "n")
			table.Count(g, "n")
		}, `store "n" exists`},
		{"an aggregate's type has no serde", func(b *stream.Builder) {
			table.Aggregate(stream.GroupByKey(stream.From(b, texts)), "n", table.Zero, func(_, _ string, c custom) custom { return c })
		}, "no serde for its values"},
		{"DeleteWhen on a table that is no aggregation", func(b *stream.Builder) {
			table.From(b, texts, "t").DeleteWhen(func(_, _ string) bool { return true })
		}, "DeleteWhen is for tables made by aggregations"},
		{"DeleteWhen twice", func(b *stream.Builder) {
			never := func(string, int64) bool { return false }
			table.Count(stream.GroupByKey(stream.From(b, texts)), "n").DeleteWhen(never).DeleteWhen(never)
		}, "given twice"},
		{"an option that does not apply", func(b *stream.Builder) {
			table.Count(stream.GroupByKey(stream.From(b, texts)), "n", store.OnDemand())
		}, "store.OnDemand does not apply here"},
		{"a bad name", func(b *stream.Builder) { table.From(b, texts, "a b") }, `name "a b" has ' ' in it`},
		{"no name", func(b *stream.Builder) { table.From(b, texts, "") }, "its name is empty"},
		{"a second name", func(b *stream.Builder) { table.From(b, texts, "t").Named("u") }, `already has the name "t"`},
		{"a topic read as a table and as a stream", func(b *stream.Builder) {
			table.From(b, texts, "t")
			stream.To(stream.From(b, texts), results)
		}, "is read as a stream and as a table"},
		{"a function that is nil", func(b *stream.Builder) {
			table.Filter(table.From(b, texts, "t"), nil)
		}, "its function is nil"},
		{"the zero table", func(b *stream.Builder) {
			stream.To(stream.From(b, texts), results)
			table.ToStream(table.KTable[string, string]{})
		}, "zero handle"},
		{"a policy where nothing can fail", func(b *stream.Builder) {
			table.Filter(table.From(b, texts, "t"), startsWithX).OnError(failure.Skip())
		}, "nothing can fail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := stream.NewBuilder()
			tt.f(b)
			_, err := b.Build()
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "aggregate_test.go:")
		})
	}
}

func TestStore_ReferenceToATableWithoutStoreFailsWhenUsed(t *testing.T) {
	var f text
	d := drive(t, func(b *stream.Builder) {
		f = table.Filter(table.From(b, texts, "t"), startsWithX)
	})
	_, _, err := f.Store().In(d).Get("a")
	assert.Error(t, err)
}
