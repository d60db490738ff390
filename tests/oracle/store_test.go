package oracle

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// Processors that put each record into a store of their own, or delete what has its place if its value is z, and send what they then read.

type context = stream.Context[string, string]

type message2 = stream.Record[string, string]

const (
	kept  = 50 // milliseconds
	wide  = 10
	ahead = 20
)

func processing(name string, of func(c *context) func(r message2) (string, error), uses ...store.Dependency) func(b *stream.Builder) {
	return func(b *stream.Builder) {
		stream.To(stream.Process(from(b, "in"), name, func(c *context) (func(message2) error, error) {
			f := of(c)
			return func(r message2) error {
				v, err := f(r)
				if err == nil {
					c.Forward(stream.WithValue(r, v))
				}
				return err
			}, nil
		}, uses...), topic("out"))
	}
}

// placed is what a model knows of a row.
type placed struct {
	key        string
	start, end int64
	value      string
}

// place says which row a record puts or deletes.
type place struct {
	of     func(e event) placed
	age    func(p placed) int64 // what rows expire by
	many   bool                 // a row does not take the place of another
	within func(e event, p placed) bool
	text   func(p placed) string
}

// model reads all rows again after each record.
func (p place) model(h []event) [][]row {
	return each(func(h []event, e event) (out []row) {
		rows, taken := p.rows(h)
		if !taken {
			out = append(out, drop(outOfReach))
		}
		var texts []string
		for _, x := range rows {
			if x.key == e.key.s && p.within(e, x) {
				texts = append(texts, p.text(x))
			}
		}
		return append(out, row{"out", e.key, some(strings.Join(texts, " ")), e.at, e.n})
	})(h)
}

// rows are what the store shows after some records, and whether it took the last one.
func (p place) rows(h []event) (rows []placed, taken bool) {
	newest := int64(math.MinInt64 / 2)
	for _, e := range of(h, "in") {
		x, before := p.of(e), len(rows)
		gone := x.value == "z"
		if gone || !p.many {
			rows = slices.DeleteFunc(rows, func(y placed) bool { return y.key == x.key && y.start == x.start && y.end == x.end })
		}
		if !gone || !p.many || len(rows) < before { // where all are kept, a deletion of nothing is nothing
			newest = max(newest, p.age(x))
		}
		rows = slices.DeleteFunc(rows, func(x placed) bool { return p.age(x) <= newest-kept })
		if taken = gone || p.age(x) > newest-kept; taken && !gone {
			rows = append(rows, x)
		}
	}
	slices.SortStableFunc(rows, func(a, b placed) int { return cmp.Or(cmp.Compare(p.age(a), p.age(b)), cmp.Compare(a.start, b.start)) })
	return rows, taken
}

func inWindows(many bool) place {
	return place{
		of: func(e event) placed {
			s := e.at - e.at%wide
			return placed{e.key.s, s, s + wide, e.value.s}
		},
		age: func(x placed) int64 { return x.start }, many: many,
		within: func(e event, x placed) bool { return e.at-2*ahead <= x.start && x.start <= e.at+ahead },
		text:   func(x placed) string { return fmt.Sprintf("%d=%s", x.start, x.value) },
	}
}

func processorStores() []oracle {
	in := []input{{topic: "in", keys: abcd[:2], value: small}}
	windowStore := func(name string, opts ...store.Option) oracle {
		ws := store.NewWindow("ws", serde.String, serde.String, ms(wide), ms(kept), opts...)
		return oracle{name: name, inputs: in, scale: 10, build: processing("p", func(c *context) func(message2) (string, error) {
			rows := ws.In(c)
			return func(r message2) (string, error) {
				start := r.Time.Add(-ms(r.Time.UnixMilli() % wide))
				put := func() error { return rows.Put(r.Key, start, r.Value) }
				if r.Value == "z" {
					put = func() error { return rows.Delete(r.Key, start) }
				}
				if err := put(); err != nil {
					return "", err
				}
				var texts []string
				for x, err := range rows.Fetch(r.Key, r.Time.Add(-ms(2*ahead)), r.Time.Add(ms(ahead))) {
					if err != nil {
						return "", err
					}
					texts = append(texts, fmt.Sprintf("%d=%s", x.Start.UnixMilli(), x.Value))
				}
				return strings.Join(texts, " "), nil
			}
		}, ws)}
	}
	single, many := windowStore("window-store"), windowStore("window-store-duplicates", store.Duplicates())
	single.model, many.model = inWindows(false).model, inWindows(true).model
	ss := store.NewSession("ss", serde.String, serde.String, ms(kept))
	vs := store.NewVersioned("vs", serde.String, serde.String, ms(kept))
	return []oracle{single, many, {
		name: "session-store", inputs: in, scale: 10,
		build: processing("p", func(c *context) func(message2) (string, error) {
			rows := ss.In(c)
			return func(r message2) (string, error) {
				start := r.Time.Add(-ms(r.Time.UnixMilli() % wide))
				put := func() error { return rows.Put(r.Key, start, r.Time, r.Value) }
				if r.Value == "z" {
					put = func() error { return rows.Delete(r.Key, start, r.Time) }
				}
				if err := put(); err != nil {
					return "", err
				}
				var texts []string
				for x, err := range rows.Find(r.Key, r.Time.Add(-ms(ahead)), r.Time.Add(ms(ahead))) {
					if err != nil {
						return "", err
					}
					texts = append(texts, fmt.Sprintf("%d-%d=%s", x.Start.UnixMilli(), x.End.UnixMilli(), x.Value))
				}
				return strings.Join(texts, " "), nil
			}
		}, ss),
		model: place{
			of:     func(e event) placed { return placed{e.key.s, e.at - e.at%wide, e.at, e.value.s} },
			age:    func(x placed) int64 { return x.end },
			within: func(e event, x placed) bool { return x.end >= e.at-ahead && x.start <= e.at+ahead },
			text:   func(x placed) string { return fmt.Sprintf("%d-%d=%s", x.start, x.end, x.value) },
		}.model,
	}, {
		name: "versioned-store", inputs: in, scale: 20,
		build: processing("p", func(c *context) func(message2) (string, error) {
			rows := vs.In(c)
			return func(r message2) (string, error) {
				put := func() (time.Time, bool, error) { return rows.Put(r.Key, r.Value, r.Time) }
				if r.Value == "z" {
					put = func() (time.Time, bool, error) { return rows.Delete(r.Key, r.Time) }
				}
				if _, _, err := put(); err != nil {
					return "", err
				}
				now, is, err := rows.Get(r.Key)
				if err != nil {
					return "", err
				}
				then, was, err := rows.AsOf(r.Key, r.Time.Add(-ms(7)))
				return text{then.Value, was}.or("null") + "," + text{now.Value, is}.or("null"), err
			}
		}, vs),
		model: versionedStore,
	}}
}

// versionedStore says what is valid a little before each record, and what is the latest.
func versionedStore(h []event) [][]row {
	return each(func(h []event, e event) (out []row) {
		own := slices.Clone(h)
		for i := range own {
			if own[i].value.s == "z" {
				own[i].value = text{}
			}
		}
		all, _ := versions(own, "in", kept)
		if len(all) == 0 || all[len(all)-1].n != e.n {
			out = append(out, drop(outOfReach))
		}
		then, now := asOf(own, "in", kept, e.key, e.at-7), asOf(own, "in", kept, e.key, math.MaxInt64)
		return append(out, row{"out", e.key, some(then.or("null") + "," + now.or("null")), e.at, e.n})
	})(h)
}
