package oracle

import (
	"fmt"
	"slices"
)

// row is a record that a program writes.
type row struct {
	topic string
	key   text
	value text
	at    int64
	from  int // the event whose header it carries, -1: none
}

func (r row) String() string {
	h := ""
	if r.from >= 0 {
		h = fmt.Sprintf(" from %d", r.from)
	}
	return fmt.Sprintf("%v -> %v @%d%s", r.key, r.value, r.at, h)
}

// dropped is the topic of rows that stand for a record that is dropped; the key is the reason.
const dropped = "dropped"

func drop(reason string) row { return row{topic: dropped, key: some(reason), from: -1} }

// Reasons for dropping a record.
const (
	noKey   = "record without key"
	noValue = "record without value"
)

// model says what follows from each event of a task's history.
type model func(h []event) [][]row

// each makes a model of a function that says what follows from the last record of a history, and knows nothing but the history.
func each(f func(h []event, e event) []row) model {
	return func(h []event) [][]row {
		out := make([][]row, len(h))
		for i, e := range h {
			if e.kind == record {
				out[i] = f(h[:i+1], e)
			}
		}
		return out
	}
}

// tasks runs a model for each partition apart.
func tasks(m model, partitions int) model {
	return func(h []event) [][]row {
		out := make([][]row, len(h))
		for p := range int32(partitions) {
			var own []event
			var at []int
			for i, e := range h {
				if e.kind != record || e.part == p {
					own, at = append(own, e), append(at, i)
				}
			}
			for i, rows := range m(own) {
				out[at[i]] = append(out[at[i]], rows...)
			}
		}
		return out
	}
}

// byTask is a table whose partitions know nothing of each other, in a model of all of them.
func byTask(t tableModel) tableModel {
	return func(h []event) [][]change {
		out := make([][]change, len(h))
		parts := map[int32]bool{}
		for _, e := range h {
			parts[e.part] = true
		}
		for p := range parts {
			own := slices.Clone(h)
			for i, e := range own {
				if e.kind == record && e.part != p {
					own[i] = event{n: e.n, kind: restart}
				}
			}
			for i, cs := range t(own) {
				out[i] = append(out[i], cs...)
			}
		}
		return out
	}
}

// change is an update of a table's row.
type change struct {
	key      string
	new, old text
	at       int64
	from     int
	stale    bool // of a versioned table: there is a newer version

	of         string // a window's key without its bounds
	start, end int64
	lost       string // not a change: a record is dropped for this reason
}

// tableModel says how a table changes with each event.
type tableModel func(h []event) [][]change

// changes makes a table as each makes a model.
func changes(f func(h []event, e event) []change) tableModel {
	return func(h []event) [][]change {
		out := make([][]change, len(h))
		for i, e := range h {
			if e.kind == record {
				out[i] = f(h[:i+1], e)
			}
		}
		return out
	}
}

// written is toStream().to(topic).
func written(t tableModel, topic string) model {
	return func(h []event) [][]row {
		out := make([][]row, len(h))
		for i, cs := range t(h) {
			for _, c := range cs {
				if c.lost != "" {
					out[i] = append(out[i], drop(c.lost))
					continue
				}
				out[i] = append(out[i], row{topic, some(c.key), c.new, c.at, c.from})
			}
		}
		return out
	}
}

// both has the rows of several models, those of the first ones first.
func both(ms ...model) model {
	return func(h []event) [][]row {
		out := make([][]row, len(h))
		for _, m := range ms {
			for i, rows := range m(h) {
				out[i] = append(out[i], rows...)
			}
		}
		return out
	}
}

// of returns the records of a topic.
func of(h []event, topic string) []event {
	return filtered(h, func(e event) bool { return e.topic == topic })
}

// filtered returns the records for which f is true.
func filtered(h []event, f func(e event) bool) []event {
	var out []event
	for _, e := range h {
		if e.kind == record && f(e) {
			out = append(out, e)
		}
	}
	return out
}

// latest returns the row of key as the last record of a topic with that key leaves it, and its time; null: there is none.
func latest(h []event, topic, key string) (v text, at int64) {
	for _, e := range of(h, topic) {
		if e.key == some(key) {
			v, at = e.value, e.at
		}
	}
	return v, at
}

// before is h without its last event.
func before(h []event) []event { return h[:len(h)-1] }

func sorted(keys []string) []string {
	slices.Sort(keys)
	return slices.Compact(keys)
}
