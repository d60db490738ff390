package conformance

import (
	"strings"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// partBefore is the foreign key: the part of the value before '|'.
func partBefore(_, v string) (string, bool) {
	fk, _, ok := strings.Cut(v, "|")
	return fk, ok
}

func foreignRows(l, r rows, name string) rows { return join.ForeignKey(l, r, name, partBefore, plus) }

var foreignKeys = map[string]program{
	"foreign-key-inner-join": {build: func(b *stream.Builder) {
		toTexts(foreignRows(unnamed(b, "left"), unnamed(b, "right"), "j"), "out")
	}},
	"foreign-key-left-join": {build: func(b *stream.Builder) {
		toTexts(join.ForeignKeyLeft(unnamed(b, "left"), unnamed(b, "right"), "j", partBefore, orNull), "out")
	}},
	"foreign-key-inner-join-stored": {build: func(b *stream.Builder) {
		toTexts(table.Materialize(foreignRows(unnamed(b, "left"), unnamed(b, "right"), "fkj"), "fkstore"), "out")
	}},
	"foreign-key-join-chain": {build: func(b *stream.Builder) {
		oc := foreignRows(unnamed(b, "orders"), unnamed(b, "customers"), "oc")
		region := func(_, v string) (string, bool) {
			_, customer, _ := strings.Cut(v, "+")
			return partBefore("", customer)
		}
		toTexts(join.ForeignKey(oc, unnamed(b, "regions"), "ocr", region, plus), "out")
	}},
	"foreign-key-join-of-aggregation": {build: func(b *stream.Builder) {
		l := table.Reduce(stream.GroupByKey(from(b, "left")), "latest", func(_, v string) string { return v })
		toTexts(foreignRows(l, unnamed(b, "right"), "j"), "out")
	}},
	"foreign-key-inner-join-versioned": {build: func(b *stream.Builder) {
		toTexts(foreignRows(versionedRows(b, "left", "lv"), versionedRows(b, "right", "rv"), "j"), "out")
	}},
	"wire-foreign-key-topics": {build: func(b *stream.Builder) {
		toTexts(foreignRows(unnamed(b, "left"), unnamed(b, "right"), "fkj"), "out")
	}},
}
