package conformance

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

// unnamed is a table that upstream does not name: it keeps a store only if a step needs it.
func unnamed(b *stream.Builder, name string) rows {
	return table.From(b, topic(name), name+"-rows", store.OnDemand())
}

func toTexts(t rows, name string) { to(table.ToStream(t), name) }

var tables = map[string]program{
	"versioned-table-filter": {build: func(b *stream.Builder) {
		t := table.From(b, topic("in"), "vt", store.Versions(ms(10000)))
		to(table.ToStream(table.Filter(t, startsWithX)), "out")
	}},
	"table-pass-through": {build: func(b *stream.Builder) { toTexts(unnamed(b, "in"), "out") }},
	"table-stored":       {build: func(b *stream.Builder) { toTexts(table.From(b, topic("in"), "t"), "out") }},
	"table-filter":       {build: func(b *stream.Builder) { toTexts(table.Filter(unnamed(b, "in"), startsWithX), "out") }},
	"table-filter-stored-source": {build: func(b *stream.Builder) {
		toTexts(table.Filter(table.From(b, topic("in"), "t"), startsWithX), "out")
	}},
	"table-filter-stored-result": {build: func(b *stream.Builder) {
		toTexts(table.Materialize(table.Filter(unnamed(b, "in"), startsWithX), "f"), "out")
	}},
	"table-filter-not-map-values": {build: func(b *stream.Builder) {
		f := table.FilterNot(table.From(b, topic("in"), "t"), startsWithX)
		m := table.MapValuesWithKey(f, func(k, v string) string { return k + ":" + v })
		toTexts(table.Materialize(m, "m"), "out")
	}},
	"table-map-values": {build: func(b *stream.Builder) {
		toTexts(table.MapValues(unnamed(b, "in"), func(v string) string { return v + "!" }), "out")
	}},
	"table-transform-values": {build: func(b *stream.Builder) {
		t := table.From(b, topic("in"), "t")
		toTexts(table.ProcessValues(t, "keyed", func(*topology.Task) (func(k, v string, row bool) (string, bool, error), error) {
			return func(k, v string, row bool) (string, bool, error) { return k + "[" + str(v, !row) + "]", true, nil }, nil
		}), "out")
	}},
	"stream-to-table": {build: func(b *stream.Builder) { toTexts(table.ToTable(from(b, "in"), "tt"), "out") }},
	"stream-to-table-after-select-key": {build: func(b *stream.Builder) {
		// Upstream names the topic after the operator and the store apart from it.
		t := table.ToTable(selectKey(from(b, "in"), firstChar), "KSTREAM-TOTABLE-0000000002", store.OnDemand())
		toTexts(table.Materialize(t, "tt"), "out")
	}},
	"table-to-stream-with-key-then-count": {numbers: []string{"counts"}, build: func(b *stream.Builder) {
		s := selectKey(table.ToStream(unnamed(b, "in")), func(r rec) (string, bool) {
			if r.Tombstone {
				return "none", true
			}
			return r.Value, true
		})
		toNumbers(table.Count(stream.GroupByKey(s), "counts"), "out")
	}},
	"count-filter-at-least-2": {numbers: []string{"counts"}, build: func(b *stream.Builder) {
		n := table.Count(stream.GroupByKey(from(b, "in")), "counts")
		toNumbers(table.Filter(n, func(_ string, n int64) bool { return n >= 2 }), "out")
	}},
}
