package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/window"
)

// kafkaNames are the names of a topology that Kafka or the disk sees.
func kafkaNames(g *graph.Graph) (names []string) {
	for _, s := range g.Stores {
		names = append(names, "store "+s.Name)
	}
	for _, t := range g.Topics {
		names = append(names, "topic "+t.Name)
	}
	slices.Sort(names)
	return names
}

// everything has each kind of step that makes a store or a topic. around is called before each of
// them, and may add steps.
func everything(b *stream.Builder, around func(s strs) strs) {
	in := stream.From(b, text("in"))
	rekeyed := func() strs { return stream.SelectKey(around(in), value) }
	within := window.Within(time.Second)
	plus := func(l, r string) string { return l + r }
	left := func(l, r string, _ bool) string { return l + r }
	g := stream.GroupByKey(rekeyed())
	table.Count(g, "count")
	table.CountWindows(stream.GroupByKey(rekeyed()), window.Tumbling(time.Second), "windows")
	table.Count(stream.GroupByKey(rekeyed()).Named("grouping"), "grouped")
	c := table.Cogroup(table.Add(stream.GroupByKey(rekeyed()), func(_, v, a string) string { return a + v }))
	table.AggregateCogroup(c, "cogroup", table.Zero)
	rows := table.ToTable(rekeyed(), "rows")
	table.SuppressFor(rows, time.Second, "suppressed", table.Unbounded())
	table.Materialize(table.Filter(rows, all), "filtered")
	table.CountRows(table.GroupBy(rows, func(k, v string) (string, string, bool) { return v, k, true }), "regrouped")
	join.StreamTable(rekeyed(), rows, "lookup", plus)
	join.StreamStream(rekeyed(), rekeyed(), within, "inner", plus)
	join.StreamStreamLeft(rekeyed(), rekeyed(), within, "left", left)
	join.StreamStreamOuter(rekeyed(), rekeyed(), within, "outer", func(l, r join.Maybe[string]) string { return "" })
	other := table.From(b, text("other"), "other")
	join.ForeignKey(rows, other, "foreign", func(_, v string) (string, bool) { return v, true }, plus)
	stream.Repartition(around(in), "through")
}

func TestNames_DoNotDependOnOtherSteps(t *testing.T) {
	want := kafkaNames(build(t, func(b *stream.Builder) { everything(b, func(s strs) strs { return s }) }))
	assert.Contains(t, want, "topic grouping-repartition")
	assert.Contains(t, want, "store outer-outer-shared-join-store")
	assert.Greater(t, len(want), 30)
	n := 0
	got := kafkaNames(build(t, func(b *stream.Builder) {
		stream.ForEach(stream.From(b, text("new")), func(rec) {})
		everything(b, func(s strs) strs {
			n++
			for range n { // ever more
				s = stream.Peek(stream.Filter(s, all), func(rec) {})
			}
			return stream.Merge(s, stream.MapValues(s, func(v string) string { return v }))
		})
	}))
	assert.Equal(t, want, got)
}
