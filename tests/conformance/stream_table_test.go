package conformance

import (
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

var streamTable = map[string]program{
	"stream-versioned-table-inner-join-long-history": {build: func(b *stream.Builder) {
		t := table.From(b, topic("table"), "vt", store.Versions(ms(10000)))
		to(join.StreamTable(from(b, "stream"), t, "j", plus), "out")
	}},
	"stream-versioned-table-left-join-grace10": {build: func(b *stream.Builder) {
		t := table.From(b, topic("table"), "vt", store.Versions(ms(10000)))
		to(join.StreamTableLeft(from(b, "stream"), t, "g", orNull, join.Grace(ms(10))), "out")
	}},
	"stream-versioned-table-left-join": {build: func(b *stream.Builder) {
		t := table.From(b, topic("table"), "vt", store.Versions(ms(50)))
		to(join.StreamTableLeft(from(b, "stream"), t, "j", orNull), "out")
		to(table.ToStream(t), "table-out")
	}},
	"stream-table-inner-join": {build: func(b *stream.Builder) {
		to(join.StreamTable(from(b, "stream"), unnamed(b, "table"), "j", plus), "out")
	}},
	"stream-table-left-join": {build: func(b *stream.Builder) {
		to(join.StreamTableLeft(from(b, "stream"), unnamed(b, "table"), "j", orNull), "out")
	}},
	"stream-table-left-join-with-key": {build: func(b *stream.Builder) {
		j := join.StreamTableLeft(from(b, "stream"), unnamed(b, "table"), "j", orNull)
		to(stream.MapRecordValues(j, func(r rec) (string, bool) { return str(r.Key, r.NoKey) + ":" + r.Value, true }), "out")
	}},
	"stream-table-join-filtered-table": {build: func(b *stream.Builder) {
		t := table.MapValues(table.Filter(unnamed(b, "table"), startsWithX), func(v string) string { return v + "!" })
		to(join.StreamTable(from(b, "stream"), t, "j", plus), "out")
	}},
	"stream-table-join-repartitioned": {build: func(b *stream.Builder) {
		to(join.StreamTableLeft(selectKey(from(b, "stream"), firstChar), unnamed(b, "table"), "j", orNull), "out")
	}},
	"stream-table-inner-join-repartitioned": {build: func(b *stream.Builder) {
		to(join.StreamTable(selectKey(from(b, "stream"), firstChar), unnamed(b, "table"), "j", plus), "out")
	}},
	"stream-joined-with-its-own-count": {numbers: []string{"counts"}, build: func(b *stream.Builder) {
		in := from(b, "in")
		n := table.Count(stream.GroupByKey(in), "counts")
		to(join.StreamTable(in, n, "j", func(v string, n int64) string { return v + "#" + dec(n) }), "out")
	}},
	"stream-table-join-to-table": {build: func(b *stream.Builder) {
		t := table.ToTable(from(b, "updates"), "tt")
		to(join.StreamTableLeft(from(b, "stream"), t, "j", orNull), "out")
	}},
}
