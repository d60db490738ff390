package conformance

import (
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

var tableJoins = map[string]program{
	"table-table-inner-join": {build: func(b *stream.Builder) { toTexts(innerRows(unnamed(b, "left"), unnamed(b, "right")), "out") }},
	"table-table-left-join":  {build: func(b *stream.Builder) { toTexts(leftRows(unnamed(b, "left"), unnamed(b, "right")), "out") }},
	"table-table-outer-join": {build: func(b *stream.Builder) { toTexts(outerRows(unnamed(b, "left"), unnamed(b, "right")), "out") }},
	"table-table-inner-join-stored": {build: func(b *stream.Builder) {
		toTexts(table.Materialize(innerRows(stored(b, "left", "ls"), stored(b, "right", "rs")), "joined"), "out")
	}},
	"table-table-left-join-stored": {build: func(b *stream.Builder) {
		toTexts(table.Materialize(leftRows(stored(b, "left", "ls"), stored(b, "right", "rs")), "joined"), "out")
	}},
	"table-table-outer-join-stored": {build: func(b *stream.Builder) {
		toTexts(table.Materialize(outerRows(stored(b, "left", "ls"), stored(b, "right", "rs")), "joined"), "out")
	}},
	"table-self-join": {build: func(b *stream.Builder) {
		t := unnamed(b, "in")
		toTexts(innerRows(t, t), "out")
	}},
	"table-three-way-join": {build: func(b *stream.Builder) {
		toTexts(outerRows(leftRows(unnamed(b, "a"), unnamed(b, "b")), unnamed(b, "c")), "out")
	}},
	"versioned-table-table-inner-join": {build: func(b *stream.Builder) {
		toTexts(innerRows(versionedRows(b, "left", "lv"), versionedRows(b, "right", "rv")), "out")
	}},
	"windowed-counts-left-joined": {numbers: []string{"lc", "rc"}, build: func(b *stream.Builder) {
		l := table.CountWindows(stream.GroupByKey(from(b, "left")), tumbling(0), "lc", hour)
		r := table.CountWindows(stream.GroupByKey(from(b, "right")), tumbling(0), "rc", hour)
		t := join.TableTableLeft(l, r, func(l, r int64, ok bool) string { return dec(l) + "/" + str(dec(r), !ok) })
		to(rendered(t, same), "out")
	}},
}

func stored(b *stream.Builder, topicName, name string) rows {
	return table.From(b, topic(topicName), name)
}

func innerRows(l, r rows) rows { return join.TableTable(l, r, plus) }

func leftRows(l, r rows) rows { return join.TableTableLeft(l, r, orNull) }

func outerRows(l, r rows) rows {
	return join.TableTableOuter(l, r, func(l, r join.Maybe[string]) string { return l.Or("null") + "+" + r.Or("null") })
}

func versionedRows(b *stream.Builder, topicName, name string) rows {
	return table.From(b, topic(topicName), name, store.Versions(ms(10000)))
}
