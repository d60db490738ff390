package conformance

import (
	"iter"
	"strings"
	"time"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

var stateless = map[string]program{
	"filter-and-filter-not": {build: func(b *stream.Builder) {
		in := from(b, "in")
		p := func(r rec) bool { return !r.Tombstone && strings.HasPrefix(r.Value, "x") }
		to(stream.FilterRecords(in, p), "kept")
		to(stream.FilterRecords(in, func(r rec) bool { return !p(r) }), "rest")
	}},
	"map-swap-key-and-value": {build: func(b *stream.Builder) {
		to(stream.MapRecords(from(b, "in"), swap), "out")
	}},
	"map-values-with-key": {build: func(b *stream.Builder) {
		to(stream.MapRecordValues(from(b, "in"), func(r rec) (string, bool) { return str(r.Key, r.NoKey) + ":" + value(r), true }), "out")
	}},
	"flat-map-tokens": {build: func(b *stream.Builder) { to(stream.FlatMapRecords(from(b, "in"), tokensAsKeys), "out") }},
	"flat-map-values-tokens-count": {numbers: []string{"counts"}, build: func(b *stream.Builder) {
		toNumbers(table.Count(stream.GroupByKey(stream.FlatMapRecordValues(from(b, "in"), tokensOrNone)), "counts"), "out")
	}},
	"select-key-first-character": {build: func(b *stream.Builder) { to(selectKey(from(b, "in"), firstChar), "out") }},
	"merge-two-topics":           {build: func(b *stream.Builder) { to(stream.Merge(from(b, "left"), from(b, "right")), "out") }},
	"merge-three-transformed-topics": {build: func(b *stream.Builder) {
		x := mapTexts(from(b, "a"), func(v string) string { return "A:" + v })
		y := stream.FilterRecords(from(b, "b"), stream.HasValue)
		to(stream.Merge(stream.Merge(x, y), from(b, "c")), "out")
	}},
	"split-named-branches-and-default": {build: func(b *stream.Builder) {
		of, rest := stream.Split(from(b, "in"), starts("a"), starts("b", "ab"))
		to(of[0].Named("br-a"), "br-a")
		to(of[1].Named("br-2"), "br-2")
		to(rest.Named("br-0"), "br-0")
	}},
	"split-without-default": {build: func(b *stream.Builder) {
		of, _ := stream.Split(from(b, "in"), starts("a"), starts("b"))
		to(stream.MapValues(of[0], func(v string) string { return v + "!" }), "one")
		to(of[1], "two")
	}},
	"children-run-depth-first": {build: func(b *stream.Builder) {
		in := from(b, "in")
		add := func(s texts, suffix string) texts { return mapTexts(s, func(v string) string { return v + suffix }) }
		to(add(in, "1"), "out")
		two := add(in, "2")
		to(add(two, "a"), "out")
		to(add(two, "b"), "out")
		to(add(stream.Peek(in, func(rec) {}), "3"), "out")
	}},
	"dynamic-sink-topic": {build: func(b *stream.Builder) {
		stream.ToFunc(from(b, "in1", "in2"), topic("chosen"), func(r rec) string {
			if r.NoKey {
				return r.Source().Topic + "-none"
			}
			return r.Source().Topic + "-" + r.Key
		})
	}},
	"multi-topic-and-pattern-sources": {build: func(b *stream.Builder) {
		to(stream.MapValues(from(b, "in2", "in1"), func(v string) string { return "m:" + v }), "out")
		p := stream.FromPattern(b, stream.NewPattern("p-.*", serde.String, serde.String))
		to(stream.MapValues(p, func(v string) string { return "p:" + v }), "out")
	}},
	"explicit-repartition": {build: func(b *stream.Builder) {
		to(mapTexts(stream.Repartition(from(b, "in"), "rp", stream.Partitions(3)), func(v string) string { return v + "!" }), "out")
	}},
	"process-routes-to-named-children": {build: func(b *stream.Builder) {
		evens, odds := stream.NewOutput("evens", serde.String, serde.String), stream.NewOutput("odds", serde.String, serde.String)
		r := stream.Process(from(b, "in"), "router", func(c *ctx) (func(rec) error, error) {
			even, odd := evens.In(c), odds.In(c)
			return func(r rec) error {
				r = r.At(r.Time.Add(time.Millisecond)).With("routed", []byte("yes"))
				if isEven := strings.HasPrefix(r.Value, "e"); r.Tombstone || isEven {
					even(r)
				}
				if r.Tombstone || !strings.HasPrefix(r.Value, "e") {
					odd(r)
				}
				return nil
			}, nil
		}, evens, odds)
		to(mapTexts(stream.Side(r, evens), func(v string) string { return "e:" + v }), "evens-out")
		to(mapTexts(stream.Side(r, odds), func(v string) string { return "o:" + v }), "odds-out")
	}},
	"process-values-forwards-twice": {build: func(b *stream.Builder) {
		to(stream.ProcessValues(from(b, "in"), "twice", func(c *stream.ValueContext[string]) (func(rec) error, error) {
			return func(r rec) error {
				c.Forward(value(r) + at("@", r.Time))
				c.ForwardAt("late", r.Time.Add(5*time.Millisecond))
				return nil
			}, nil
		}), "out")
	}},
}

// tokensAsKeys makes a record of each token: its key is the token, its value the old key.
func tokensAsKeys(r rec) iter.Seq[rec] {
	return func(yield func(rec) bool) {
		for v := range tokensOrNone(r) {
			o := stream.WithValue(stream.WithKey(r, v), r.Key)
			if r.NoKey {
				o = o.Deleted()
			}
			if !yield(o) {
				return
			}
		}
	}
}

// tokensOrNone are the tokens of a value, none for null.
func tokensOrNone(r rec) iter.Seq2[string, bool] {
	return func(yield func(string, bool) bool) {
		if r.Tombstone {
			return
		}
		for v := range tokens(r.Value) {
			if !yield(v, true) {
				return
			}
		}
	}
}

// starts is true of records whose value starts with one of the prefixes.
func starts(prefixes ...string) func(rec) bool {
	return func(r rec) bool {
		for _, p := range prefixes {
			if !r.Tombstone && strings.HasPrefix(r.Value, p) {
				return true
			}
		}
		return false
	}
}
