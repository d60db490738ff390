package conformance

import (
	"strings"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/window"
)

func suppressFor(d int64, buffer table.Buffer) program {
	return program{build: func(b *stream.Builder) {
		toTexts(table.SuppressFor(unnamed(b, "in"), ms(d), "sup", buffer), "out")
	}}
}

// final is a windowed table of which only final results are written.
func final[V any](t func(b *stream.Builder) table.KTable[windowKey, V], f func(V) string) program {
	return program{build: func(b *stream.Builder) {
		to(rendered(table.SuppressUntilClose(t(b), "sup", table.Unbounded()), f), "out")
	}}
}

func finalCount(w window.Any, opts ...store.Option) program {
	p := final(func(b *stream.Builder) table.KTable[windowKey, int64] {
		return table.CountWindows(stream.GroupByKey(from(b, "in")), w, "ses", opts...)
	}, dec)
	p.numbers = []string{"ses"}
	return p
}

var refusedSuppressions = map[string]func(b *stream.Builder){
	// The types refuse a table whose keys are not windows. These look like windows, but nothing closes them.
	"suppress-final-without-window": func(b *stream.Builder) {
		windows := stream.NewTopic("in", window.SessionKey(serde.String), serde.String)
		n := table.Count(stream.GroupByKey(stream.From(b, windows)), "n")
		table.SuppressUntilClose(n, "sup", table.Unbounded())
	},
}

var suppressions = map[string]program{
	"suppress-time-limit-10-unbounded":      suppressFor(10, table.Unbounded()),
	"suppress-time-limit-10-max-records-2":  suppressFor(10, table.MaxRecords(2)),
	"suppress-time-limit-0":                 suppressFor(0, table.Unbounded()),
	"suppress-max-records-1-shut-down":      suppressFor(10, table.MaxRecords(1).StopWhenFull()),
	"suppress-final-tumbling-size10-grace5": finalCount(window.Tumbling(ms(10)).Grace(ms(5))),
	"suppress-final-hopping-size10-advance5-nograce": final(func(b *stream.Builder) table.KTable[windowKey, string] {
		return table.AggregateWindows(stream.GroupByKey(nulls(b, "in")), window.Hopping(ms(10), ms(5)), "agg", table.Zero, append3)
	}, same),
	"suppress-final-session-gap5-nograce":   finalCount(window.Sessions(ms(5)), hour),
	"suppress-final-sliding-diff10-nograce": finalCount(window.Sliding(ms(10))),
	"suppress-final-sliding-diff10-grace7":  finalCount(window.Sliding(ms(10)).Grace(ms(7))),
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
