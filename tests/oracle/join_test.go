package oracle

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/window"
)

// within is a window of a join.
func withinWindow(before, after, grace int64) window.Join {
	return window.Within(0).Before(ms(before)).After(ms(after)).Grace(ms(grace))
}

func streamStreams() []oracle {
	sides := []input{{topic: "left", keys: abcd[:2], nulls: 4, noKeys: 6}, {topic: "right", keys: abcd[:2], nulls: 4, noKeys: 6}}
	streams := func(b *stream.Builder) (l, r stream.KStream[string, string]) {
		return from(b, "left"), from(b, "right")
	}
	joins := func(name string, kind joinKind, before, after, grace int64, opts ...store.Option) oracle {
		w := withinWindow(before, after, grace)
		return oracle{
			name: name, inputs: sides, scale: max(before, after), model: joined(kind, before, after, grace),
			build: func(b *stream.Builder) {
				l, r := streams(b)
				var s stream.KStream[string, string]
				switch kind {
				case inner:
					s = join.StreamStream(l, r, w, "j", plus, opts...)
				case left:
					s = join.StreamStreamLeft(l, r, w, "j", orNull, opts...)
				default:
					s = join.StreamStreamOuter(l, r, w, "j", maybes, opts...)
				}
				stream.To(s, topic("out"))
			},
		}
	}
	return []oracle{
		joins("stream-stream", inner, 10, 10, 5),
		joins("stream-stream-no-grace", inner, 20, 2, 0),
		joins("stream-stream-same-time", inner, 0, 0, 0),
		joins("stream-stream-later-only", inner, -5, 10, 10, store.InMemory()),
		joins("stream-stream-left", left, 10, 10, 5),
		joins("stream-stream-left-before-only", left, 30, 0, 0),
		joins("stream-stream-left-in-memory", left, 0, 10, 20, store.InMemory()),
		joins("stream-stream-outer", outer, 10, 10, 5),
		joins("stream-stream-outer-uneven", outer, 2, 20, 0),
		{
			name: "stream-stream-outer-behind-repartition", scale: 10,
			inputs: []input{
				{topic: "left", value: func(r *rand.Rand, n int) string { return abcd[r.IntN(2)] + dec(int64(n)) }},
				{topic: "right", value: func(r *rand.Rand, n int) string { return abcd[r.IntN(2)] + dec(int64(n)) }},
			},
			arrive: func(e event) (event, bool) {
				e.key = some(firstOf(e.value.s))
				return e, true
			},
			build: func(b *stream.Builder) {
				l, r := streams(b)
				first := func(_, v string) string { return firstOf(v) }
				stream.To(join.StreamStreamOuter(stream.SelectKey(l, first), stream.SelectKey(r, first), withinWindow(10, 10, 0), "j", maybes), topic("out"))
			},
			model: joined(outer, 10, 10, 0),
		},
		{
			name: "stream-self-join-on-one-store", scale: 10, inputs: []input{{topic: "left", keys: abcd[:2], nulls: 4, noKeys: 4}},
			build: func(b *stream.Builder) {
				s := from(b, "left")
				stream.To(join.StreamStream(s, s, withinWindow(4, 12, 5), "j", plus, store.Shared()), topic("out"))
			},
			model: selfJoined(4, 12, 5, 1),
		},
		{
			name: "stream-self-join", scale: 10, inputs: []input{{topic: "left", keys: abcd[:2], nulls: 4, noKeys: 4}},
			build: func(b *stream.Builder) {
				s := from(b, "left")
				stream.To(join.StreamStream(s, s, withinWindow(10, 10, 5), "j", plus), topic("out"))
			},
			model: selfJoined(10, 10, 5, 2),
		},
	}
}

// selfJoined has each record come twice, from the left and then from the right. What is dropped is counted once or twice.
func selfJoined(before, after, grace int64, counted int) model {
	m := joined(inner, before, after, grace)
	return func(h []event) [][]row {
		var twice []event
		var at []int
		for i, e := range h {
			twice, at = append(twice, e), append(at, i)
			if e.kind == record {
				e.topic = "right"
				twice, at = append(twice, e), append(at, i)
			}
		}
		out := make([][]row, len(h))
		for i, rows := range m(twice) {
			if counted == 1 && i > 0 && at[i] == at[i-1] {
				rows = slices.DeleteFunc(rows, func(r row) bool { return r.topic == dropped })
			}
			out[at[i]] = append(out[at[i]], rows...)
		}
		return out
	}
}

func cogroups() []oracle {
	sides2 := []input{{topic: "left", keys: abcd[:2], value: small, nulls: 5, noKeys: 5}, {topic: "right", keys: abcd[:2], value: small, nulls: 5, noKeys: 5}}
	group := func(b *stream.Builder) table.Cogrouped[string, string] {
		return table.Cogroup(
			table.Add(stream.GroupByKey(from(b, "left")), func(_, v, agg string) string { return agg + "l" + v }),
			table.Add(stream.GroupByKey(from(b, "right")), func(_, v, agg string) string { return agg + "r" + v }),
		)
	}
	by := func(w windows) model {
		x := cogroupBy(w)
		x.nulls = false
		return written(x.table, "out")
	}
	plain := fold{topics: []string{"left", "right"}, add: sides}
	return []oracle{
		{
			name: "cogroup", inputs: sides2, whole: true,
			build:  func(b *stream.Builder) { toOut(table.AggregateCogroup(group(b), "cg", table.Zero), "out") },
			model:  both(written(plain.table, "out"), drops(true, "left", "right")),
			stores: map[string]func([]event) []string{"cg": plain.rows},
		}, {
			name: "cogroup-tumbling", inputs: sides2, scale: 10, model: by(tumbling(10, 5)),
			build: func(b *stream.Builder) {
				rendered(table.AggregateCogroupWindows(group(b), window.Tumbling(ms(10)).Grace(ms(5)), "cg", table.Zero, store.Retention(time.Hour)), "out")
			},
		}, {
			name: "cogroup-sliding", inputs: sides2, scale: 10, model: by(slidingBy(10, 20)),
			build: func(b *stream.Builder) {
				rendered(table.AggregateCogroupWindows(group(b), window.Sliding(ms(10)).Grace(ms(20)), "cg", table.Zero, store.Retention(time.Hour)), "out")
			},
		}, {
			name: "cogroup-sessions", inputs: sides2, scale: 10, model: by(sessionBy(5, 10)),
			build: func(b *stream.Builder) {
				rendered(table.AggregateCogroupSessions(group(b), window.Sessions(ms(5)).Grace(ms(10)), "cg", table.Zero, merged, store.Retention(time.Hour)), "out")
			},
		},
	}
}

func versionedTables() []oracle {
	const short, long = 50, 10000
	in := []input{{topic: "in", keys: abcd[:3], nulls: 5, noKeys: 8}, {topic: "rows", keys: abcd[:3], nulls: 20, noKeys: 3}}
	rows := func(b *stream.Builder, history int64) table.KTable[string, string] {
		return table.From(b, topic("rows"), "t", store.Versions(ms(history)))
	}
	updates := func(history int64) model {
		return written(versionedSource("rows", history), "rows-out")
	}
	joins := func(name string, leftJoin bool, grace, history int64) oracle {
		return oracle{
			name: name, inputs: in, scale: 20, model: both(streamVersioned(leftJoin, grace, history), updates(history)),
			build: func(b *stream.Builder) {
				t := rows(b, history)
				var opts []join.TableOption
				if grace >= 0 {
					opts = append(opts, join.Grace(ms(grace)))
				}
				if leftJoin {
					stream.To(join.StreamTableLeft(from(b, "in"), t, "j", orNull, opts...), topic("out"))
				} else {
					stream.To(join.StreamTable(from(b, "in"), t, "j", plus, opts...), topic("out"))
				}
				toOut(t, "rows-out")
			},
			stores: map[string]func([]event) []string{"t": versionRows("rows", history)},
		}
	}
	sides := []input{{topic: "left", value: small, nulls: 20, noKeys: 3}, {topic: "right", value: small, nulls: 20, noKeys: 3}}
	l, r := versionedSource("left", short), versionedSource("right", short)
	groups := grouped{of: byTask(versionedSource("in", short)), to: halves, add: addPlus, sub: addMinus}
	return []oracle{
		joins("stream-versioned", false, -1, short),
		joins("stream-versioned-left", true, -1, long),
		joins("stream-versioned-grace", false, 20, short),
		joins("stream-versioned-left-grace", true, 30, long),
		{
			name: "versioned-table-table-outer", inputs: sides, scale: 20, model: written(tableTable(outer, l, r), "out"),
			build: func(b *stream.Builder) {
				of := func(name string) table.KTable[string, string] {
					return table.From(b, topic(name), name, store.Versions(ms(short)))
				}
				toOut(join.TableTableOuter(of("left"), of("right"), maybes), "out")
			},
		}, {
			name: "versioned-table-group-by", inputs: []input{{topic: "in", value: barred, nulls: 20}}, scale: 20, spread: true,
			build: func(b *stream.Builder) {
				t := table.From(b, topic("in"), "t", store.Versions(ms(short)))
				g := table.GroupBy(t, func(_, v string) (string, string, bool) {
					return beforeBar(v).s, afterBar(v).s, beforeBar(v).ok
				})
				toOut(table.ReduceRows(g, "red", addPlus, addMinus), "out")
			},
			model: written(groups.table, "out"), whole: true,
		}, {
			name: "versioned-table-filter", inputs: []input{{topic: "in", value: small, nulls: 20, noKeys: 3}}, scale: 20,
			build: func(b *stream.Builder) {
				toOut(table.Filter(table.From(b, topic("in"), "t", store.Versions(ms(short))), isV), "out")
			},
			model: written(filter(versionedSource("in", short), false, isV), "out"),
		},
	}
}
