package conformance

import (
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/window"
)

// around is a join window of the vectors' notation.
func around(before, after, grace int64) window.Join {
	return window.Within(0).Before(ms(before)).After(ms(after)).Grace(ms(grace))
}

func orNulls(l, r join.Maybe[string]) string { return l.Or("null") + "+" + r.Or("null") }

func innerJoin(before, after, grace int64) program {
	return program{build: func(b *stream.Builder) {
		to(join.StreamStream(from(b, "left"), from(b, "right"), around(before, after, grace), "j", plus), "out")
	}}
}

func leftJoin(before, after, grace int64, opts ...store.Option) program {
	return program{build: func(b *stream.Builder) {
		to(join.StreamStreamLeft(from(b, "left"), from(b, "right"), around(before, after, grace), "j", orNull, opts...), "out")
	}}
}

func outerJoin(before, after, grace int64) program {
	return program{build: func(b *stream.Builder) {
		to(join.StreamStreamOuter(from(b, "left"), from(b, "right"), around(before, after, grace), "j", orNulls), "out")
	}}
}

func selfJoin(opts ...store.Option) program {
	return program{build: func(b *stream.Builder) {
		s := from(b, "in")
		to(join.StreamStream(s, s, around(10, 10, 5), "j", plus, opts...), "out")
	}}
}

func keyAndWindow(k window.Key[string]) string {
	return at(at(k.Key+"@", k.Start)+"-", k.End)
}

var streamStream = map[string]program{
	"stream-stream-inner-join-before10-after10-grace0": innerJoin(10, 10, 0),
	"stream-stream-inner-join-before0-after10-grace5":  innerJoin(0, 10, 5),
	"stream-stream-inner-join-before0-after0-grace0":   innerJoin(0, 0, 0),
	"stream-stream-inner-join-before0-after0-grace5":   innerJoin(0, 0, 5),
	"stream-stream-inner-join-before20-after2-grace10": innerJoin(20, 2, 10),
	"stream-stream-inner-join-negative-before":         innerJoin(-5, 10, 10),
	"stream-stream-inner-join-with-key": {build: func(b *stream.Builder) {
		j := join.StreamStream(from(b, "left"), from(b, "right"), around(10, 10, 5), "j", plus, store.InMemory())
		to(stream.MapValuesWithKey(j, func(k, v string) string { return k + ":" + v }), "out")
	}},
	"stream-stream-left-join-before10-after10-grace5": leftJoin(10, 10, 5),
	"stream-stream-left-join-before10-after10-grace0": leftJoin(10, 10, 0),
	"stream-stream-left-join-before0-after10-grace5":  leftJoin(0, 10, 5),
	"stream-stream-left-join-before30-after0-grace0":  leftJoin(30, 0, 0),
	"stream-stream-left-join-in-memory":               leftJoin(10, 10, 5, store.InMemory()),
	"stream-stream-left-join-named": {build: func(b *stream.Builder) {
		l, r := selectKey(from(b, "left"), firstChar), selectKey(from(b, "right"), firstChar)
		to(join.StreamStreamLeft(l, r, around(10, 10, 5), "lj", orNull, store.Name("js")), "out")
	}},
	"stream-stream-outer-join-before10-after10-grace5": outerJoin(10, 10, 5),
	"stream-stream-outer-join-before10-after10-grace0": outerJoin(10, 10, 0),
	"stream-stream-outer-join-before2-after20-grace0":  outerJoin(2, 20, 0),
	"stream-self-join-unoptimized":                     selfJoin(),
	"stream-self-join-optimized":                       selfJoin(store.Shared()),
	"stream-three-way-inner-join": {build: func(b *stream.Builder) {
		ab := join.StreamStream(from(b, "a"), from(b, "b"), around(10, 10, 10), "ab", plus)
		to(join.StreamStream(ab, from(b, "c"), around(10, 10, 10), "abc", plus), "out")
	}},
	"named-joins": {build: func(b *stream.Builder) {
		s := join.StreamStreamOuter(from(b, "a"), from(b, "b"), around(10, 10, 0), "sj", orNulls, store.Name("sjs"))
		t := join.TableTable(unnamed(b, "t1"), unnamed(b, "t2"), plus).Named("tj")
		to(join.StreamTable(s, t, "st", plus), "out")
	}},
	"stream-join-then-windowed-count": {build: func(b *stream.Builder) {
		j := join.StreamStream(from(b, "left"), from(b, "right"), around(5, 5, 10), "j", plus)
		n := table.CountWindows(stream.GroupByKey(j), window.Tumbling(ms(20)).Grace(ms(20)), "n")
		to(stream.MapKeys(stream.MapValues(table.ToStream(n), dec), keyAndWindow), "out")
	}},
}
