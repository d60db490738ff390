package conformance

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/window"
)

type windowKey = window.Key[string]

// hour is the retention of most stores of the vectors.
var hour = store.Retention(time.Hour)

func wkey(k windowKey) string {
	return fmt.Sprintf("%s@%d-%d", k.Key, k.Start.UnixMilli(), k.End.UnixMilli())
}

// rendered is toStream().map((wk, v) -> (render(wk), f(v))), also for tombstones.
func rendered[V any](t table.KTable[windowKey, V], f func(V) string) texts {
	s := stream.MapRecordValues(table.ToStream(t), func(r stream.Record[windowKey, V]) (string, bool) {
		if r.Tombstone {
			return "", false
		}
		return f(r.Value), true
	})
	return stream.MapKeys(s, func(k windowKey) string { return wkey(k) })
}

func same(v string) string { return v }

// nulls is a stream in which null has become the text null.
func nulls(b *stream.Builder, name string) texts { return mapTexts(from(b, name), same) }

// countIn is a count in windows that is written to "out".
func countIn(w window.Any, name string, opts ...store.Option) program {
	return program{numbers: []string{name}, build: func(b *stream.Builder) {
		to(rendered(table.CountWindows(stream.GroupByKey(from(b, "in")), w, name, opts...), dec), "out")
	}}
}

// reduceIn is a reduce by concatenation.
func reduceIn(w window.Any, name string, opts ...store.Option) program {
	return program{build: func(b *stream.Builder) {
		to(rendered(table.ReduceWindows(stream.GroupByKey(from(b, "in")), w, name, concat, opts...), same), "out")
	}}
}

// aggregateIn is an aggregation of texts, in which null may be the text null.
func aggregateIn(w window.Fixed, source func(*stream.Builder, string) texts, name string, add func(k, v, agg string) string) program {
	return program{build: func(b *stream.Builder) {
		t := table.AggregateWindows(stream.GroupByKey(source(b, "in")), w, name, table.Zero, add, hour)
		to(rendered(t.DeleteWhen(func(_ windowKey, v string) bool { return v == null }), same), "out")
	}}
}

func aggregateSessions(w window.Session, zero string, source func(*stream.Builder, string) texts, add func(k, v, agg string) string, merge func(k, a, b string) string) program {
	return program{build: func(b *stream.Builder) {
		t := table.AggregateSessions(stream.GroupByKey(source(b, "in")), w, "ses", func() string { return zero }, add, merge, hour)
		to(rendered(t.DeleteWhen(func(_ windowKey, v string) bool { return v == null }), same), "out")
	}}
}

func values(b *stream.Builder, name string) texts { return from(b, name) }

func unlessDel(_, v, agg string) string { return nullAtDel(agg, v) }

const (
	automatic     = "KSTREAM-AGGREGATE-STATE-STORE-0000000001"
	autoReduced   = "KSTREAM-REDUCE-STATE-STORE-0000000001"
	echoAutomatic = "KSTREAM-AGGREGATE-STATE-STORE-0000000002"
)

func tumbling(grace int64) window.Time { return window.Tumbling(ms(10)).Grace(ms(grace)) }

func hopping(advance, grace int64) window.Time {
	return window.Hopping(ms(10), ms(advance)).Grace(ms(grace))
}

var timeWindows = map[string]program{
	"tumbling-count-size10-grace5":  countIn(tumbling(5), automatic),
	"tumbling-count-size10-nograce": countIn(tumbling(0), automatic),
	"tumbling-aggregate-stored": aggregateIn(window.Tumbling(ms(100)).Grace(ms(1000)), nulls, "win",
		func(_, v, agg string) string { return agg + "," + v }),
	"tumbling-aggregate-returning-null":              aggregateIn(tumbling(5), nulls, "win", unlessDel),
	"tumbling-reduce-concatenate":                    reduceIn(tumbling(20), "win", hour),
	"hopping-count-size10-advance5-grace5":           countIn(hopping(5, 5), automatic),
	"hopping-aggregate-size10-advance3-nograce":      aggregateIn(hopping(3, 0), nulls, "win", append3),
	"hopping-count-size10-advance10-equals-tumbling": countIn(hopping(10, 0), automatic),
	"unlimited-window-count-start10": {build: func(b *stream.Builder) {
		t := table.CountWindows(stream.GroupByKey(from(b, "in")), window.Unlimited(time.UnixMilli(10)), automatic)
		to(stream.Map(table.ToStream(t), func(k windowKey, n int64) (string, string) { return at(k.Key+"@", k.Start), dec(n) }), "out")
	}},
	"windowed-count-filter-at-least-2": {numbers: []string{"win"}, build: func(b *stream.Builder) {
		t := table.CountWindows(stream.GroupByKey(from(b, "in")), tumbling(10), "win", hour)
		to(rendered(table.Filter(t, func(_ windowKey, n int64) bool { return n >= 2 }), dec), "out")
	}},
	"process-echo-into-window-count": {build: func(b *stream.Builder) {
		echo := stream.Process(from(b, "in"), "echo-late", func(c *ctx) (func(rec) error, error) {
			return func(r rec) error {
				c.Forward(r)
				c.Forward(r.At(time.UnixMilli(max(0, r.Time.UnixMilli()-15))))
				return nil
			}, nil
		})
		to(rendered(table.CountWindows(stream.GroupByKey(echo).Named("echo"), tumbling(5), echoAutomatic), dec), "out")
	}},
	"wire-time-windowed-key": {build: func(b *stream.Builder) {
		t := table.CountWindows(stream.GroupByKey(from(b, "in")), tumbling(5), automatic)
		stream.To(table.ToStream(t), stream.NewTopic("out", window.TimeKey(serde.String, tumbling(5)), serde.Int64))
	}},
	"wire-window-changelog": {build: func(b *stream.Builder) {
		table.CountWindows(stream.GroupByKey(from(b, "in")), tumbling(5), "win", hour)
	}},
}

func sliding(d, grace int64) window.Slide { return window.Sliding(ms(d)).Grace(ms(grace)) }

var slidingWindows = map[string]program{
	"sliding-reduce-diff10-grace50":    reduceIn(sliding(10, 50), autoReduced),
	"sliding-count-diff10-nograce":     countIn(sliding(10, 0), automatic),
	"sliding-aggregate-stored":         aggregateIn(sliding(5, 10), values, "win", append3),
	"sliding-aggregate-returning-null": aggregateIn(sliding(10, 30), values, "win", unlessDel),
	"sliding-count-diff1000-grace500":  countIn(sliding(1000, 500), "win", hour),
}

func sessions(gap, grace int64) window.Session { return window.Sessions(ms(gap)).Grace(ms(grace)) }

var sessionWindows = map[string]program{
	"session-reduce-gap5-grace10": reduceIn(sessions(5, 10), autoReduced),
	"session-count-gap5-nograce":  countIn(sessions(5, 0), "ses", hour),
	"session-aggregate-custom-merger": aggregateSessions(sessions(10, 100), "i", nulls, append3,
		func(_, a, b string) string { return "(" + a + "|" + b + ")" }),
	"session-aggregate-returning-null": aggregateSessions(sessions(5, 20), "", values, unlessDel,
		func(_, a, b string) string { return a + b }),
	"session-count-gap100-grace50": countIn(sessions(100, 50), "ses", hour),
	"wire-session-windowed-key": {build: func(b *stream.Builder) {
		t := table.CountWindows(stream.GroupByKey(from(b, "in")), sessions(10, 5), automatic)
		stream.To(table.ToStream(t), stream.NewTopic("out", window.SessionKey(serde.String), serde.Int64))
	}},
	"wire-session-changelog": {build: func(b *stream.Builder) {
		table.CountWindows(stream.GroupByKey(from(b, "in")), sessions(5, 10), "ses", hour)
	}},
}

var emitOnClose = map[string]program{
	"tumbling-count-emit-on-close":                   countIn(tumbling(5).OnClose(), "win", hour),
	"tumbling-count-emit-on-close-default-retention": countIn(tumbling(5).OnClose(), automatic),
	"hopping-aggregate-emit-on-close":                aggregateIn(hopping(5, 0).OnClose(), nulls, "win", append3),
	"session-count-emit-on-close":                    countIn(sessions(5, 5).OnClose(), "ses", hour),
	"session-count-emit-on-close-default-retention":  countIn(sessions(5, 5).OnClose(), automatic),
	"sliding-count-emit-on-close":                    countIn(sliding(10, 5).OnClose(), "win", hour),
}

// cogrouped are the streams of the cogroups of the vectors.
func cogrouped(b *stream.Builder, source func(*stream.Builder, string) texts) table.Cogrouped[string, string] {
	return table.Cogroup(
		table.Add(stream.GroupByKey(source(b, "left")), prefixed("l")),
		table.Add(stream.GroupByKey(source(b, "right")), prefixed("r")))
}

func prefixed(p string) func(k, v, agg string) string {
	return func(_, v, agg string) string { return agg + p + v }
}

var cogroups = map[string]program{
	"cogroup-two-streams": {build: func(b *stream.Builder) {
		toTexts(table.AggregateCogroup(cogrouped(b, values), "cg", table.Zero), "out")
	}},
	"cogroup-with-repartitioned-input": {build: func(b *stream.Builder) {
		l := stream.GroupByKey(from(b, "left"))
		r := stream.GroupByKey(selectKey(from(b, "right"), firstChar)).Named("rg")
		c := table.Cogroup(table.Add(l, prefixed("l")), table.Add(r, prefixed("r")))
		toTexts(table.AggregateCogroup(c, "cg", table.Zero), "out")
	}},
	"cogroup-tumbling-10-grace5": {build: func(b *stream.Builder) {
		to(rendered(table.AggregateCogroupWindows(cogrouped(b, nulls), tumbling(5), "cgw", table.Zero, hour), same), "out")
	}},
	"cogroup-session-gap5-grace10": {build: func(b *stream.Builder) {
		t := table.AggregateCogroupSessions(cogrouped(b, nulls), sessions(5, 10), "cgs", table.Zero,
			func(_, x, y string) string { return x + y }, hour)
		to(rendered(t, same), "out")
	}},
	"cogroup-sliding-10-grace20": {build: func(b *stream.Builder) {
		to(rendered(table.AggregateCogroupWindows(cogrouped(b, values), sliding(10, 20), "cgl", table.Zero, hour), same), "out")
	}},
}

// refusedWindows are programs that Build must refuse.
var refusedWindows = map[string]func(b *stream.Builder){
	"advance-larger-than-size": func(b *stream.Builder) {
		table.CountWindows(stream.GroupByKey(from(b, "in")), window.Hopping(ms(10), ms(11)), "win")
	},
	"negative-grace": func(b *stream.Builder) {
		table.CountWindows(stream.GroupByKey(from(b, "in")), tumbling(-1), "win")
	},
	"retention-shorter-than-window": func(b *stream.Builder) {
		table.CountWindows(stream.GroupByKey(from(b, "in")), tumbling(5), "win", store.Retention(ms(14)))
	},
}
