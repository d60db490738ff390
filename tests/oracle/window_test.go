package oracle

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/window"
)

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// rendered writes a windowed table with its keys as the models write them.
func rendered(t table.KTable[window.Key[string], string], name string) {
	s := stream.MapKeys(table.ToStream(t), func(k window.Key[string]) string {
		return windowKey(k.Key, k.Start.UnixMilli(), k.End.UnixMilli())
	})
	stream.To(s, topic(name))
}

func renderedNumbers(t table.KTable[window.Key[string], int64], name string) {
	rendered(table.MapValues(t, dec), name)
}

// counted is a program that counts by windows.
func countProgram(w window.Any, opts ...store.Option) func(b *stream.Builder) {
	return func(b *stream.Builder) {
		renderedNumbers(table.CountWindows(stream.GroupByKey(from(b, "in")), w, "w", opts...), "out")
	}
}

func reduceProgram(w window.Any, opts ...store.Option) func(b *stream.Builder) {
	return func(b *stream.Builder) {
		rendered(table.ReduceWindows(stream.GroupByKey(from(b, "in")), w, "w", concat, opts...), "out")
	}
}

func appended(_, v, agg string) string { return agg + v }

func merged(_, a, b string) string { return a + b }

func windowEndsInZ(_ window.Key[string], agg string) bool { return strings.HasSuffix(agg, "z") }

func deletingProgram(w window.Fixed) func(b *stream.Builder) {
	return func(b *stream.Builder) {
		t := table.AggregateWindows(stream.GroupByKey(from(b, "in")), w, "w", table.Zero, appended).DeleteWhen(windowEndsInZ)
		rendered(t, "out")
	}
}

// keeping is as long as a session store keeps rows when the program says nothing.
func (w windowed) keeping() windowed {
	if w.kind == sessions {
		w.keep = 2*w.size + w.grace + 1
	}
	return w
}

func aggregated(w windows) windowed {
	x := concatBy(w, "in")
	x.nulls = false
	return x
}

func windowedTables() []oracle {
	few := []string{"a", "b"}
	in := []input{{topic: "in", keys: few, value: small, nulls: 5, noKeys: 5}}
	counts := func(name string, w windows, by window.Any, opts ...store.Option) oracle {
		return oracle{name: name, inputs: in, scale: 10, build: countProgram(by, opts...), model: written(countBy(w, "in").keeping().table, "out")}
	}
	closes := func(name string, w windows, by window.Any, opts ...store.Option) oracle {
		return oracle{name: name, inputs: in, scale: 10, build: countProgram(by, opts...), model: written(countBy(w, "in").onClose, "out")}
	}
	reduces := func(name string, w windows, by window.Any, opts ...store.Option) oracle {
		return oracle{name: name, inputs: in, scale: 10, build: reduceProgram(by, opts...), model: written(aggregated(w).keeping().table, "out")}
	}
	deletes := func(name string, w windows, by window.Fixed) oracle {
		return oracle{name: name, inputs: in, scale: 10, build: deletingProgram(by), model: written(aggregated(w).keeping().deletes(endsInZ).table, "out")}
	}
	keeps := func(o oracle, w windowed) oracle {
		o.stores = map[string]func([]event) []string{"w": rowsOf(w.table)}
		return o
	}
	all := []oracle{
		counts("tumbling-count", tumbling(10, 5), window.Tumbling(ms(10)).Grace(ms(5))),
		counts("hopping-count", hopping(10, 3, 4), window.Hopping(ms(10), ms(3)).Grace(ms(4))),
		keeps(reduces("tumbling-reduce", tumbling(10, 0), window.Tumbling(ms(10)), store.Retention(time.Hour)), aggregated(tumbling(10, 0))),
		keeps(reduces("sliding-reduce-kept", slidingBy(10, 7), window.Sliding(ms(10)).Grace(ms(7)), store.Retention(time.Hour)), aggregated(slidingBy(10, 7))),
		{
			name: "session-reduce-kept", inputs: in, scale: 10,
			build:  reduceProgram(window.Sessions(ms(10)).Grace(ms(10)), store.Retention(time.Hour)),
			model:  written(aggregated(sessionBy(10, 10)).table, "out"),
			stores: map[string]func([]event) []string{"w": rowsOf(aggregated(sessionBy(10, 10)).table)},
		},
		reduces("hopping-reduce-in-memory", hopping(10, 5, 20), window.Hopping(ms(10), ms(5)).Grace(ms(20)), store.InMemory()),
		deletes("tumbling-delete-when", tumbling(10, 15), window.Tumbling(ms(10)).Grace(ms(15))),
		{
			name: "unlimited-count", inputs: in, scale: 10,
			build: countProgram(window.Unlimited(time.UnixMilli(10))),
			model: written(countBy(windows{kind: unlimited, from: 10}, "in").table, "out"),
		},
		counts("sliding-count", slidingBy(10, 5), window.Sliding(ms(10)).Grace(ms(5))),
		counts("sliding-count-long-grace", slidingBy(10, 100), window.Sliding(ms(10)).Grace(ms(100))),
		reduces("sliding-reduce", slidingBy(5, 20), window.Sliding(ms(5)).Grace(ms(20))),
		deletes("sliding-delete-when", slidingBy(10, 30), window.Sliding(ms(10)).Grace(ms(30))),
		{
			name: "sliding-count-by-definition", inputs: in, scale: 10,
			build: countProgram(window.Sliding(ms(10)).Grace(time.Hour)),
			model: written(countBy(slidingBy(10, 3600000), "in").slidingByDefinition, "out"),
		},
		counts("session-count", sessionBy(5, 0), window.Sessions(ms(5))),
		counts("session-count-with-grace", sessionBy(5, 10), window.Sessions(ms(5)).Grace(ms(10)), store.InMemory()),
		reduces("session-reduce", sessionBy(10, 30), window.Sessions(ms(10)).Grace(ms(30))),
		{
			name: "session-delete-when", inputs: in, scale: 10,
			build: func(b *stream.Builder) {
				t := table.AggregateSessions(stream.GroupByKey(from(b, "in")), window.Sessions(ms(5)).Grace(ms(20)), "w", table.Zero, appended, merged)
				rendered(t.DeleteWhen(windowEndsInZ), "out")
			},
			model: written(aggregated(sessionBy(5, 20)).keeping().deletes(endsInZ).table, "out"),
		},
		{
			name: "filter-of-tumbling-count", inputs: in, scale: 10,
			build: func(b *stream.Builder) {
				t := table.CountWindows(stream.GroupByKey(from(b, "in")), window.Tumbling(ms(10)).Grace(ms(10)), "w")
				renderedNumbers(table.Filter(t, func(_ window.Key[string], n int64) bool { return n%3 == 0 }), "out")
			},
			model: written(filter(countBy(tumbling(10, 10), "in").table, true, func(_, v string) bool { return number(v)%3 == 0 }), "out"),
		},
		{
			name: "tumbling-count-behind-repartition", scale: 10,
			inputs: []input{{topic: "in", value: func(r *rand.Rand, _ int) string { return fmt.Sprint(r.IntN(3)) }}},
			arrive: func(e event) (event, bool) {
				e.key = e.value
				return e, true
			},
			build: func(b *stream.Builder) {
				g := stream.GroupBy(from(b, "in"), func(_, v string) string { return v })
				renderedNumbers(table.CountWindows(g, window.Tumbling(ms(10)).Grace(ms(5)), "w"), "out")
			},
			model: written(countBy(tumbling(10, 5), "in").table, "out"),
		},
		closes("tumbling-count-on-close", tumbling(10, 5), window.Tumbling(ms(10)).Grace(ms(5)).OnClose()),
		closes("hopping-count-on-close", hopping(10, 5, 0), window.Hopping(ms(10), ms(5)).OnClose(), store.Retention(time.Hour)),
		closes("sliding-count-on-close", slidingBy(10, 5), window.Sliding(ms(10)).Grace(ms(5)).OnClose()),
		// How long a session is there for others to merge with it follows from commits otherwise: it must not expire before it is sent.
		closes("session-count-on-close", sessionBy(5, 5), window.Sessions(ms(5)).Grace(ms(5)).OnClose(), store.Retention(time.Hour)),
		closes("session-count-on-close-in-memory", sessionBy(5, 5), window.Sessions(ms(5)).Grace(ms(5)).OnClose(), store.InMemory(), store.Retention(time.Hour)),
	}
	return all
}
