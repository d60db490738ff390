package table_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/window"
)

// TestMaterialize_FilterComparesWithItsOwnRows sends records of which the first ones fail a filter
// that lets the initial value of the aggregation before it pass: a filter that keeps its rows in a
// store has never had a row then, and sends no tombstone. One that keeps none has only the old
// values of the aggregation to go by.
func TestMaterialize_FilterComparesWithItsOwnRows(t *testing.T) {
	last := func(_, v, _ string) string { return v }
	startsWithX := func(_, v string) bool { return len(v) > 0 && v[0] == 'x' }
	windowStartsWithX := func(_ window.Key[string], v string) bool { return startsWithX("", v) }
	aggregate := func(b *stream.Builder, opts ...store.Option) table.KTable[string, string] {
		return table.Aggregate(byKey(b), "agg", func() string { return "" }, last, opts...)
	}
	to := func(out table.KTable[string, string]) { stream.To(table.ToStream(out), results) }
	for name, tt := range map[string]struct {
		f    func(b *stream.Builder)
		want string
	}{
		"stored": {func(b *stream.Builder) {
			to(table.Materialize(table.FilterNot(aggregate(b), startsWithX), "f"))
		}, "a=y@2 a@3 a=z@5"},
		"stored, with versions": {func(b *stream.Builder) {
			to(table.Materialize(table.FilterNot(aggregate(b), startsWithX), "f", store.Versions(time.Hour)))
		}, "a=y@2 a@3 a=z@5"},
		"stored, sent at the commit": {func(b *stream.Builder) {
			to(table.Materialize(table.FilterNot(aggregate(b), startsWithX), "f", store.UntilCommit()))
		}, "a=y@2 a@3 a=z@5"},
		"stored behind other values": {func(b *stream.Builder) {
			same := table.MapValues(aggregate(b), func(v string) string { return v })
			to(table.Materialize(table.FilterNot(same, startsWithX), "f"))
		}, "a=y@2 a@3 a=z@5"},
		"stored behind another stored filter": {func(b *stream.Builder) {
			f := table.Materialize(table.FilterNot(aggregate(b), startsWithX), "f")
			to(table.Materialize(table.FilterNot(f, func(_, v string) bool { return v == "z" }), "g"))
		}, "a=y@2 a@3"},
		"not stored": {func(b *stream.Builder) {
			to(table.FilterNot(aggregate(b), startsWithX))
		}, "a@1 a=y@2 a@3 a=z@5"},
		"stored, and used without the store too": {func(b *stream.Builder) {
			f := table.FilterNot(aggregate(b), startsWithX)
			table.Materialize(f, "f")
			to(f)
		}, "a@1 a=y@2 a@3 a=z@5"},
		"stored behind a table without a store": {func(b *stream.Builder) {
			to(table.Materialize(table.FilterNot(table.From(b, texts, "t", store.OnDemand()), startsWithX), "f"))
		}, "a@1 a=y@2 a@3 a@4 a=z@5"},
		"stored, of a cogroup": {func(b *stream.Builder) {
			c := table.AggregateCogroup(table.Add(byKey(b), last), "agg", func() string { return "" })
			to(table.Materialize(table.FilterNot(c, startsWithX), "f"))
		}, "a=y@2 a@3 a=z@5"},
		"stored, of groups of rows": {func(b *stream.Builder) {
			g := table.GroupBy(table.From(b, texts, "t"), func(k, v string) (string, string, bool) { return k, v, true })
			agg := table.AggregateRows(g, "agg", func() string { return "" }, last, func(_, _, agg string) string { return agg })
			to(table.Materialize(table.FilterNot(agg, startsWithX), "f"))
		}, "a=y@2 a@3 a=z@5"},
		"stored, of windows": {func(b *stream.Builder) {
			agg := table.AggregateWindows(byKey(b), tumbling(0), "agg", func() string { return "" }, last)
			f := table.Materialize(table.FilterNot(agg, windowStartsWithX), "f")
			stream.To(stream.MapKeys(table.ToStream(f), func(k window.Key[string]) string { return k.Key }), results)
		}, "a=y@2 a@3 a=z@5"},
	} {
		t.Run(name, func(t *testing.T) {
			d := drive(t, tt.f)
			send(d, texts, "a=x1@1", "a=y@2", "a=x3@3", "a=x4@4", "a=z@5")
			assert.Equal(t, tt.want, taken(d, results))
		})
	}
}
