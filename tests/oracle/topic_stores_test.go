package oracle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

// Stores that are kept from topics, and the processors that read them.

// keepGlobal writes what it gets into a store of which every task has all: a value with its time, unless it is z.
func keepGlobal(b *stream.Builder, rows store.KeyValueRef[string, string]) {
	stream.GlobalStore(b, topic("global"), "keep", func(t *topology.Task) (func(message2) error, error) {
		rows := rows.In(t)
		return func(r message2) error {
			switch {
			case r.NoKey:
				return nil
			case r.Tombstone || r.Value == "z":
				return rows.Delete(r.Key)
			}
			return rows.Put(r.Key, stamped(r.Value, r.Time.UnixMilli()))
		}, nil
	}, rows)
}

func stamped(v string, at int64) string { return v + "@" + dec(at) }

// held is a row of a store.
type held struct {
	k, v string
	at   int64
}

// eachKey are the rows of the keys of a topic's records.
func eachKey(name string, row func(h []event, key string) (text, int64)) func(h []event) []held {
	return func(h []event) (out []held) {
		for _, k := range keysOf(of(h, name)) {
			if v, at := row(h, k); v.ok {
				out = append(out, held{k, v.s, at})
			}
		}
		return out
	}
}

// dumped are rows as dump shows them.
func dumped(rows func(h []event) []held) func(h []event) []string {
	return func(h []event) (out []string) {
		for _, r := range rows(h) {
			out = append(out, fmt.Sprintf("%s -> %s @%d", r.k, r.v, r.at))
		}
		return out
	}
}

// listed are rows as the processors show them.
func listed(rows []held) string {
	var out []string
	for _, r := range rows {
		out = append(out, r.k+"="+r.v)
	}
	return strings.Join(out, " ")
}

// globalRows are the rows that keepGlobal leaves.
var globalRows = eachKey("global", func(h []event, k string) (text, int64) {
	v, at := latest(h, "global", k)
	return text{stamped(v.s, at), v.ok && v.s != "z"}, at
})

// globalRead is a processor that looks up a key, and goes through all rows.
func globalRead(h []event, e event) []row {
	if e.topic != "in" {
		return nil
	}
	rows, found := globalRows(h), "none"
	for _, r := range rows {
		if r.k == e.value.s {
			found = r.v
		}
	}
	return []row{{"out", e.key, some(found + " of " + listed(rows)), e.at, e.n}}
}

func globalKept() oracle {
	rows := store.NewKeyValue("rows", serde.String, serde.String)
	return oracle{
		name: "global-store", whole: true,
		inputs: []input{{topic: "in", value: small, noKeys: 10}, {topic: "global", keys: []string{"v", "w", "x"}, value: small, nulls: 20, noKeys: 5}},
		build: func(b *stream.Builder) {
			keepGlobal(b, rows)
			processing("p", func(c *context) func(message2) (string, error) {
				rows := rows.In(c)
				return func(r message2) (string, error) {
					found, ok, err := rows.Get(r.Value)
					if err != nil {
						return "", err
					}
					var all []string
					for x, err := range rows.All() {
						if err != nil {
							return "", err
						}
						all = append(all, x.Key+"="+x.Value)
					}
					return text{found, ok}.or("none") + " of " + strings.Join(all, " "), nil
				}
			}, rows)(b)
		},
		model:  each(globalRead),
		stores: map[string]func([]event) []string{"rows": dumped(globalRows)},
	}
}

// keptRead is a processor that reads, by its record's key, a store without times and one with them.
func keptRead(h []event, e event) []row {
	if e.topic != "in" {
		return nil
	}
	plain, _ := latest(h, "plain", e.key.s)
	timed, at := latest(h, "timed", e.key.s)
	if timed.ok {
		timed.s = stamped(timed.s, at)
	}
	return []row{{"out", e.key, some(plain.or("none") + "," + timed.or("none")), e.at, e.n}}
}

func topicKept() oracle {
	plain := store.NewKeyValue("p", serde.String, serde.String)
	timed := store.NewTimestamped("t", serde.String, serde.String)
	return oracle{
		name: "read-only-stores", whole: true,
		inputs: []input{{topic: "in", weight: 2}, {topic: "plain", value: small, nulls: 25, noKeys: 4}, {topic: "timed", value: small, nulls: 25, noKeys: 4}},
		build: func(b *stream.Builder) {
			stream.ReadOnlyStore(b, topic("plain"), plain)
			stream.ReadOnlyTimestamped(b, topic("timed"), timed)
			processing("reader", func(c *context) func(message2) (string, error) {
				plain, timed := plain.In(c), timed.In(c)
				return func(r message2) (string, error) {
					p, isP, err := plain.Get(r.Key)
					if err != nil {
						return "", err
					}
					t, isT, err := timed.Get(r.Key)
					return text{p, isP}.or("none") + "," + text{stamped(t.Value, t.Time.UnixMilli()), isT}.or("none"), err
				}
			}, plain, timed)(b)
		},
		model:  both(each(keptRead), drops(false, "plain", "timed")),
		stores: map[string]func([]event) []string{"p": sourceRows("plain"), "t": sourceRows("timed")},
	}
}

func keptStores() []oracle {
	in := source("in")
	return []oracle{globalKept(), topicKept(), {
		name: "table-source-is-changelog", inputs: []input{{topic: "in", value: small, nulls: 25, noKeys: 5}}, whole: true,
		build: func(b *stream.Builder) {
			toOut(table.Filter(table.From(b, topic("in"), "t", store.SourceIsChangelog()), isV), "out")
		},
		model:  both(written(filter(in, true, isV), "out"), drops(false, "in")),
		stores: map[string]func([]event) []string{"t": sourceRows("in")},
	}}
}

// Processors with stores of rows by key.

// gathered is the text of a key's records so far; z empties it.
func gathered(h []event, name, key string) (v text, at int64) {
	for _, e := range of(h, name) {
		switch {
		case e.key != some(key):
		case e.value == some("z"):
			v = text{}
		default:
			v, at = some(v.s+e.value.or("-")), e.at
		}
	}
	return v, at
}

var rowsGathered = eachKey("in", func(h []event, k string) (text, int64) { return gathered(h, "in", k) })

func keyValueStore() oracle {
	kv := store.NewKeyValue("kv", serde.String, serde.String)
	return oracle{
		name: "key-value-store", inputs: []input{{topic: "in", value: small}},
		build: processing("p", func(c *context) func(message2) (string, error) {
			rows := kv.In(c)
			return func(r message2) (string, error) {
				if err := gather(rows, r.Key, r.Value); err != nil {
					return "", err
				}
				var all []string
				for x, err := range rows.All() {
					if err != nil {
						return "", err
					}
					all = append(all, x.Key+"="+x.Value)
				}
				return strings.Join(all, " "), nil
			}
		}, kv),
		model: each(func(h []event, e event) []row {
			return []row{{"out", e.key, some(listed(rowsGathered(h))), e.at, e.n}}
		}),
		stores: map[string]func([]event) []string{"kv": dumped(rowsGathered)},
	}
}

// gather adds v to the row of k, or deletes it.
func gather(rows store.KeyValue[string, string], k, v string) error {
	if v == "z" {
		return rows.Delete(k)
	}
	was, _, err := rows.Get(k)
	if err != nil {
		return err
	}
	return rows.Put(k, was+v)
}

// timestampedStore sends a key's row before, at its own time.
func timestampedStore() oracle {
	ts := store.NewTimestamped("ts", serde.String, serde.String)
	return oracle{
		name: "timestamped-store", inputs: []input{{topic: "in", value: small}}, whole: true,
		build: func(b *stream.Builder) {
			s := stream.ProcessValues(from(b, "in"), "p", func(c *stream.ValueContext[string]) (func(message2) error, error) {
				rows := ts.In(c)
				return func(r message2) error {
					was, ok, err := rows.Get(r.Key)
					if err != nil {
						return err
					}
					if ok {
						c.ForwardAt(was.Value, was.Time)
					}
					if r.Value == "z" {
						return rows.Delete(r.Key)
					}
					return rows.Put(r.Key, store.Timestamped[string]{Value: was.Value + r.Value, Time: r.Time})
				}, nil
			}, ts)
			stream.To(s, topic("out"))
		},
		model: each(func(h []event, e event) []row {
			was, at := gathered(before(h), "in", e.key.s)
			if !was.ok {
				return nil
			}
			return []row{{"out", e.key, was, at, e.n}}
		}),
		stores: map[string]func([]event) []string{"ts": dumped(rowsGathered)},
	}
}

type rowFunc = func(k, v string, row bool) (string, bool, error)

// tableGathers is a table made of another by a function that gathers in a store what a key's row has been.
func tableGathers() oracle {
	kv := store.NewKeyValue("kv", serde.String, serde.String)
	seen := changes(func(h []event, e event) []change {
		if !e.key.ok {
			return []change{{lost: noKey}}
		}
		v, _ := gathered(h, "in", e.key.s)
		return []change{{key: e.key.s, new: v, at: e.at, from: e.n}}
	})
	return oracle{
		name: "table-process-values", inputs: []input{{topic: "in", value: small, nulls: 20, noKeys: 4}}, whole: true,
		build: func(b *stream.Builder) {
			toOut(table.ProcessValues(table.From(b, topic("in"), "t"), "p", func(t *topology.Task) (rowFunc, error) {
				rows := kv.In(t)
				return func(k, v string, row bool) (string, bool, error) {
					if err := gather(rows, k, text{v, row}.or("-")); err != nil {
						return "", false, err
					}
					return rows.Get(k)
				}, nil
			}, kv), "out")
		},
		model:  written(seen, "out"),
		stores: map[string]func([]event) []string{"kv": dumped(rowsGathered), "t": sourceRows("in")},
	}
}

// tableReads is one made by a function that reads a store, which another processor writes, with a filter behind it that wants old values.
func tableReads() oracle {
	kv := store.NewKeyValue("kv", serde.String, serde.String)
	return oracle{
		name: "table-process-values-filtered", whole: true,
		inputs: []input{{topic: "in", value: small, nulls: 20, noKeys: 4, weight: 2}, {topic: "rates", value: small}},
		build: func(b *stream.Builder) {
			stream.Process(from(b, "rates"), "rates", func(c *context) (func(message2) error, error) {
				rows := kv.In(c)
				return func(r message2) error { return gather(rows, r.Key, r.Value) }, nil
			}, kv)
			priced := table.ProcessValues(table.From(b, topic("in"), "t"), "p", func(t *topology.Task) (rowFunc, error) {
				rows := kv.In(t)
				return func(k, v string, row bool) (string, bool, error) {
					rate, ok, err := rows.Get(k)
					return v + "*" + rate, ok && row, err
				}, nil
			}, kv)
			toOut(table.Filter(priced, isV), "out")
		},
		model: both(written(filter(priced, true, isV), "out"), drops(false, "in")),
	}
}

// priced are rows with what the store says of their keys at the time of the change.
func priced(h []event) [][]change {
	out := source("in")(h)
	for i, cs := range out {
		for j, c := range cs {
			rate, _ := gathered(h[:i+1], "rates", c.key)
			with := func(v text) text {
				if !v.ok || !rate.ok {
					return text{}
				}
				return some(v.s + "*" + rate.s)
			}
			out[i][j].new, out[i][j].old = with(c.new), with(c.old)
		}
	}
	return out
}

func keyedProcessors() []oracle {
	return []oracle{keyValueStore(), timestampedStore(), tableGathers(), tableReads(), mergedUses()}
}

// notSent is why a record without a key stays where it is.
const notSent = "record without key not sent to a repartition topic"

// mergedUses are a count, a reduce and a left join behind one change of keys, which leaves some records without any.
func mergedUses() oracle {
	count := counting("in")
	concatenated := fold{topics: []string{"in"}, reduce: true, add: appendValue}
	twice := each(func(_ []event, e event) []row {
		if e.topic == "in" && !e.key.ok { // the two aggregations do not want it
			return []row{drop(notSent), drop(notSent)}
		}
		return nil
	})
	notH := func(e event) bool { return e.key != some("h") }
	return oracle{
		name: "merged-repartitions", whole: true, merge: true,
		inputs: []input{{topic: "in", value: barred, noKeys: 10, weight: 3}, {topic: "rows", keys: []string{"g", "h", "i"}, value: small, nulls: 25, noKeys: 4}},
		arrive: func(e event) (event, bool) {
			if e.topic == "in" {
				e.key = beforeBar(e.value.s)
			}
			return e, true
		},
		build: func(b *stream.Builder) {
			s := stream.Process(from(b, "in"), "by-bar", func(c *context) (func(message2) error, error) {
				return func(r message2) error {
					k := beforeBar(r.Value)
					r.Key, r.NoKey = k.s, !k.ok
					c.Forward(r)
					return nil
				}, nil
			})
			toNumbers(table.Count(stream.GroupByKey(s), "n"), "counts")
			kept := stream.Filter(s, func(k, _ string) bool { return k != "h" })
			toOut(table.Reduce(stream.GroupByKey(kept), "red", concat), "reduced")
			stream.To(join.StreamTableLeft(s, table.From(b, topic("rows"), "rows"), "j", orNull), topic("out"))
		},
		model: both(written(count.table, "counts"), only(notH, written(concatenated.table, "reduced")), streamTable(true, rowIn("rows")), drops(false, "rows"), twice),
		stores: map[string]func([]event) []string{
			"n":   bare(count.rows),
			"red": func(h []event) []string { return concatenated.rows(filtered(h, notH)) },
		},
	}
}

// rowIn is the row that a topic's last record of a key leaves.
func rowIn(name string) func(h []event, key string) text {
	return func(h []event, key string) text {
		v, _ := latest(h, name, key)
		return v
	}
}

// only is a model of some of the records.
func only(which func(e event) bool, m model) model {
	return func(h []event) [][]row {
		own := slices.Clone(h)
		for i, e := range own {
			if e.kind == record && !which(e) {
				own[i] = event{n: e.n, kind: restart}
			}
		}
		return m(own)
	}
}
