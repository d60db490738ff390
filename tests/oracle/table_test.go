package oracle

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/window"
)

// source is a table read from a topic, or made of a stream: the last record of a key is its row.
func source(name string) tableModel {
	return changes(func(h []event, e event) []change {
		if e.topic != name || !e.key.ok {
			return nil
		}
		old, _ := latest(before(h), name, e.key.s)
		return []change{{key: e.key.s, new: e.value, old: old, at: e.at, from: e.n}}
	})
}

// sourceRows is the store of such a table.
func sourceRows(name string) func(h []event) []string {
	return func(h []event) (out []string) {
		for _, k := range keysOf(of(h, name)) {
			if v, at := latest(h, name, k); v.ok {
				out = append(out, fmt.Sprintf("%s -> %s @%d", k, v.s, at))
			}
		}
		return out
	}
}

// filter is a filter of a table. If it is given old values it keeps to itself what was no row before and is none now; else it says for every
// row that fails that it is gone.
func filter(t tableModel, olds bool, keep func(k, v string) bool) tableModel {
	pass := func(k string, v text) text {
		if v.ok && keep(k, v.s) {
			return v
		}
		return text{}
	}
	return derived(t, pass, func(c change) bool { return olds && !c.new.ok && !c.old.ok })
}

// mapped is mapValues of a table.
func mapped(t tableModel, f func(k, v string) string) tableModel {
	return derived(t, func(k string, v text) text {
		if v.ok {
			v.s = f(k, v.s)
		}
		return v
	}, func(change) bool { return false })
}

// derived is a table that follows from another row by row; silent says what is not sent.
func derived(t tableModel, f func(k string, v text) text, silent func(change) bool) tableModel {
	return func(h []event) [][]change {
		out := make([][]change, len(h))
		for i, cs := range t(h) {
			for _, c := range cs {
				if c.lost == "" {
					c.new, c.old = f(c.key, c.new), f(c.key, c.old)
				}
				if c.lost != "" || !silent(c) {
					out[i] = append(out[i], c)
				}
			}
		}
		return out
	}
}

// rowsOf is the store of a table: the last of its changes for each key.
func rowsOf(t tableModel) func(h []event) []string {
	return func(h []event) (out []string) {
		last := map[string]change{}
		for _, cs := range t(h) {
			for _, c := range cs {
				last[c.key] = c
			}
		}
		for k, c := range last {
			if c.new.ok {
				out = append(out, fmt.Sprintf("%s -> %s @%d", k, c.new.s, c.at))
			}
		}
		return out
	}
}

func isV(_, v string) bool      { return strings.HasPrefix(v, "v") || strings.HasPrefix(v, "w") }
func marked(k, v string) string { return k + ":" + v }

func tables() []oracle {
	mixed := []input{{topic: "in", value: small, nulls: 25, noKeys: 5}}
	in := source("in")
	byFirst := func(e event) (event, bool) {
		e.key = e.value
		return e, e.key.ok
	}
	return []oracle{
		{
			name: "table", inputs: mixed, whole: true,
			build:  func(b *stream.Builder) { toOut(table.From(b, topic("in"), "t"), "out") },
			model:  both(written(in, "out"), drops(false, "in")),
			stores: map[string]func([]event) []string{"t": sourceRows("in")},
		}, {
			name: "table-filter-map", inputs: mixed, whole: true,
			build: func(b *stream.Builder) {
				t := table.From(b, topic("in"), "t")
				toOut(table.Filter(t, isV), "kept")
				toOut(table.Materialize(table.MapValuesWithKey(table.FilterNot(t, isV), marked), "m"), "out")
			},
			model: both(written(filter(in, true, isV), "kept"), written(mapped(filter(in, true, not(isV)), marked), "out"), drops(false, "in")),
			stores: map[string]func([]event) []string{
				"t": sourceRows("in"), "m": rowsOf(mapped(filter(in, true, not(isV)), marked)),
			},
		}, {
			name: "table-filter-without-store", inputs: mixed, whole: true,
			build: func(b *stream.Builder) {
				toOut(table.Filter(table.From(b, topic("in"), "t", store.OnDemand()), isV), "out")
			},
			model: both(written(filter(in, false, isV), "out"), drops(false, "in")),
		}, {
			name: "to-table", inputs: mixed, whole: true,
			build:  func(b *stream.Builder) { toOut(table.ToTable(from(b, "in"), "t"), "out") },
			model:  both(written(in, "out"), drops(false, "in")),
			stores: map[string]func([]event) []string{"t": sourceRows("in")},
		}, {
			name: "to-table-behind-repartition", inputs: []input{{topic: "in", value: small, noKeys: 20}}, whole: true, arrive: byFirst,
			build: func(b *stream.Builder) {
				s := stream.SelectKey(from(b, "in"), func(_, v string) string { return v })
				toOut(table.ToTable(s, "t"), "out")
			},
			model:  written(in, "out"),
			stores: map[string]func([]event) []string{"t": sourceRows("in")},
		},
	}
}

func not(f func(k, v string) bool) func(k, v string) bool {
	return func(k, v string) bool { return !f(k, v) }
}

// streamTable joins the records of a stream with the rows that a table has when they arrive.
func streamTable(left bool, at func(h []event, key string) text) model {
	return each(func(h []event, e event) []row {
		switch {
		case e.topic != "in":
			return nil
		case !e.key.ok && !left:
			return []row{drop(noKey)}
		case !e.value.ok:
			return []row{drop(noValue)}
		}
		var v text
		if e.key.ok {
			v = at(h, e.key.s)
		}
		if !v.ok && !left {
			return nil
		}
		return []row{{"out", e.key, some(e.value.s + "+" + v.or("null")), e.at, e.n}}
	})
}

// plus and orNull are the joiners.
func plus(v, row string) string { return v + "+" + row }

func orNull(v, row string, ok bool) string { return v + "+" + text{row, ok}.or("null") }

func streamTables() []oracle {
	both2 := []input{{topic: "in", nulls: 10, noKeys: 10}, {topic: "rows", value: small, nulls: 20, noKeys: 5}}
	plain := rowIn("rows")
	kept := func(h []event, k string) text {
		if v := plain(h, k); v.ok && isV(k, v.s) {
			return some(k + ":" + v.s)
		}
		return text{}
	}
	return []oracle{
		{
			name: "stream-table", inputs: both2, whole: true,
			build: func(b *stream.Builder) {
				stream.To(join.StreamTable(from(b, "in"), table.From(b, topic("rows"), "rows"), "j", plus), topic("out"))
			},
			model: both(streamTable(false, plain), drops(false, "rows")),
		}, {
			name: "stream-table-left", inputs: both2, whole: true,
			build: func(b *stream.Builder) {
				stream.To(join.StreamTableLeft(from(b, "in"), table.From(b, topic("rows"), "rows"), "j", orNull), topic("out"))
			},
			model: both(streamTable(true, plain), drops(false, "rows")),
		}, {
			name: "stream-table-of-filtered-table", inputs: both2, whole: true,
			build: func(b *stream.Builder) {
				t := table.MapValuesWithKey(table.Filter(table.From(b, topic("rows"), "rows"), isV), marked)
				stream.To(join.StreamTableLeft(from(b, "in"), t, "j", orNull), topic("out"))
			},
			model: both(streamTable(true, kept), drops(false, "rows")),
		}, {
			name: "stream-table-behind-repartition", whole: true,
			inputs: []input{
				{topic: "in", value: func(r *rand.Rand, _ int) string { return abcd[r.IntN(4)] }},
				{topic: "rows", value: small, nulls: 20},
			},
			arrive: func(e event) (event, bool) {
				if e.topic == "in" {
					e.key = e.value
				}
				return e, true
			},
			build: func(b *stream.Builder) {
				s := stream.SelectKey(from(b, "in"), func(_, v string) string { return v })
				stream.To(join.StreamTable(s, table.From(b, topic("rows"), "rows"), "j", plus), topic("out"))
			},
			model: streamTable(false, plain),
		},
	}
}

func tableJoins() []oracle {
	sides := []input{{topic: "left", value: small, nulls: 25, noKeys: 4}, {topic: "right", value: small, nulls: 25, noKeys: 4}}
	l, r := source("left"), source("right")
	both2 := func(b *stream.Builder) (l, r table.KTable[string, string]) {
		return table.From(b, topic("left"), "left"), table.From(b, topic("right"), "right")
	}
	lost := drops(false, "left", "right")
	return []oracle{
		{
			name: "table-table", inputs: sides, whole: true, model: both(written(tableTable(inner, l, r), "out"), lost),
			build: func(b *stream.Builder) {
				l, r := both2(b)
				toOut(join.TableTable(l, r, plus), "out")
			},
		}, {
			name: "table-table-left", inputs: sides, whole: true, model: both(written(tableTable(left, l, r), "out"), lost),
			build: func(b *stream.Builder) {
				l, r := both2(b)
				toOut(join.TableTableLeft(l, r, orNull), "out")
			},
		}, {
			name: "table-table-outer", inputs: sides, whole: true,
			build: func(b *stream.Builder) {
				l, r := both2(b)
				toOut(table.Materialize(join.TableTableOuter(l, r, maybes), "joined"), "out")
			},
			model:  both(written(tableTable(outer, l, r), "out"), lost),
			stores: map[string]func([]event) []string{"joined": rowsOf(tableTable(outer, l, r)), "left": sourceRows("left")},
		}, {
			name: "table-three-way", whole: true,
			inputs: []input{{topic: "left", value: small, nulls: 25}, {topic: "right", value: small, nulls: 25}, {topic: "third", value: small, nulls: 25}},
			build: func(b *stream.Builder) {
				l, r := both2(b)
				lr := join.TableTableLeft(l, r, orNull)
				toOut(join.TableTableOuter(lr, table.From(b, topic("third"), "third"), maybes), "out")
			},
			model: written(tableTableOf(outer, tableTable(left, l, r), source("third"), unstored(left, l, r)), "out"),
		}, {
			name: "table-join-filtered", inputs: sides, whole: true,
			build: func(b *stream.Builder) {
				l, r := both2(b)
				toOut(table.Filter(join.TableTableOuter(table.Filter(l, isV), r, maybes), isV), "out")
			},
			model: both(written(filter(tableTable(outer, filter(l, true, isV), r), true, isV), "out"), lost),
		},
	}
}

// barred are values of two parts, some of which have no bar.
func barred(r *rand.Rand, _ int) string {
	if r.IntN(8) == 0 {
		return "none"
	}
	return string(rune('g'+r.IntN(3))) + "|" + dec(r.Int64N(4)-1)
}

func groupByBar(b *stream.Builder) table.Grouped[string, string] {
	return table.GroupBy(table.From(b, topic("in"), "t"), func(_, v string) (string, string, bool) {
		return beforeBar(v).s, afterBar(v).s, beforeBar(v).ok
	})
}

func tableGroups() []oracle {
	in := []input{{topic: "in", value: barred, nulls: 20, noKeys: 4}}
	of := source("in")
	lost := drops(false, "in")
	count := grouped{of: of, to: halves, start: some("0"), add: plusOne, sub: minusOne}
	reduce := grouped{of: of, to: halves, add: addPlus, sub: addMinus}
	concatenate := grouped{of: of, to: halves, start: some("0"), add: addPlus, sub: addMinus}
	sum := grouped{of: of, to: halves, start: some("0"), add: addNumbers, gone: func(_, n string) bool { return n == "0" },
		sub: func(n, v string) string { return dec(number(n) - number(v)) }}
	return []oracle{
		{
			name: "table-group-by-count", inputs: in, whole: true, spread: true,
			build:  func(b *stream.Builder) { toNumbers(table.CountRows(groupByBar(b), "n"), "out") },
			model:  both(written(count.table, "out"), lost),
			stores: map[string]func([]event) []string{"n": bare(rowsOf(count.table)), "t": sourceRows("in")},
		}, {
			name: "table-group-by-reduce", inputs: in, whole: true, spread: true,
			build:  func(b *stream.Builder) { toOut(table.ReduceRows(groupByBar(b), "red", addPlus, addMinus), "out") },
			model:  both(written(reduce.table, "out"), lost),
			stores: map[string]func([]event) []string{"red": rowsOf(reduce.table)},
		}, {
			name: "table-group-by-aggregate", inputs: in, whole: true, spread: true,
			build: func(b *stream.Builder) {
				zero := func() string { return "0" }
				t := table.AggregateRows(groupByBar(b), "agg", zero, func(_, v, agg string) string { return agg + "+" + v }, func(_, v, agg string) string { return agg + "-" + v })
				toOut(t, "out")
			},
			model:  both(written(concatenate.table, "out"), lost),
			stores: map[string]func([]event) []string{"agg": rowsOf(concatenate.table)},
		}, {
			name: "table-group-by-sum-delete-when", inputs: in, whole: true, spread: true,
			build: func(b *stream.Builder) {
				add := func(_, v string, n int64) int64 { return n + number(v) }
				sub := func(_, v string, n int64) int64 { return n - number(v) }
				toNumbers(table.AggregateRows(groupByBar(b), "sum", table.Zero, add, sub).DeleteWhen(func(_ string, n int64) bool { return n == 0 }), "out")
			},
			model: both(written(sum.table, "out"), lost),
		}, {
			name: "windowed-counts-grouped-by-key", scale: 10,
			inputs: []input{{topic: "in", keys: abcd[:2], noKeys: 3}},
			build: func(b *stream.Builder) {
				w := table.CountWindows(stream.GroupByKey(from(b, "in")), window.Tumbling(ms(10)).Grace(ms(10)), "w")
				g := table.GroupBy(w, func(k window.Key[string], n int64) (string, int64, bool) { return k.Key, n, true })
				add := func(_ string, n, sum int64) int64 { return sum + n }
				sub := func(_ string, n, sum int64) int64 { return sum - n }
				toNumbers(table.AggregateRows(g, "totals", table.Zero, add, sub), "out")
			},
			model: written(grouped{of: countBy(tumbling(10, 10), "in").table, start: some("0"), add: addNumbers,
				sub: func(a, b string) string { return dec(number(a) - number(b)) },
				to:  func(k, v string) (group, value text) { return some(k[:1]), some(v) }}.table, "out"),
		},
	}
}

func streamGlobals() []oracle {
	in := []input{{topic: "in", value: barred, nulls: 10, noKeys: 10}, {topic: "global", keys: []string{"g", "h", "i"}, value: small, nulls: 25}}
	key := func(r stream.Record[string, string]) (string, bool) {
		return beforeBar(r.Value).s, beforeBar(r.Value).ok
	}
	return []oracle{
		{
			name: "stream-global", inputs: in, whole: true,
			build: func(b *stream.Builder) {
				stream.To(join.StreamGlobal(from(b, "in"), table.Global(b, topic("global"), "g"), key, plus), topic("out"))
			},
			model: streamGlobal(false, globalKey),
		}, {
			name: "stream-global-left", inputs: in, whole: true,
			build: func(b *stream.Builder) {
				stream.To(join.StreamGlobalLeft(from(b, "in"), table.Global(b, topic("global"), "g"), key, orNull), topic("out"))
			},
			model: streamGlobal(true, globalKey),
		},
	}
}

// maybes is the joiner of outer joins.
func maybes(l, r join.Maybe[string]) string { return joiner(text{l.V, l.OK}, text{r.V, r.OK}) }

// oracles are all operators.
func oracles() (all []oracle) {
	for _, group := range [][]oracle{aggregations(), tables(), streamTables(), windowedTables(), tableJoins(), tableGroups(), streamGlobals(), suppressions(), streamStreams(), cogroups(), versionedTables(), foreignKeys(), processorStores(), keptStores(), keyedProcessors(), headerKeepers(), idles()} {
		all = append(all, group...)
	}
	return all
}
