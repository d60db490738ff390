package oracle

import (
	"math/rand/v2"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// owned are values that name a row of the other table before a bar, now and then none.
func owned(r *rand.Rand, n int) string {
	if r.IntN(8) == 0 {
		return "none" + dec(int64(n))
	}
	return string(rune('x'+r.IntN(3))) + "|" + dec(int64(n))
}

func owner(_, v string) (string, bool) { return beforeBar(v).s, beforeBar(v).ok }

func foreignKeys() []oracle {
	in := []input{
		{topic: "left", value: owned, nulls: 20, noKeys: 4, weight: 3},
		{topic: "right", keys: []string{"x", "y", "z"}, nulls: 25, noKeys: 4, weight: 2},
	}
	of := func(_, v string) text { return beforeBar(v) }
	lost := drops(false, "left", "right")
	inners := foreignKey{false, source("left"), source("right"), of, joiner}
	lefts := foreignKey{true, source("left"), source("right"), of, joiner}
	const history = 50
	versioned := foreignKey{false, byTask(versionedSource("left", history)), byTask(versionedSource("right", history)), of, joiner}
	sides := func(b *stream.Builder, opts ...store.Option) (l, r table.KTable[string, string]) {
		return table.From(b, topic("left"), "left", opts...), table.From(b, topic("right"), "right", opts...)
	}
	return []oracle{
		{
			name: "foreign-key", inputs: in, whole: true, spread: true, model: both(written(inners.table, "out"), lost),
			build: func(b *stream.Builder) {
				l, r := sides(b)
				toOut(join.ForeignKey(l, r, "fk", owner, plus), "out")
			},
		}, {
			name: "foreign-key-left", inputs: in, whole: true, spread: true, model: both(written(lefts.table, "out"), lost),
			build: func(b *stream.Builder) {
				l, r := sides(b)
				toOut(table.Materialize(join.ForeignKeyLeft(l, r, "fk", owner, orNull), "joined"), "out")
			},
			stores: map[string]func([]event) []string{"joined": rowsOf(lefts.table)},
		}, {
			name: "foreign-key-versioned", inputs: in, whole: true, spread: true, scale: 20, model: written(versioned.table, "out"),
			build: func(b *stream.Builder) {
				l, r := sides(b, store.Versions(ms(history)))
				toOut(join.ForeignKey(l, r, "fk", owner, plus), "out")
			},
		}, {
			name: "foreign-key-of-reduce", inputs: in, whole: true, spread: true,
			build: func(b *stream.Builder) {
				l := table.Reduce(stream.GroupByKey(from(b, "left")), "l", func(_, v string) string { return v })
				toOut(join.ForeignKey(l, table.From(b, topic("right"), "right"), "fk", owner, plus), "out")
			},
			model: both(written(foreignKey{false, fold{topics: []string{"left"}, reduce: true,
				add: func(e event, _ string) string { return e.value.s }}.table, source("right"), of, joiner}.table, "out"), drops(true, "left"), drops(false, "right")),
		},
	}
}
