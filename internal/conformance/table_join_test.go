package conformance

import (
	"github.com/millstream-go/millstream/join"
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
}

func stored(b *stream.Builder, topicName, store string) rows {
	return table.From(b, topic(topicName), store)
}

func innerRows(l, r rows) rows { return join.TableTable(l, r, plus) }

func leftRows(l, r rows) rows { return join.TableTableLeft(l, r, orNull) }

func outerRows(l, r rows) rows {
	return join.TableTableOuter(l, r, func(l, r join.Maybe[string]) string { return l.Or("null") + "+" + r.Or("null") })
}
