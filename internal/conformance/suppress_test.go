package conformance

import (
	"strings"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

func suppressFor(d int64, buffer table.Buffer) program {
	return program{build: func(b *stream.Builder) {
		toTexts(table.SuppressFor(unnamed(b, "in"), ms(d), "sup", buffer), "out")
	}}
}

var suppressions = map[string]program{
	"suppress-time-limit-10-unbounded":     suppressFor(10, table.Unbounded()),
	"suppress-time-limit-10-max-records-2": suppressFor(10, table.MaxRecords(2)),
	"suppress-time-limit-0":                suppressFor(0, table.Unbounded()),
	"suppress-max-records-1-shut-down":     suppressFor(10, table.MaxRecords(1).StopWhenFull()),
	"suppress-of-filtered-table": {build: func(b *stream.Builder) {
		f := table.Filter(unnamed(b, "in"), func(_, v string) bool { return v != "x" })
		toTexts(table.SuppressFor(f, ms(5), "sup", table.Unbounded()), "out")
	}},
	"suppress-before-group-by": {build: func(b *stream.Builder) {
		t := table.SuppressFor(unnamed(b, "in"), ms(10), "sup", table.Unbounded())
		g := table.GroupBy(t, func(_, v string) (string, string, bool) { return strings.Cut(v, "|") }).Named("g")
		toTexts(table.AggregateRows(g, "agg", table.Zero, addText, removeText), "out")
	}},
	"stream-table-join-suppressed-table": {build: func(b *stream.Builder) {
		t := table.SuppressFor(unnamed(b, "table"), ms(10), "sup", table.Unbounded())
		to(join.StreamTableLeft(from(b, "stream"), t, "j", orNull), "out")
		toTexts(t, "table-out")
	}},
}
