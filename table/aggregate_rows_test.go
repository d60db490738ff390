package table_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver"
)

// byFirst groups rows by the first letter of their value; those without a value belong to no group.
func byFirst(t text) table.Grouped[string, string] {
	return table.GroupBy(t, func(_, v string) (string, string, bool) {
		if v == "" {
			return "", "", false
		}
		return v[:1], v[1:], true
	})
}

func addText(_, v, agg string) string { return agg + "+" + v }

func removeText(_, v, agg string) string { return agg + "-" + v }

func TestAggregateRows(t *testing.T) {
	in := []string{"a=x1@5", "b=x2@3", "a=x3@6", "a=y4@7", "b@8", "b@9", "a@2", "c=@3", "c=x5@4", "c=@5", "=x6@6"}
	for _, tt := range []struct {
		name string
		f    func(g table.Grouped[string, string]) text
		want string
	}{
		{"aggregate", func(g table.Grouped[string, string]) text {
			return table.AggregateRows(g, "t", func() string { return "0" }, addText, removeText)
		}, "x=0+1@5 x=0+1+2@5 x=0+1+2-1+3@6 x=0+1+2-1+3-3@7 y=0+4@7 x=0+1+2-1+3-3-2@8 y=0+4-4@7 x=0+1+2-1+3-3-2+5@8 x=0+1+2-1+3-3-2+5-5@8"},
		{"reduce", func(g table.Grouped[string, string]) text {
			return table.ReduceRows(g, "t", func(agg, v string) string { return agg + "+" + v }, func(agg, v string) string { return agg + "-" + v })
		}, "x=1@5 x=1+2@5 x=1+2-1+3@6 x=1+2-1+3-3@7 y=4@7 x=1+2-1+3-3-2@8 y=4-4@7 x=1+2-1+3-3-2+5@8 x=1+2-1+3-3-2+5-5@8"},
		{"count", func(g table.Grouped[string, string]) text {
			return table.MapValues(table.CountRows(g, "t"), func(n int64) string { return fmt.Sprint(n) })
		}, "x=1@5 x=2@5 x=2@6 x=1@7 y=1@7 x=0@8 y=0@7 x=1@8 x=0@8"},
		{"count that deletes", func(g table.Grouped[string, string]) text {
			n := table.CountRows(g, "t").DeleteWhen(func(_ string, n int64) bool { return n == 0 })
			return table.MapValues(n, func(n int64) string { return fmt.Sprint(n) })
		}, "x=1@5 x=2@5 x=2@6 x=1@7 y=1@7 x@8 y@7 x=1@4 x@5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := drive(t, func(b *stream.Builder) {
				stream.To(table.ToStream(tt.f(byFirst(table.From(b, texts, "rows", store.OnDemand())))), results)
			})
			var got []string
			for _, r := range in {
				send(d, texts, r)
				if out := taken(d, results); out != "" {
					got = append(got, out)
				}
				d.Restart()
			}
			assert.Equal(t, tt.want, strings.Join(got, " "))
			assert.Equal(t, map[string]int{"record without key": 1}, d.Dropped())
			assert.Contains(t, d.Topics(), "testdriver-t-repartition")
		})
	}
}

func TestDeleteWhen_IsCalledAfterRemoveAndAfterAdd(t *testing.T) {
	empty := func(_, agg string) bool { return agg == "" }
	d := drive(t, func(b *stream.Builder) {
		g := table.GroupBy(table.From(b, texts, "rows"), func(_, v string) (string, string, bool) { return "all", v, true })
		agg := table.AggregateRows(g, "agg", func() string { return "start" },
			func(_, v, agg string) string { return agg + v }, func(_, _, _ string) string { return "" }).DeleteWhen(empty)
		stream.To(table.ToStream(agg), results)
	})
	send(d, texts, "a=1@1", "a=2@2", "a@3", "a@4", "b=3@5")
	assert.Equal(t, "all=start1@1 all=start2@2 all@3 all=start3@5", taken(d, results))
}

func TestAggregateRows_OldValues(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		n := table.CountRows(byFirst(table.From(b, texts, "rows")), "n")
		// The filter is a table whose source keeps a store: it knows what it has sent.
		stream.To(table.ToStream(table.Filter(n, func(_ string, n int64) bool { return n > 1 })), sums)
		// Groups of groups: how many groups have how many rows.
		sizes := table.GroupBy(n, func(_ string, n int64) (int64, string, bool) { return n, "", n > 0 })
		stream.To(table.ToStream(table.CountRows(sizes, "sizes")), stream.NewTopic("sizes", serde.Int64, serde.Int64))
	})
	send(d, texts, "a=x@1", "b=x@2", "c=y@3", "b=y@4", "b@5", "a@6", "c@7")
	assert.Equal(t, "x=2@2 x@4 y=2@4 y@5", taken(d, sums))
	assert.Equal(t, map[int64]int64{1: 0, 2: 0}, testdriver.Table(testdriver.Output(d, stream.NewTopic("sizes", serde.Int64, serde.Int64))))
}

func TestAggregateRows_MutatingFoldDoesNotChangeOldValues(t *testing.T) {
	type list = []string
	d := drive(t, func(b *stream.Builder) {
		l := table.AggregateRows(byFirst(table.From(b, texts, "rows")), "lists", func() list { return nil },
			func(_, v string, l list) list { return append(l, v) },
			func(_, v string, l list) list {
				for i := range l {
					if l[i] == v {
						l[i] = "gone"
					}
				}
				return l
			}).WithSerdes(nil, serde.JSON[list]())
		byText := table.GroupBy(l, func(k string, l list) (string, string, bool) { return strings.Join(l, ","), k, true })
		stream.To(table.ToStream(table.CountRows(byText, "texts").DeleteWhen(func(_ string, n int64) bool { return n == 0 })), sums)
	})
	send(d, texts, "a=x1@1", "b=x2@2", "a@3")
	assert.Equal(t, "1=1@1 1@2 1,2=1@2 1,2@3 gone,2=1@3", taken(d, sums))
}

func TestAggregateRows_OneGroupingSeveralAggregations(t *testing.T) {
	d := drive(t, func(b *stream.Builder) {
		g := byFirst(table.From(b, texts, "rows")).Named("by-first")
		stream.To(table.ToStream(table.CountRows(g, "counts")), sums)
		stream.To(table.ToStream(table.AggregateRows(g, "all", table.Zero, addText, removeText)), results)
	})
	send(d, texts, "a=x1@1")
	assert.Equal(t, "x=1@1", taken(d, sums))
	assert.Equal(t, "x=+1@1", taken(d, results))
	assert.Contains(t, d.Topics(), "testdriver-by-first-repartition")
}

func TestAggregateRows_Mistakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(b *stream.Builder)
		want string
	}{
		{"no function", func(b *stream.Builder) {
			table.GroupBy[string, string, string, string](table.From(b, texts, "rows"), nil)
		}, "its function is nil"},
		{"a zero grouping", func(*stream.Builder) { table.CountRows(table.Grouped[string, string]{}, "n") }, "zero handle"},
		{"no name", func(b *stream.Builder) { table.CountRows(byFirst(table.From(b, texts, "rows")), "") }, "its name is empty"},
		{"no remove", func(b *stream.Builder) {
			table.AggregateRows(byFirst(table.From(b, texts, "rows")), "n", table.Zero, addText, nil)
		}, "function 3 of 3 is nil"},
		{"two without a name", func(b *stream.Builder) {
			g := byFirst(table.From(b, texts, "rows"))
			table.CountRows(g, "a")
			table.CountRows(g, "b")
		}, "give the grouping a name"},
		{"no serde", func(b *stream.Builder) {
			type key struct{ s string }
			g := table.GroupBy(table.From(b, texts, "rows"), func(k, _ string) (key, string, bool) { return key{k}, k, true })
			table.CountRows(g, "a")
		}, "no serde for its keys"},
		{"an option that does not apply", func(b *stream.Builder) {
			table.CountRows(byFirst(table.From(b, texts, "rows")), "a", store.OnDemand())
		}, "does not apply"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := stream.NewBuilder()
			tt.f(b)
			stream.To(stream.From(b, results), sumsAsTexts)
			_, err := b.Build()
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "aggregate_rows_test.go:")
		})
	}
}

var sumsAsTexts = stream.NewTopic("sums", serde.String, serde.String)
