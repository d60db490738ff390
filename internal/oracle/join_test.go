package oracle

import (
	"math/rand/v2"
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
			name: "stream-self-join", scale: 10, inputs: []input{{topic: "left", keys: abcd[:2], nulls: 4, noKeys: 4}},
			build: func(b *stream.Builder) {
				s := from(b, "left")
				stream.To(join.StreamStream(s, s, withinWindow(10, 10, 5), "j", plus), topic("out"))
			},
			model: selfJoined(10, 10, 5),
		},
	}
}

// selfJoined has each record come twice, from the left and then from the right.
func selfJoined(before, after, grace int64) model {
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
