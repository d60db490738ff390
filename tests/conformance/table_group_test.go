package conformance

import (
	"strconv"
	"strings"

	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

type groups = table.Grouped[string, string]

// byPart groups rows by the part before '|', which what comes after it counts for.
func byPart(t rows) groups {
	return table.GroupBy(t, func(_, v string) (string, string, bool) { return strings.Cut(v, "|") }).Named("gb")
}

func addText(_, v, agg string) string { return agg + "+" + v }

func removeText(_, v, agg string) string { return agg + "-" + v }

func zeroText() string { return "0" }

var tableGroups = map[string]program{
	"table-group-by-aggregate": {build: func(b *stream.Builder) {
		toTexts(table.AggregateRows(byPart(unnamed(b, "in")), "agg", zeroText, addText, removeText), "out")
	}},
	"table-group-by-count": {numbers: []string{"counts"}, build: func(b *stream.Builder) {
		toNumbers(table.CountRows(byPart(unnamed(b, "in")), "counts"), "out")
	}},
	"table-group-by-reduce": {build: func(b *stream.Builder) {
		t := table.ReduceRows(byPart(unnamed(b, "in")), "red",
			func(agg, v string) string { return agg + "+" + v }, func(agg, v string) string { return agg + "-" + v })
		toTexts(t, "out")
	}},
	"table-group-by-sum-deleting-at-zero": {numbers: []string{"sums"}, build: func(b *stream.Builder) {
		t := table.AggregateRows(byPart(unnamed(b, "in")), "sums", table.Zero,
			func(_, v string, s int64) int64 { return s + number(v) }, func(_, v string, s int64) int64 { return s - number(v) })
		toNumbers(t.DeleteWhen(func(_ string, s int64) bool { return s == 0 }), "out")
	}},
	"table-join-with-aggregation": {numbers: []string{"counts"}, build: func(b *stream.Builder) {
		l := table.Reduce(stream.GroupByKey(from(b, "left")), "reduced", concat)
		g := table.GroupBy(outerRows(l, unnamed(b, "right")), func(_, v string) (string, string, bool) {
			k, ok := firstChar(rec{Value: v})
			return k, v, ok
		}).Named("fc")
		toNumbers(table.CountRows(g, "counts"), "out")
	}},
	"wire-table-group-by-repartition": {numbers: []string{"c"}, build: func(b *stream.Builder) {
		toNumbers(table.CountRows(byPart(unnamed(b, "in")), "c"), "out")
	}},
	"versioned-table-group-by-aggregate": {build: func(b *stream.Builder) {
		g := table.GroupBy(versionedRows(b, "in", "vt"), func(_, v string) (string, string, bool) { return "all", v, true }).Named("gb")
		toTexts(table.AggregateRows(g, "agg", table.Zero, addText, removeText), "out")
	}},
	"windowed-count-regrouped-by-key": {numbers: []string{"totals"}, build: func(b *stream.Builder) {
		n := table.CountWindows(stream.GroupByKey(from(b, "in")), tumbling(10), automatic)
		g := table.GroupBy(n, func(k windowKey, n int64) (string, int64, bool) { return k.Key, n, true }).Named("total")
		toNumbers(table.AggregateRows(g, "totals", table.Zero,
			func(_ string, n, sum int64) int64 { return sum + n }, func(_ string, n, sum int64) int64 { return sum - n }), "out")
	}},
}

func number(v string) int64 {
	n, _ := strconv.ParseInt(v, 10, 64)
	return n
}
