package oracle

import (
	"fmt"
	"strconv"
	"time"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/window"
)

// Stores that keep the headers of the records that last changed their rows. dump shows them.

// keptHeader is how dump shows the headers of a row; stores that keep none have none.
func keptHeader(h store.Headers) string {
	if n, ok := h.Get("n"); ok {
		return " from " + string(n)
	}
	return ""
}

// headed is the store of a table, with headers: the last of its changes for each key.
func headed(t tableModel) func(h []event) []string {
	return func(h []event) (out []string) {
		last := map[string]change{}
		for i, cs := range t(h) {
			for _, c := range cs {
				c.from = h[i].n // also where what is sent has no headers, as with sessions
				last[c.key] = c
			}
		}
		for k, c := range last {
			if c.new.ok {
				out = append(out, fmt.Sprintf("%s -> %s @%d from %d", k, c.new.s, c.at, c.from))
			}
		}
		return out
	}
}

// headedRead is a processor that sends the rows that it reads with what they have: their times, and their headers.
func headedRead(h []event, e event) []row {
	if e.topic != "ask" {
		return nil
	}
	for i := len(h) - 1; i >= 0; i-- {
		if x := h[i]; x.kind == record && x.topic == "rows" && x.key == e.key {
			if !x.value.ok {
				return nil
			}
			return []row{{"out", e.key, x.value, x.at, x.n}}
		}
	}
	return nil
}

// headedCounts are the rows of a processor's own store, which have the headers of what it last processed.
func headedCounts(h []event) (out []string) {
	for _, k := range keysOf(of(h, "ask")) {
		own := filtered(h, func(e event) bool { return e.topic == "ask" && e.key == some(k) })
		last := own[len(own)-1]
		out = append(out, fmt.Sprintf("%s -> %d @%d from %d", k, len(own), last.at, last.n))
	}
	return out
}

func headerKeepers() []oracle {
	red := fold{topics: []string{"in"}, reduce: true, add: appendValue, gone: endsInZ}
	w := aggregated(sessionBy(10, 10))
	counts := store.NewKeyValue("counts", serde.String, serde.String, store.KeepHeaders())
	ask := func(rows store.KeyValueRef[string, store.Timestamped[string]]) func(c *context) (func(message2) error, error) {
		return func(c *context) (func(message2) error, error) {
			rows, counts := rows.In(c), counts.In(c)
			return func(r message2) error {
				n, _, err := counts.Get(r.Key)
				if err != nil {
					return err
				}
				sum, _ := strconv.Atoi(n)
				if err := counts.Put(r.Key, strconv.Itoa(sum+1)); err != nil {
					return err
				}
				x, ok, err := rows.Get(r.Key)
				if ok {
					c.Forward(message2{Key: r.Key, Value: x.Value, Time: x.Time, Headers: x.Headers})
				}
				return err
			}, nil
		}
	}
	return []oracle{{
		name: "keep-headers", scale: 10,
		inputs: []input{{topic: "ask"}, {topic: "rows", value: small, nulls: 20, noKeys: 4}, {topic: "in", keys: abcd[:2], value: small}},
		build: func(b *stream.Builder) {
			rows := table.From(b, topic("rows"), "t", store.KeepHeaders())
			table.Materialize(table.MapValuesWithKey(rows, marked), "m", store.KeepHeaders(), store.InMemory())
			stream.To(stream.Process(from(b, "ask"), "reader", ask(rows.TimestampedStore()), rows.TimestampedStore(), counts), topic("out"))
			g := stream.GroupByKey(from(b, "in"))
			toOut(table.Reduce(g, "red", concat, store.KeepHeaders()).DeleteWhen(endsInZ), "reduced")
			rendered(table.ReduceWindows(g, window.Sessions(ms(10)).Grace(ms(10)), "w", concat, store.Retention(time.Hour), store.KeepHeaders()), "windows")
		},
		model: both(each(headedRead), written(red.table, "reduced"), written(w.table, "windows"), drops(false, "rows")),
		stores: map[string]func([]event) []string{
			"t": headed(source("rows")), "m": headed(mapped(source("rows"), marked)), "red": headed(red.table), "w": headed(w.table), "counts": headedCounts,
		},
	}}
}
