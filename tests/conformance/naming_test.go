package conformance

import (
	"iter"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

var names = map[string]program{
	"same-topic-twice-one-source": {build: func(b *stream.Builder) {
		to(mapTexts(from(b, "in"), func(v string) string { return v + "1" }), "out")
		to(mapTexts(from(b, "in"), func(v string) string { return v + "2" }), "out")
	}},
	"unnamed-everything": {build: unnamedEverything},
	"named-pipeline": {build: func(b *stream.Builder) {
		s := stream.FilterRecords(from(b, "in").Named("src"), stream.HasValue).Named("non-null")
		g := stream.GroupByKey(selectKey(s, byValue).Named("by-value")).Named("grp")
		t := table.AggregateWindows(g, tumbling(0), "win", table.Zero, append3, hour)
		m := table.ToStream(table.SuppressUntilClose(t, "sup-store", table.Unbounded())).Named("str")
		stream.To(stream.Map(m, func(k windowKey, v string) (string, string) { return wkey(k), v }).Named("render"), topic("out")).Named("snk")
	}},
	"reuse-source-topic-optimized": {build: func(b *stream.Builder) {
		toTexts(table.From(b, topic("in"), "t", store.SourceIsChangelog()), "out")
	}},
}

func unnamedEverything(b *stream.Builder) {
	s := from(b, "in")
	f := stream.FilterRecords(s, func(rec) bool { return true })
	f = stream.MapRecordValues(f, func(r rec) (string, bool) { return r.Value, !r.Tombstone })
	f = stream.FlatMapRecordValues(f, func(r rec) iter.Seq2[string, bool] {
		return func(yield func(string, bool) bool) { yield(r.Value, !r.Tombstone) }
	})
	toNumbers(table.Count(stream.GroupByKey(stream.MapRecords(f, swap)), "counts"), "counts")
	to(join.StreamTable(f, unnamed(b, "table"), "joined", plus), "joined")
	to(stream.Peek(stream.Merge(f, from(b, "other")), func(rec) {}), "merged")
	x, rest := stream.Branch(s, func(r rec) bool { return !r.Tombstone && r.Value == "x" })
	to(x, "branches")
	to(rest, "branches")
	g := stream.GroupBy(s, func(_, v string) string { return v })
	to(rendered(table.CountWindows(g, sessions(5, 0), "sessions"), dec), "sessions")
}

func swap(r rec) rec {
	r.Key, r.Value, r.NoKey, r.Tombstone = r.Value, r.Key, r.Tombstone, r.NoKey
	return r
}

// refused are programs that Build must refuse.
var refused = map[string]func(b *stream.Builder){
	"topic-as-stream-and-table": func(b *stream.Builder) {
		from(b, "in")
		unnamed(b, "in")
	},
	"overlapping-topic-sets": func(b *stream.Builder) {
		from(b, "a", "b")
		from(b, "b", "c")
	},
	"duplicate-operator-name": func(b *stream.Builder) {
		all := func(_, _ string) bool { return true }
		to(stream.Filter(stream.Filter(from(b, "in"), all).Named("x"), all).Named("x"), "out")
	},
	"illegal-operator-name": func(b *stream.Builder) {
		to(stream.Filter(from(b, "in"), func(_, _ string) bool { return true }).Named("a b"), "out")
	},
	"join-window-ends-before-start": func(b *stream.Builder) {
		to(join.StreamStream(from(b, "left"), from(b, "right"), around(-11, 10, 0), "j", plus), "out")
	},
	"stream-table-join-grace-on-unversioned-table": func(b *stream.Builder) {
		to(join.StreamTable(from(b, "in"), unnamed(b, "table"), "j", plus, join.Grace(ms(10))), "out")
	},
	"stream-table-join-grace-longer-than-history": func(b *stream.Builder) {
		t := table.From(b, topic("table"), "vt", store.Versions(ms(5)))
		to(join.StreamTable(from(b, "in"), t, "j", plus, join.Grace(ms(10))), "out")
	},
	"illegal-store-name": func(b *stream.Builder) { toTexts(table.From(b, topic("in"), "a/b"), "out") },
}
