package oracle

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
)

// late is why a window does not take a record.
const late = "record too late: its window is closed"

// windows are windows of an aggregation: how they come about, and when they close.
type windows struct {
	kind          windowKind
	size, advance int64 // of time windows; size is the difference of sliding ones and the gap of sessions
	grace         int64
	from          int64 // of unlimited ones
}

type windowKind uint8

const (
	timed windowKind = iota
	sliding
	sessions
	unlimited
)

func tumbling(size, grace int64) windows { return windows{timed, size, size, grace, 0} }

// windowed is an aggregation by windows.
type windowed struct {
	windows
	topics []string
	nulls  bool // records without value count
	start  string
	add    func(e event, agg string) string
	merge  func(a, b string) string // of sessions
	gone   func(key, agg string) bool
	reduce bool          // there is no start: the first value is it
	moves  map[int]int64 // events at which the clock moves stream time, and where to
	keep   int64         // for how long after its end a session is there for others to merge with it, by the greatest end so far; 0: for ever
}

// reason says why the aggregation has nothing to do with a record, before any window is looked at; "": it has.
func (w windowed) reason(e event) string {
	switch {
	case !e.key.ok:
		return noKey
	case !e.value.ok && (!w.nulls || w.kind == sliding):
		return noValue
	}
	return ""
}

// streamTimes are the greatest times so far of what an aggregation takes. Each of several inputs has its own: what stands at a record
// is that of its input. Sliding windows do not see the times of records without a value.
func (w windowed) streamTimes(h []event) []int64 {
	out, st := make([]int64, len(h)), map[string]int64{}
	for i, e := range h {
		if e.kind == record && slices.Contains(w.topics, e.topic) {
			if e.key.ok && (e.value.ok || w.kind != sliding) {
				st[e.topic] = max(st[e.topic], e.at)
			}
			out[i] = st[e.topic]
		} else if i > 0 {
			out[i] = out[i-1]
		}
		if to, moved := w.moves[e.n]; moved && e.kind == advance {
			st[w.topics[0]], out[i] = to, to
		}
	}
	return out
}

// closed is the greatest end of a window that no record may change any more at a stream time. The ends of time windows are not in them,
// those of others are.
func (w windows) closed(st int64) int64 {
	switch w.kind {
	case timed:
		return st - w.grace
	case sliding:
		return st - w.grace - 1
	case sessions:
		return st - w.size - w.grace - 1
	}
	return -1
}

func windowKey(key string, start, end int64) string {
	return fmt.Sprintf("%s@%d-%d", key, start, end)
}

// table is the aggregation as a table of windows.
func (w windowed) table(h []event) [][]change {
	out := make([][]change, len(h))
	times := w.streamTimes(h)
	keys, newest := map[string]live{}, int64(math.MinInt64/2)
	for i, e := range h {
		if e.kind != record || !slices.Contains(w.topics, e.topic) {
			continue
		}
		if r := w.reason(e); r != "" {
			out[i] = []change{{lost: r}}
			continue
		}
		switch w.kind {
		case sliding:
			out[i] = w.slide(keys, e, w.closed(times[i]))
		case sessions:
			out[i] = w.session(keys, &newest, e, w.closed(times[i]))
		default:
			out[i] = w.fixed(h[:i+1], times, e)
		}
	}
	return out
}

// starts are the windows that have a time.
func (w windows) starts(at int64) (out []int64) {
	if w.kind == unlimited {
		if at >= w.from {
			out = []int64{w.from}
		}
		return out
	}
	for s := at - at%w.advance; s > at-w.size && s >= 0; s -= w.advance {
		out = append(out, s)
	}
	slices.Reverse(out)
	return out
}

func (w windows) end(start int64) int64 {
	if w.kind == unlimited {
		return math.MaxInt64
	}
	return start + w.size
}

// fixed looks each window that e is in up in the whole history: its value is that of the records that came while it was open.
func (w windowed) fixed(h []event, times []int64, e event) (out []change) {
	for _, s := range w.starts(e.at) {
		var own []event
		for i, x := range h {
			if x.kind == record && slices.Contains(w.topics, x.topic) && w.reason(x) == "" && x.key == e.key && s <= x.at && x.at < w.end(s) && w.end(s) > w.closed(times[i]) {
				own = append(own, x)
			}
		}
		if len(own) == 0 || own[len(own)-1].n != e.n {
			out = append(out, change{lost: late})
			continue
		}
		f := fold{start: w.start, add: w.add, gone: w.gone}
		v, at := f.run(own)
		old, _ := f.run(before(own))
		if !old.ok && !w.reduce {
			old = some(w.start)
		}
		out = append(out, w.change(e, s, w.end(s), old, v, at))
	}
	return out
}

func (w windowed) change(e event, start, end int64, old, v text, at int64) change {
	return change{key: windowKey(e.key.s, start, end), of: e.key.s, start: start, end: end, new: v, old: old, at: at, from: e.n}
}

// live are the windows of a key that have a row, by start, or by their key if they are sessions.
type live map[int64]*liveWindow

type liveWindow struct {
	start, end int64
	agg        string
	at         int64
}

// fold adds e to a window that has a row, or begins with agg if it has none.
func (w windowed) into(l live, e event, start int64, agg string, at, closed int64) change {
	end := start + w.size
	if end <= closed {
		return change{lost: late}
	}
	old := text{}
	if x := l[start]; x != nil {
		old = some(x.agg)
	}
	v, at := some(w.add(e, agg)), max(at, e.at)
	l[start] = &liveWindow{start, end, v.s, at}
	if w.gone != nil && w.gone(e.key.s, v.s) {
		delete(l, start)
		v = text{}
	}
	return w.change(e, start, end, old, v, at)
}

// slide is what KIP-450 says of sliding windows, on a plain map.
func (w windowed) slide(all map[string]live, e event, closed int64) []change {
	l := all[e.key.s]
	if l == nil {
		l = live{}
		all[e.key.s] = l
	}
	if e.at+1+w.size <= closed+1 {
		return []change{{lost: late}}
	}
	was := maps.Clone(l)
	if e.at < w.size {
		return w.early(l, was, e, closed)
	}
	var out []change
	var left, right *liveWindow
	previous, hasPrevious, hasLeft := int64(0), false, false
	starts := slices.Sorted(maps.Keys(was))
	slices.Reverse(starts)
scan:
	for _, s := range starts {
		x := was[s]
		switch {
		case s > e.at: // what lies after e is none of its windows
		case s < e.at-2*w.size:
			break scan
		case x.end > e.at:
			if right == nil {
				right = x
			}
			out = append(out, w.into(l, e, s, x.agg, x.at, closed))
		case x.end == e.at:
			hasLeft = true
			if x.at < e.at {
				previous, hasPrevious = x.at, true
			}
			out = append(out, w.into(l, e, s, x.agg, x.at, closed))
			if x.at == e.at {
				return out
			}
		default:
			left, previous, hasPrevious = x, x.at, true
			break scan
		}
	}
	// The window that begins after the record before e,
	if s := previous + 1; hasPrevious && was[s] == nil && s+w.size >= e.at {
		out = append(out, w.into(l, e, s, w.start, e.at, closed))
		hasLeft = hasLeft || s+w.size == e.at // Kafka Streams sends it twice then
	}
	// the one that ends with e,
	if !hasLeft {
		agg := w.start
		if hasPrevious && previous >= e.at-w.size {
			agg = left.agg
		}
		out = append(out, w.into(l, e, e.at-w.size, agg, e.at, closed))
	}
	// and the one that begins after e, if there is something in it.
	return append(out, w.after(l, was, e, right)...)
}

func (w windowed) after(l, was live, e event, right *liveWindow) []change {
	s := e.at + 1
	if was[s] != nil || right == nil || right.at <= e.at {
		return nil
	}
	l[s] = &liveWindow{s, s + w.size, right.agg, right.at}
	return []change{w.change(e, s, s+w.size, text{}, some(right.agg), right.at)}
}

// early is for records so early that the window that ends with them would begin before 0: they share [0, size].
func (w windowed) early(l, was live, e event, closed int64) []change {
	var out []change
	var right *liveWindow
	combined := was[0]
	for _, s := range slices.Sorted(maps.Keys(was)) {
		if s > 0 && s <= e.at {
			right = was[s]
			out = append(out, w.into(l, e, s, right.agg, right.at, closed))
		}
	}
	if right == nil && combined != nil && combined.at > e.at {
		right = combined
	}
	out = append(out, w.after(l, was, e, right)...)
	if combined == nil {
		return append(out, w.into(l, e, 0, w.start, e.at, closed))
	}
	if s := combined.at + 1; combined.at < e.at && was[s] == nil {
		out = append(out, w.into(l, e, s, w.start, e.at, closed))
	}
	return append(out, w.into(l, e, 0, combined.agg, combined.at, closed))
}

// session merges what lies within the gap. Sessions do not overlap, so their ends tell them apart. newest is the greatest end so far.
func (w windowed) session(all map[string]live, newest *int64, e event, closed int64) (out []change) {
	l := all[e.key.s]
	if l == nil {
		l = live{}
		all[e.key.s] = l
	}
	start, end, agg := e.at, e.at, w.start
	var found []*liveWindow
	for _, x := range l {
		if x.end >= e.at-w.size && x.start <= e.at+w.size && (w.keep == 0 || x.end > *newest-w.keep) {
			found = append(found, x)
		}
	}
	slices.SortFunc(found, func(a, b *liveWindow) int { return cmp.Compare(a.end, b.end) })
	for _, x := range found {
		start, end, agg = min(start, x.start), max(end, x.end), w.merge(agg, x.agg)
	}
	if end <= closed {
		return []change{{lost: late}}
	}
	*newest = max(*newest, end)
	for _, x := range found {
		delete(l, x.end)
		if start != end || start != e.at {
			gone := w.change(e, x.start, x.end, some(x.agg), text{}, x.end)
			gone.from = -1
			out = append(out, gone)
		}
	}
	v := some(w.add(e, agg))
	l[end] = &liveWindow{start, end, v.s, end}
	if w.gone != nil && w.gone(e.key.s, v.s) {
		delete(l, end)
		v = text{}
	}
	c := w.change(e, start, end, text{}, v, end)
	c.from = -1
	return append(out, c)
}

// onClose sends a window once, when it closes, with the header of the record that closed it: by start, sessions by end, then by key.
func (w windowed) onClose(h []event) [][]change {
	out := make([][]change, len(h))
	times, last := w.streamTimes(h), map[string]change{}
	for i, cs := range w.table(h) {
		for _, c := range cs {
			if c.lost != "" {
				out[i] = append(out[i], c)
			} else {
				last[c.key] = c
			}
		}
		var due []change
		for k, c := range last {
			if c.end > w.closed(times[i]) {
				continue
			}
			delete(last, k)
			if c.new.ok {
				c.from, c.old = h[i].n, text{}
				if h[i].kind != record {
					c.from = -1
				}
				due = append(due, c)
			}
		}
		slices.SortFunc(due, w.byTime)
		out[i] = append(out[i], due...)
	}
	return out
}

func (w windows) byTime(a, b change) int {
	if w.kind == sessions {
		return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.of, b.of), cmp.Compare(a.start, b.start))
	}
	return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.of, b.of))
}

// slidingByDefinition says which windows a record changes if none ever closes, without replaying anything: a window ends with a record or
// begins after one, and has something in it.
func (w windowed) slidingByDefinition(h []event) [][]change {
	return changes(func(h []event, e event) []change {
		if w.reason(e) != "" {
			return []change{{lost: w.reason(e)}}
		}
		own := filtered(h, func(x event) bool { return x.key == e.key && w.reason(x) == "" })
		earlier := before(own)
		var there, fresh []int64
		for s := max(0, e.at-w.size); s <= e.at+1; s++ {
			switch {
			case w.exists(earlier, s) && s <= e.at:
				there = append(there, s)
			case w.exists(own, s) && !w.exists(earlier, s):
				fresh = append(fresh, s)
			}
		}
		var out []change
		for _, s := range w.order(e, there, fresh) {
			n, at := 0, int64(0)
			for _, x := range own {
				if s <= x.at && x.at <= s+w.size {
					n, at = n+1, max(at, x.at)
				}
			}
			out = append(out, w.change(e, s, s+w.size, text{}, some(dec(int64(n))), at))
		}
		return out
	})(h)
}

// exists reports whether there is a window that begins at s.
func (w windowed) exists(own []event, s int64) bool {
	borders, inside := false, false
	for _, x := range own {
		borders = borders || x.at == s+w.size || x.at == s-1 || s == 0 && x.at < w.size
		inside = inside || s <= x.at && x.at <= s+w.size
	}
	return borders && inside
}

// order is the one in which Kafka Streams sends windows: of those that were there the latest first, then the one after the record before,
// the one that ends with the record, and the one after it; for early records the window from 0 on comes last.
func (w windowed) order(e event, there, fresh []int64) []int64 {
	left := e.at - w.size
	if e.at < w.size {
		var rest []int64
		for _, s := range there {
			if s > 0 {
				rest = append(rest, s)
			}
		}
		slices.SortFunc(fresh, func(a, b int64) int { return cmp.Compare(b, a) })
		rest = append(rest, slices.DeleteFunc(fresh, func(s int64) bool { return s == 0 })...)
		return append(rest, 0)
	}
	slices.Reverse(there)
	place := func(s int64) int {
		switch s {
		case left:
			return 1
		case e.at + 1:
			return 2
		}
		return 0
	}
	slices.SortFunc(fresh, func(a, b int64) int { return cmp.Compare(place(a), place(b)) })
	return append(there, fresh...)
}
