package oracle

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// The programs write text throughout, so that a model can say what they write.

func topic(name string) stream.Topic[string, string] {
	return stream.NewTopic(name, serde.String, serde.String)
}

func from(b *stream.Builder, name string) stream.KStream[string, string] {
	return stream.From(b, topic(name))
}

func dec(n int64) string { return strconv.FormatInt(n, 10) }

func toOut(t table.KTable[string, string], name string) {
	stream.To(table.ToStream(t), topic(name))
}

func toNumbers(t table.KTable[string, int64], name string) {
	stream.To(stream.MapValues(table.ToStream(t), dec), topic(name))
}

// small are values of which many are equal, and some make a fold delete its row.
func small(r *rand.Rand, _ int) string { return string(rune('v' + r.IntN(5))) }

func concat(agg, v string) string { return agg + v }

// endsInZ is when the aggregations delete their rows.
func endsInZ(_, agg string) bool { return strings.HasSuffix(agg, "z") }

// fold is an aggregation without windows.
type fold struct {
	topics []string
	start  string // of the aggregate
	reduce bool   // there is none: the first value is it
	add    func(e event, agg string) string
	gone   func(key, agg string) bool
}

// run is the value of a row after the records of one key, and the greatest of the times of those that are in it.
func (f fold) run(records []event) (v text, at int64) {
	for _, e := range records {
		agg := f.start
		if v.ok {
			agg = v.s
		} else {
			at = e.at
		}
		at = max(at, e.at)
		v = some(f.add(e, agg))
		if f.gone != nil && f.gone(e.key.s, v.s) {
			v = text{}
		}
	}
	return v, at
}

// counted are the records that a fold counts, of one key.
func (f fold) counted(h []event, key text) []event {
	return filtered(h, func(e event) bool {
		return e.key == key && e.key.ok && e.value.ok && len(f.topics) > 0 && strings.Contains(strings.Join(f.topics, " "), e.topic)
	})
}

// table is the aggregation as a table.
func (f fold) table(h []event) [][]change {
	return changes(func(h []event, e event) []change {
		own := f.counted(h, e.key)
		if len(own) == 0 || own[len(own)-1].n != e.n {
			return nil
		}
		v, at := f.run(own)
		old, _ := f.run(before(own))
		if !old.ok && !f.reduce {
			old = some(f.start) // Kafka Streams' initializer: a filter that lets it pass will say that it is gone
		}
		return []change{{key: e.key.s, new: v, old: old, at: at, from: e.n}}
	})(h)
}

// rows are the aggregation's store.
func (f fold) rows(h []event) (out []string) {
	for _, k := range keysOf(h) {
		if v, at := f.run(f.counted(h, some(k))); v.ok {
			out = append(out, fmt.Sprintf("%s -> %s @%d", k, v.s, at))
		}
	}
	return out
}

// keysOf are all keys of a history.
func keysOf(h []event) (keys []string) {
	for _, e := range filtered(h, func(e event) bool { return e.key.ok }) {
		keys = append(keys, e.key.s)
	}
	return sorted(keys)
}

// drops are the records that a step drops that needs keys, and values too if it says so.
func drops(value bool, topics ...string) model {
	return each(func(_ []event, e event) []row {
		switch {
		case !strings.Contains(strings.Join(topics, " "), e.topic):
			return nil
		case !e.key.ok:
			return []row{drop(noKey)}
		case value && !e.value.ok:
			return []row{drop(noValue)}
		}
		return nil
	})
}

// counting is count().
func counting(topics ...string) fold {
	return fold{topics: topics, start: "0", add: func(_ event, n string) string { return dec(number(n) + 1) }}
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// bare are the rows of a store that holds 64-bit numbers, as dump shows them.
func bare(rows func(h []event) []string) func(h []event) []string {
	return func(h []event) (out []string) {
		for _, line := range rows(h) {
			k, rest, _ := strings.Cut(line, " -> ")
			v, at, _ := strings.Cut(rest, " ")
			b, err := serde.Int64.Append(nil, number(v))
			if err != nil {
				panic(err)
			}
			out = append(out, k+" -> "+string(b)+" "+at)
		}
		return out
	}
}

func aggregations() []oracle {
	count := counting("in")
	joined := fold{topics: []string{"in"}, add: func(e event, agg string) string { return agg + e.value.s }}
	deleting := fold{topics: joined.topics, add: joined.add, gone: endsInZ}
	mixed := []input{{topic: "in", value: small, nulls: 8, noKeys: 8}}
	byValue := func(e event) (event, bool) {
		e.key = e.value
		return e, e.key.ok
	}
	return []oracle{
		{
			name: "count", inputs: mixed, whole: true,
			build:  func(b *stream.Builder) { toNumbers(table.Count(stream.GroupByKey(from(b, "in")), "n"), "out") },
			model:  both(written(count.table, "out"), drops(true, "in")),
			stores: map[string]func([]event) []string{"n": bare(count.rows)},
		}, {
			name: "reduce", inputs: mixed, whole: true,
			build:  func(b *stream.Builder) { toOut(table.Reduce(stream.GroupByKey(from(b, "in")), "red", concat), "out") },
			model:  both(written(joined.table, "out"), drops(true, "in")),
			stores: map[string]func([]event) []string{"red": joined.rows},
		}, {
			name: "aggregate-delete-when", inputs: mixed, whole: true,
			build: func(b *stream.Builder) {
				t := table.Aggregate(stream.GroupByKey(from(b, "in")), "agg", table.Zero, func(_, v, agg string) string { return agg + v })
				toOut(t.DeleteWhen(endsInZ), "out")
			},
			model:  both(written(deleting.table, "out"), drops(true, "in")),
			stores: map[string]func([]event) []string{"agg": deleting.rows},
		}, {
			name: "reduce-delete-when-in-memory", inputs: mixed, whole: true,
			build: func(b *stream.Builder) {
				toOut(table.Reduce(stream.GroupByKey(from(b, "in")), "red", concat, store.InMemory()).DeleteWhen(endsInZ), "out")
			},
			model:  both(written(deleting.table, "out"), drops(true, "in")),
			stores: map[string]func([]event) []string{"red": deleting.rows},
		}, {
			name: "count-behind-repartition", inputs: []input{{topic: "in", value: small, noKeys: 20}}, whole: true, arrive: byValue,
			build: func(b *stream.Builder) {
				g := stream.GroupBy(from(b, "in"), func(_, v string) string { return v })
				toNumbers(table.Count(g, "n"), "out")
			},
			model:  written(count.table, "out"),
			stores: map[string]func([]event) []string{"n": bare(count.rows)},
		}, {
			name: "filter-of-count", inputs: mixed, whole: true,
			build: func(b *stream.Builder) {
				t := table.Count(stream.GroupByKey(from(b, "in")), "n")
				toNumbers(table.Filter(t, func(_ string, n int64) bool { return n%3 == 0 }), "out")
			},
			model: both(written(filter(count.table, true, func(_, v string) bool { return number(v)%3 == 0 }), "out"), drops(true, "in")),
		},
	}
}
