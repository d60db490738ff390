package oracle

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/window"
)

func suppressions() []oracle {
	in := []input{{topic: "in", value: small, nulls: 15, noKeys: 3}}
	t, lost := source("in"), drops(false, "in")
	source := func(b *stream.Builder) table.KTable[string, string] { return table.From(b, topic("in"), "t") }
	reduced := fold{topics: []string{"in"}, reduce: true, add: func(e event, agg string) string { return agg + e.value.s }, gone: endsInZ}
	final := func(name string, w windows, by window.Any, opts ...store.Option) oracle {
		return oracle{
			name: name, inputs: []input{{topic: "in", keys: abcd[:2], nulls: 4, noKeys: 4}}, scale: 10,
			build: func(b *stream.Builder) {
				t := table.CountWindows(stream.GroupByKey(from(b, "in")), by, "w", opts...)
				renderedNumbers(table.SuppressUntilClose(t, "s", table.Unbounded()), "out")
			},
			model: written(untilClose(w, countBy(w, "in").keeping().table), "out"),
		}
	}
	return []oracle{
		final("suppress-final-tumbling", tumbling(10, 5), window.Tumbling(ms(10)).Grace(ms(5))),
		final("suppress-final-hopping", hopping(10, 5, 0), window.Hopping(ms(10), ms(5)), store.InMemory()),
		final("suppress-final-sliding", slidingBy(10, 7), window.Sliding(ms(10)).Grace(ms(7))),
		final("suppress-final-session", sessionBy(5, 5), window.Sessions(ms(5)).Grace(ms(5))),
		{
			name: "table-until-commit", inputs: in,
			build:  func(b *stream.Builder) { toOut(table.From(b, topic("in"), "t", store.UntilCommit()), "out") },
			model:  both(written(untilCommit(t), "out"), lost),
			stores: map[string]func([]event) []string{"t": sourceRows("in")},
		}, {
			name: "reduce-until-commit", inputs: in,
			build: func(b *stream.Builder) {
				r := table.Reduce(stream.GroupByKey(from(b, "in")), "red", concat, store.UntilCommit()).DeleteWhen(endsInZ)
				toOut(table.Filter(r, isV), "kept")
				toOut(r, "out")
			},
			model: both(written(untilCommit(reduced.table), "out"), written(filter(untilCommit(reduced.table), true, isV), "kept"), drops(true, "in")),
		}, {
			name: "throttle", inputs: in, scale: 10, clock: true,
			build: func(b *stream.Builder) { toOut(table.Throttle(source(b), ms(20), "s"), "out") },
			model: both(written(throttled(20, t), "out"), lost),
		}, {
			name: "suppress-for", inputs: in, scale: 10,
			build: func(b *stream.Builder) { toOut(table.SuppressFor(source(b), ms(10), "s", table.Unbounded()), "out") },
			model: both(written(untilTime(10, noLimit, t), "out"), lost),
		}, {
			name: "suppress-for-two-records", inputs: in, scale: 10,
			build: func(b *stream.Builder) { toOut(table.SuppressFor(source(b), ms(10), "s", table.MaxRecords(2)), "out") },
			model: both(written(untilTime(10, 2, t), "out"), lost),
		}, {
			name: "suppress-for-nothing", inputs: in, scale: 10,
			build: func(b *stream.Builder) { toOut(table.SuppressFor(source(b), 0, "s", table.Unbounded()), "out") },
			model: both(written(untilTime(0, noLimit, t), "out"), lost),
		}, {
			name: "suppress-for-of-filter", inputs: in, scale: 10,
			build: func(b *stream.Builder) {
				toOut(table.SuppressFor(table.Filter(source(b), isV), ms(15), "s", table.Unbounded()), "out")
			},
			model: both(written(untilTime(15, noLimit, filter(t, true, isV)), "out"), lost),
		},
	}
}
