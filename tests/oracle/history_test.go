package oracle

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/millstream-go/millstream/internal/kafka/partitioner"
)

// text is a key or a value; ok false: null.
type text struct {
	s  string
	ok bool
}

func some(s string) text { return text{s, true} }

// or is what the functions of the programs make of null.
func (t text) or(null string) string {
	if t.ok {
		return t.s
	}
	return null
}

func (t text) String() string {
	if t.ok {
		return fmt.Sprintf("%q", t.s)
	}
	return "null"
}

type kind uint8

const (
	record kind = iota
	commit
	advance // the wall clock moves
	restart // a crash, back on the same disk
	wipe    // a crash and a lost disk, or a move to another instance: an empty directory, and what Kafka has
)

// event is one thing that happens to a program. Models get to see those that must make a difference: no restarts.
type event struct {
	n     int // its place in the history; records carry it as a header
	kind  kind
	topic string
	key   text
	value text
	at    int64 // a record's time; how far the clock moves
	now   int64 // what the clock shows
	part  int32
}

func (e event) String() string {
	switch e.kind {
	case commit:
		return "commit"
	case advance:
		return fmt.Sprintf("advance %d", e.at)
	case restart:
		return "crash"
	case wipe:
		return "move"
	}
	return fmt.Sprintf("%s[%d]: %v -> %v @%d", e.topic, e.part, e.key, e.value, e.at)
}

// history is what happens to one program.
type history struct {
	partitions int
	manual     bool // commits are events; else each record is committed
	disk       bool // stores are in files
	events     []event
}

func (h history) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d partitions, a commit after each record: %t, stores in files: %t\n", h.partitions, !h.manual, h.disk)
	for i, e := range h.events {
		fmt.Fprintf(&b, "%4d %v\n", i, e)
	}
	return b.String()
}

// input is a topic that a program reads.
type input struct {
	topic  string
	keys   []string                         // "": a to d
	value  func(r *rand.Rand, n int) string // nil: v and the number of the record
	nulls  int                              // how many in a hundred have no value
	noKeys int                              // how many in a hundred have no key
	weight int                              // how often it gets a record, in relation to others; 0 is 1

}

var abcd = []string{"a", "b", "c", "d"}

// newHistory makes a history for o.
func newHistory(o oracle, r *rand.Rand) history {
	h := history{partitions: 1 + r.IntN(3), manual: r.IntN(2) == 0, disk: r.IntN(10) == 0}
	g := generator{o: o, r: r, scale: max(o.scale, 10)}
	g.clock = r.Int64N(2 * g.scale)
	n := 5 + r.IntN(55)
	for range n {
		switch x := r.IntN(100); {
		case x < 4:
			g.crash(&h, restart)
		case x < 8:
			g.crash(&h, wipe)
		case x < 16 && h.manual:
			h.events = append(h.events, event{kind: commit})
		case x < 22 && o.clock:
			h.events = append(h.events, event{kind: advance, at: 1 + r.Int64N(2*g.scale)})
		default:
			h.events = append(h.events, g.record(h.partitions, len(h.events)))
		}
	}
	h.number()
	return h
}

// number gives events their places, and the clock that they see.
func (h *history) number() {
	now := int64(0)
	for i := range h.events {
		e := &h.events[i]
		e.n = i
		if e.kind == advance {
			now += e.at
		}
		e.now = now
	}
}

type generator struct {
	o     oracle
	r     *rand.Rand
	scale int64
	clock int64   // the greatest time so far
	times []int64 // all times so far
}

// crash has a commit before it: what is not committed happens again.
func (g *generator) crash(h *history, k kind) {
	if h.manual {
		h.events = append(h.events, event{kind: commit})
	}
	h.events = append(h.events, event{kind: k})
}

func (g *generator) record(partitions, n int) event {
	in := g.input()
	keys := in.keys
	if len(keys) == 0 {
		keys = abcd
	}
	e := event{topic: in.topic, key: some(keys[g.r.IntN(len(keys))]), at: g.time()}
	e.value = some(fmt.Sprintf("v%d", n))
	if in.value != nil {
		e.value = some(in.value(g.r, n))
	}
	if g.r.IntN(100) < in.nulls {
		e.value = text{}
	}
	if g.r.IntN(100) < in.noKeys {
		e.key = text{}
	}
	e.part = home(e.key, partitions)
	if !e.key.ok {
		e.part = int32(g.r.IntN(partitions))
	}
	return e
}

func home(key text, partitions int) int32 { return partitioner.ForKey([]byte(key.s), partitions) }

func (g *generator) input() input {
	sum := 0
	for _, in := range g.o.inputs {
		sum += max(in.weight, 1)
	}
	at := g.r.IntN(sum)
	for _, in := range g.o.inputs {
		if at -= max(in.weight, 1); at < 0 {
			return in
		}
	}
	return g.o.inputs[0]
}

// time is near the greatest so far, or one that was there before, or late, or far ahead.
func (g *generator) time() int64 {
	t := g.clock
	switch x := g.r.IntN(100); {
	case x < 15 && len(g.times) > 0:
		t = g.times[g.r.IntN(len(g.times))]
	case x < 40:
		t -= g.r.Int64N(4 * g.scale)
	case x < 55:
		t -= g.r.Int64N(g.scale)
	case x < 60:
		t += g.r.Int64N(10 * g.scale)
	case x < 70:
		t += g.r.Int64N(2 * g.scale)
	default:
		t += g.r.Int64N(g.scale/2 + 1)
	}
	t = max(t, 0)
	g.clock = max(g.clock, t)
	g.times = append(g.times, t)
	return t
}

// without returns h without the events [from, to).
func (h history) without(from, to int) history {
	h.events = slices.Concat(h.events[:from], h.events[to:])
	h.number()
	return h
}

// valid reports whether every crash comes at a point at which all is committed.
func (h history) valid() bool {
	settled := true
	for _, e := range h.events {
		switch e.kind {
		case record, advance:
			settled = !h.manual
		case commit:
			settled = true
		default:
			if !settled {
				return false
			}
		}
	}
	return true
}

// shrink leaves out of h what it can while fails says that it still fails, in at most limit attempts.
func (h history) shrink(limit int, fails func(history) bool) history {
	for size := len(h.events) / 2; size > 0; {
		smaller := false
		for from := 0; from < len(h.events) && limit > 0; {
			try := h.without(from, min(from+size, len(h.events)))
			limit--
			if try.valid() && fails(try) {
				h, smaller = try, true
				continue
			}
			from += size
		}
		if !smaller || size > 1 {
			size /= 2
		}
		if limit <= 0 {
			break
		}
	}
	return h
}
