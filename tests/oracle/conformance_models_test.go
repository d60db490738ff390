package oracle

import (
	"strings"
)

// beforeBar and afterBar are the parts of a value before and after "|", null if it has none.
func beforeBar(v string) text {
	b, _, ok := strings.Cut(v, "|")
	return text{b, ok}
}

func afterBar(v string) text {
	_, a, ok := strings.Cut(v, "|")
	return text{a, ok}
}

func halves(_, v string) (group, value text) { return beforeBar(v), afterBar(v) }

func addPlus(agg, v string) string  { return agg + "+" + v }
func addMinus(agg, v string) string { return agg + "-" + v }

func appendText(e event, agg string) string { return agg + e.value.or("null") }

func appendValue(e event, agg string) string { return agg + e.value.s }

func addOne(_ event, n string) string { return dec(number(n) + 1) }

func addNumbers(a, b string) string { return dec(number(a) + number(b)) }

// count and concatenation by windows.
func countBy(w windows, topics ...string) windowed {
	return windowed{windows: w, topics: topics, nulls: true, start: "0", add: addOne, merge: addNumbers}
}

func concatBy(w windows, topics ...string) windowed {
	return windowed{windows: w, topics: topics, nulls: true, add: appendText, merge: concat}
}

func (w windowed) deletes(gone func(k, agg string) bool) windowed {
	w.gone = gone
	return w
}

func hopping(size, advance, grace int64) windows { return windows{timed, size, advance, grace, 0} }
func slidingBy(diff, grace int64) windows        { return windows{sliding, diff, 0, grace, 0} }
func sessionBy(gap, grace int64) windows         { return windows{sessions, gap, 0, grace, 0} }

func del(_, agg string) bool { return strings.HasSuffix(agg, "del") }

// sides has left append l and its value, right r and its value.
func sides(e event, agg string) string { return agg + e.topic[:1] + e.value.or("null") }

func cogroupBy(w windows) windowed {
	return windowed{windows: w, topics: []string{"left", "right"}, nulls: true, add: sides, merge: concat}
}

func startsWithX(_, v string) bool { return strings.HasPrefix(v, "x") }

func joined(kind joinKind, before, after, grace int64) model {
	return streamStream{kind, before, after, grace, "left", "right", "out"}.model
}

// rename has a model that knows the stream as "in" and the table as "rows" work for topics of other names.
func rename(m model, names ...string) model {
	r := strings.NewReplacer(names...)
	return func(h []event) [][]row {
		own := make([]event, len(h))
		for i, e := range h {
			e.topic = r.Replace(e.topic)
			own[i] = e
		}
		return m(own)
	}
}

// modelled are models that know the topologies of tests/conformance, by their names.
func modelled() map[string]model {
	in, l, r := source("in"), source("left"), source("right")
	out := func(t tableModel) model { return written(t, "out") }
	fks := func(left bool, l tableModel) model {
		return out(foreignKey{left, l, r, func(_, v string) text { return beforeBar(v) }, joiner}.table)
	}
	regrouped := func(add, sub func(string, string) string, start text) model {
		return out(grouped{of: in, to: halves, start: start, add: add, sub: sub}.table)
	}
	latestOf := fold{topics: []string{"left"}, reduce: true, add: func(e event, _ string) string { return e.value.s }}
	concatOf := fold{topics: []string{"left"}, reduce: true, add: appendValue}
	return map[string]model{
		"count":                      out(counting("in").table),
		"aggregate-concatenate":      out(fold{topics: []string{"in"}, add: appendValue}.table),
		"aggregate-returning-null":   out(fold{topics: []string{"in"}, add: appendValue, gone: del}.table),
		"table-stored":               out(in),
		"table-filter":               out(filter(in, false, startsWithX)),
		"table-filter-stored-source": out(filter(in, true, startsWithX)),
		"stream-table-inner-join":    rename(streamTable(false, rowNow), "stream", "in", "table", "rows"),
		"stream-table-left-join":     rename(streamTable(true, rowNow), "stream", "in", "table", "rows"),

		"cogroup-two-streams":          out(fold{topics: []string{"left", "right"}, add: sides}.table),
		"cogroup-tumbling-10-grace5":   out(cogroupBy(tumbling(10, 5)).table),
		"cogroup-session-gap5-grace10": out(cogroupBy(sessionBy(5, 10)).table),
		"cogroup-sliding-10-grace20":   out(cogroupBy(slidingBy(10, 20)).table),

		"tumbling-count-size10-grace5":                   out(countBy(tumbling(10, 5), "in").table),
		"tumbling-count-size10-nograce":                  out(countBy(tumbling(10, 0), "in").table),
		"tumbling-aggregate-returning-null":              out(concatBy(tumbling(10, 5), "in").deletes(del).table),
		"tumbling-reduce-concatenate":                    out(concatBy(tumbling(10, 20), "in").table),
		"hopping-count-size10-advance5-grace5":           out(countBy(hopping(10, 5, 5), "in").table),
		"hopping-aggregate-size10-advance3-nograce":      out(concatBy(hopping(10, 3, 0), "in").table),
		"hopping-count-size10-advance10-equals-tumbling": out(countBy(hopping(10, 10, 0), "in").table),
		"windowed-count-filter-at-least-2":               out(filter(countBy(tumbling(10, 10), "in").table, true, func(_, v string) bool { return number(v) >= 2 })),
		"windowed-counts-left-joined":                    out(tableTable(left, countBy(tumbling(10, 0), "left").table, countBy(tumbling(10, 0), "right").table).slashed()),
		"windowed-count-regrouped-by-key": out(grouped{of: countBy(tumbling(10, 10), "in").table, start: some("0"), add: addNumbers,
			sub: func(a, b string) string { return dec(number(a) - number(b)) },
			to:  func(k, v string) (group, value text) { return some(k[:strings.LastIndex(k, "@")]), some(v) }}.table),
		"sliding-reduce-diff10-grace50":    out(concatBy(slidingBy(10, 50), "in").table),
		"sliding-count-diff10-nograce":     out(countBy(slidingBy(10, 0), "in").table),
		"sliding-aggregate-stored":         out(concatBy(slidingBy(5, 10), "in").table),
		"sliding-aggregate-returning-null": out(concatBy(slidingBy(10, 30), "in").deletes(del).table),
		"sliding-count-diff1000-grace500":  out(countBy(slidingBy(1000, 500), "in").table),
		"session-reduce-gap5-grace10":      out(concatBy(sessionBy(5, 10), "in").table),
		"session-count-gap5-nograce":       out(countBy(sessionBy(5, 0), "in").table),
		"session-aggregate-returning-null": out(concatBy(sessionBy(5, 20), "in").deletes(del).table),
		"session-count-gap100-grace50":     out(countBy(sessionBy(100, 50), "in").table),

		"tumbling-count-emit-on-close":                   out(countBy(tumbling(10, 5), "in").onClose),
		"tumbling-count-emit-on-close-default-retention": out(countBy(tumbling(10, 5), "in").onClose),
		"hopping-aggregate-emit-on-close":                out(concatBy(hopping(10, 5, 0), "in").onClose),
		"session-count-emit-on-close":                    out(countBy(sessionBy(5, 5), "in").onClose),
		"sliding-count-emit-on-close":                    out(countBy(slidingBy(10, 5), "in").onClose),

		"suppress-final-tumbling-size10-grace5":          out(untilClose(tumbling(10, 5), countBy(tumbling(10, 5), "in").table)),
		"suppress-final-hopping-size10-advance5-nograce": out(untilClose(hopping(10, 5, 0), concatBy(hopping(10, 5, 0), "in").table)),
		"suppress-final-session-gap5-nograce":            out(untilClose(sessionBy(5, 0), countBy(sessionBy(5, 0), "in").table)),
		"suppress-final-sliding-diff10-grace7":           out(untilClose(slidingBy(10, 7), countBy(slidingBy(10, 7), "in").table)),
		"suppress-time-limit-10-unbounded":               out(untilTime(10, noLimit, in)),
		"suppress-time-limit-10-max-records-2":           out(untilTime(10, 2, in)),
		"suppress-time-limit-0":                          out(untilTime(0, noLimit, in)),
		"suppress-of-filtered-table":                     out(untilTime(5, noLimit, filter(in, true, func(_, v string) bool { return v != "x" }))),
		"suppress-before-group-by":                       out(grouped{of: untilTime(10, noLimit, in), to: halves, start: some(""), add: addPlus, sub: addMinus}.table),

		"stream-stream-inner-join-before10-after10-grace0": joined(inner, 10, 10, 0),
		"stream-stream-inner-join-before0-after10-grace5":  joined(inner, 0, 10, 5),
		"stream-stream-inner-join-before0-after0-grace5":   joined(inner, 0, 0, 5),
		"stream-stream-inner-join-before20-after2-grace10": joined(inner, 20, 2, 10),
		"stream-stream-inner-join-negative-before":         joined(inner, -5, 10, 10),
		"stream-stream-left-join-before10-after10-grace5":  joined(left, 10, 10, 5),
		"stream-stream-left-join-before10-after10-grace0":  joined(left, 10, 10, 0),
		"stream-stream-left-join-before0-after10-grace5":   joined(left, 0, 10, 5),
		"stream-stream-left-join-before30-after0-grace0":   joined(left, 30, 0, 0),
		"stream-stream-outer-join-before10-after10-grace5": joined(outer, 10, 10, 5),
		"stream-stream-outer-join-before10-after10-grace0": joined(outer, 10, 10, 0),
		"stream-stream-outer-join-before2-after20-grace0":  joined(outer, 2, 20, 0),

		"stream-versioned-table-left-join":               rename(both(streamVersioned(true, -1, 50), written(versionedSource("rows", 50), "table-out")), "stream", "in", "table", "rows"),
		"stream-versioned-table-inner-join-long-history": rename(streamVersioned(false, -1, 10000), "stream", "in", "table", "rows"),
		"stream-versioned-table-left-join-grace10":       rename(streamVersioned(true, 10, 10000), "stream", "in", "table", "rows"),
		"global-table-inner-join-by-value":               rename(streamGlobal(false, globalKey), "stream", "in"),
		"global-table-left-join-by-value":                rename(streamGlobal(true, globalKey), "stream", "in"),
		"global-table-inner-join-by-key":                 rename(streamGlobal(false, func(e event) text { return e.key }), "stream", "in"),
		"global-table-left-join-by-key":                  rename(streamGlobal(true, func(e event) text { return e.key }), "stream", "in"),

		"table-table-inner-join":           out(tableTable(inner, l, r)),
		"table-table-left-join":            out(tableTable(left, l, r)),
		"table-table-outer-join":           out(tableTable(outer, l, r)),
		"table-three-way-join":             out(tableTableOf(outer, tableTable(left, source("a"), source("b")), source("c"), unstored(left, source("a"), source("b")))),
		"versioned-table-table-inner-join": out(tableTable(inner, versionedSource("left", 10000), versionedSource("right", 10000))),
		"table-join-with-aggregation": out(grouped{of: tableTable(outer, concatOf.table, r), start: some("0"), add: plusOne, sub: minusOne,
			to: func(_, v string) (group, value text) { return text{firstOf(v), v != ""}, some(v) }}.table),

		"foreign-key-inner-join":           fks(false, l),
		"foreign-key-inner-join-stored":    fks(false, l),
		"foreign-key-left-join":            fks(true, l),
		"foreign-key-join-of-aggregation":  fks(false, latestOf.table),
		"foreign-key-inner-join-versioned": out(foreignKey{false, versionedSource("left", 10000), versionedSource("right", 10000), func(_, v string) text { return beforeBar(v) }, joiner}.table),
		"versioned-table-filter":           out(filter(versionedSource("in", 10000), false, startsWithX)),
		"table-group-by-aggregate":         regrouped(addPlus, addMinus, some("0")),
		"table-group-by-count":             regrouped(plusOne, minusOne, some("0")),
		"table-group-by-reduce":            regrouped(addPlus, addMinus, text{}),
		"versioned-table-group-by-aggregate": out(grouped{of: versionedSource("in", 10000), start: some(""), add: addPlus, sub: addMinus,
			to: func(_, v string) (group, value text) { return some("all"), some(v) }}.table),
	}
}

const noLimit = 1 << 30

func plusOne(n, _ string) string  { return dec(number(n) + 1) }
func minusOne(n, _ string) string { return dec(number(n) - 1) }

func firstOf(v string) string {
	for _, c := range v {
		return string(c)
	}
	return ""
}

func globalKey(e event) text { return beforeBar(e.value.s) }

func rowNow(h []event, key string) text {
	v, _ := latest(h, "rows", key)
	return v
}

// slashed writes a join's result with a slash.
func (t tableModel) slashed() tableModel {
	return mapped(t, func(_, v string) string { return strings.Replace(v, "+", "/", 1) })
}
