package oracle

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// joinKind is inner, left or outer.
type joinKind uint8

const (
	inner joinKind = iota
	left
	outer
)

// joiner is that of all programs: both sides as text, with null for what is not there.
func joiner(l, r text) string { return l.or("null") + "+" + r.or("null") }

// state is the row of a table after some of a history.
type state struct {
	v  text
	at int64
}

// stateOf is a table as it is after the changes of a history: the last one for each key.
func stateOf(cs [][]change) map[string]state {
	out := map[string]state{}
	for _, some := range cs {
		for _, c := range some {
			if c.lost == "" && !c.stale {
				out[c.key] = state{c.new, c.at}
			}
		}
	}
	return out
}

// inOrder drops the updates of versioned tables for which there is a newer version.
func inOrder(t tableModel) tableModel {
	return func(h []event) [][]change {
		out := t(h)
		for _, cs := range out {
			for i, c := range cs {
				if c.stale {
					cs[i] = change{lost: outOfOrder}
				}
			}
		}
		return out
	}
}

// tableTable joins two tables: what follows from a change of one side and the other side's row of now.
func tableTable(kind joinKind, l, r tableModel) tableModel { return tableTableOf(kind, l, r, nil) }

// unstored are the rows of a join that keeps none: made of both sides' rows, with the greater of their times.
func unstored(kind joinKind, l, r tableModel) func(h []event) map[string]state {
	return func(h []event) map[string]state {
		out := map[string]state{}
		ls, rs := stateOf(l(h)), stateOf(r(h))
		for _, k := range sortedKeys(ls) {
			if x, ok := kind.left(change{key: k, new: ls[k].v, at: ls[k].at}, rs[k]); ok {
				out[k] = state{x.new, x.at}
			}
		}
		for _, k := range sortedKeys(rs) {
			if x, ok := kind.right(change{key: k, new: rs[k].v, at: rs[k].at}, ls[k]); ok && !ls[k].v.ok {
				out[k] = state{x.new, x.at}
			}
		}
		return out
	}
}

// tableTableOf is tableTable where the rows of the left table are others than those that it has sent last. Nil: they are those.
func tableTableOf(kind joinKind, l, r tableModel, left func(h []event) map[string]state) tableModel {
	if left == nil {
		left = func(h []event) map[string]state { return stateOf(inOrder(l)(h)) }
	}
	return func(h []event) [][]change {
		out := make([][]change, len(h))
		ls, rs := inOrder(l)(h), inOrder(r)(h)
		for i := range h {
			for _, c := range ls[i] {
				if c.lost != "" {
					out[i] = append(out[i], c)
					continue
				}
				other := stateOf(rs[:i+1])[c.key]
				if x, ok := kind.left(c, other); ok {
					out[i] = append(out[i], x)
				}
			}
			for _, c := range rs[i] {
				if c.lost != "" {
					out[i] = append(out[i], c)
					continue
				}
				other := left(h[:i+1])[c.key]
				if x, ok := kind.right(c, other); ok {
					out[i] = append(out[i], x)
				}
			}
		}
		return out
	}
}

// left is what follows from a change of the left table.
func (kind joinKind) left(c change, r state) (out change, ok bool) {
	pair := func(l text) text {
		switch {
		case l.ok && (r.v.ok || kind != inner), !l.ok && r.v.ok && kind == outer:
			return some(joiner(l, r.v))
		}
		return text{}
	}
	return kind.result(c, r, pair)
}

// right is what follows from a change of the right table.
func (kind joinKind) right(c change, l state) (out change, ok bool) {
	if kind == left && !l.v.ok {
		return out, false
	}
	pair := func(r text) text {
		switch {
		case l.v.ok && (r.ok || kind != inner), !l.v.ok && r.ok && kind == outer:
			return some(joiner(l.v, r))
		}
		return text{}
	}
	return kind.result(c, l, pair)
}

// result leaves out a deletion where there was nothing and the other side has nothing; an inner join, whatever happens then.
func (kind joinKind) result(c change, other state, pair func(text) text) (change, bool) {
	if !other.v.ok && (kind == inner || !c.new.ok && !c.old.ok) {
		return c, false
	}
	if other.v.ok {
		c.at = max(c.at, other.at)
	}
	c.new, c.old = pair(c.new), pair(c.old)
	return c, true
}

// grouped is table.groupBy().aggregate(): the changes of the groups.
type grouped struct {
	of       tableModel
	to       func(k, v string) (group, value text) // either null: that half is left out
	start    text                                  // of the aggregate; null: the first value is it
	add, sub func(agg, v string) string
	gone     func(group, agg string) bool
}

func (g grouped) table(h []event) [][]change {
	out := make([][]change, len(h))
	rows := map[string]state{}
	for i, cs := range g.of(h) {
		for _, c := range cs {
			if c.lost != "" {
				out[i] = append(out[i], c)
				continue
			}
			if c.stale {
				out[i] = append(out[i], change{lost: leftOut})
				continue
			}
			oldGroup, oldValue := g.half(c.key, c.old)
			newGroup, newValue := g.half(c.key, c.new)
			if oldGroup == newGroup {
				out[i] = append(out[i], g.apply(rows, c, newGroup, oldValue, newValue)...)
				continue
			}
			out[i] = append(out[i], g.apply(rows, c, oldGroup, oldValue, text{})...)
			out[i] = append(out[i], g.apply(rows, c, newGroup, text{}, newValue)...)
		}
	}
	return out
}

func (g grouped) half(k string, v text) (group, value text) {
	if v.ok {
		group, value = g.to(k, v.s)
	}
	if !group.ok || !value.ok {
		return text{}, text{}
	}
	return group, value
}

// apply takes minus from a group's row, adds plus, and says how it has changed.
func (g grouped) apply(rows map[string]state, c change, group, minus, plus text) []change {
	if !group.ok {
		return nil
	}
	was := rows[group.s]
	now := was.v
	if now.ok && minus.ok {
		now = g.put(group.s, g.sub(now.s, minus.s))
	}
	if plus.ok {
		switch {
		case now.ok:
			now = g.put(group.s, g.add(now.s, plus.s))
		case g.start.ok:
			now = g.put(group.s, g.add(g.start.s, plus.s))
		default:
			now = plus
		}
	}
	at := c.at
	if was.v.ok {
		at = max(at, was.at)
	}
	rows[group.s] = state{now, at}
	return []change{{key: group.s, new: now, old: was.v, at: at, from: c.from}}
}

func (g grouped) put(group, agg string) text {
	if g.gone != nil && g.gone(group, agg) {
		return text{}
	}
	return some(agg)
}

// foreignKey joins the rows of one table with those of another that a part of their value names.
type foreignKey struct {
	left bool
	l, r tableModel
	of   func(k, v string) text
	join func(l, r text) string
}

func (f foreignKey) table(h []event) [][]change {
	out := make([][]change, len(h))
	ls, rs := inOrder(f.l)(h), inOrder(f.r)(h)
	for i := range h {
		for _, c := range ls[i] {
			if c.lost == "" {
				out[i] = append(out[i], f.leftChange(c, stateOf(rs[:i+1]))...)
			} else {
				out[i] = append(out[i], c)
			}
		}
		for _, c := range rs[i] {
			if c.lost == "" {
				out[i] = append(out[i], f.rightChange(c, stateOf(ls[:i+1]))...)
			} else {
				out[i] = append(out[i], c)
			}
		}
	}
	return out
}

func (f foreignKey) key(k string, v text) text {
	if !v.ok {
		return text{}
	}
	return f.of(k, v.s)
}

func (f foreignKey) leftChange(c change, rights map[string]state) []change {
	was, is := f.key(c.key, c.old), f.key(c.key, c.new)
	r := rights[is.s]
	if !is.ok {
		r = state{}
	}
	joined := change{key: c.key, new: some(f.join(c.new, r.v)), at: c.at, from: c.from}
	if r.v.ok {
		joined.at = max(c.at, r.at)
	}
	gone := change{key: c.key, at: c.at, from: c.from}
	if old := rights[was.s]; !f.left && was.ok && !is.ok && old.v.ok {
		gone.at = max(c.at, old.at) // it is made where the row is that it referred to
	}
	lost := change{lost: noForeignKey}
	switch {
	case !c.new.ok && !c.old.ok:
		return nil
	case f.left && c.new.ok:
		return []change{joined}
	case !c.new.ok && (f.left || was.ok):
		return []change{gone}
	case !c.new.ok:
		return nil
	case !is.ok && was.ok:
		return []change{lost, gone}
	case !is.ok:
		return []change{lost}
	case r.v.ok:
		return []change{joined}
	case was.ok && was != is:
		return []change{gone}
	}
	return nil
}

// noForeignKey is why an inner join drops a row.
const noForeignKey = "row without foreign key"

func (f foreignKey) rightChange(c change, lefts map[string]state) (out []change) {
	for _, k := range sortedKeys(lefts) {
		l := lefts[k]
		if !l.v.ok || f.key(k, l.v) != some(c.key) {
			continue
		}
		x := change{key: k, at: c.at, from: c.from}
		if c.new.ok || f.left {
			x.new = some(f.join(l.v, c.new))
		}
		out = append(out, x)
	}
	return out
}

func sortedKeys[V any](m map[string]V) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	return sorted(keys)
}

// streamStream joins two streams by time.
type streamStream struct {
	kind                 joinKind
	before, after, grace int64 // left.at - before <= right.at <= left.at + after
	l, r, out            string
}

func (s streamStream) window(e event) (from, to int64) {
	if e.topic == s.l {
		return e.at - s.before, e.at + s.after
	}
	return e.at - s.after, e.at + s.before
}

// passed is when the window of a record has passed, due when it has closed.
func (s streamStream) passed(e event) int64 {
	_, to := s.window(e)
	return to
}

func (s streamStream) due(e event) int64 { return s.passed(e) + s.grace }

// notKept is what becomes of a record that is joined with what is there.
const notKept = "record joined, but too late to be kept for later partners"

// keeps reports whether a record is kept for partners, or still there, after some records: for as long as its window may be open by the
// times of its own side.
func (s streamStream) keeps(h []event, e event) bool {
	newest := int64(math.MinInt64 / 2)
	for _, x := range h {
		if x.kind == record && x.topic == e.topic && x.key.ok && x.value.ok {
			newest = max(newest, x.at)
		}
	}
	return e.at >= newest-s.before-s.after-s.grace
}

func (s streamStream) pairs(e event) bool {
	return s.kind == outer || s.kind == left && e.topic == s.l
}

func (s streamStream) row(l, r text, key text, at int64, from int) row {
	return row{s.out, key, some(joiner(l, r)), at, from}
}

func (s streamStream) alone(e event, from int) row {
	if e.topic == s.l {
		return s.row(e.value, text{}, e.key, e.at, from)
	}
	return s.row(text{}, e.value, e.key, e.at, from)
}

func (s streamStream) model(h []event) [][]row {
	out := make([][]row, len(h))
	st := int64(-1)
	var waiting []event
	for i, e := range h {
		if e.kind != record || e.topic != s.l && e.topic != s.r {
			continue
		}
		st = max(st, e.at)
		switch {
		case !e.value.ok:
			out[i] = []row{drop(noValue)}
			if !e.key.ok {
				out[i] = []row{drop(noKey)}
			}
			continue
		case !e.key.ok && s.pairs(e):
			out[i] = []row{s.alone(e, e.n)}
			continue
		case !e.key.ok:
			out[i] = []row{drop(noKey)}
			continue
		}
		if e.at == st {
			waiting = s.flush(waiting, st, func(x event) { out[i] = append(out[i], s.alone(x, e.n)) })
		}
		partners := s.partners(h[:i], e)
		for _, p := range partners {
			waiting = slices.DeleteFunc(waiting, func(x event) bool { return x.topic == p.topic && x.key == p.key && x.at == p.at })
			if e.topic == s.l {
				out[i] = append(out[i], s.row(e.value, p.value, e.key, max(e.at, p.at), e.n))
			} else {
				out[i] = append(out[i], s.row(p.value, e.value, e.key, max(e.at, p.at), e.n))
			}
		}
		if !s.keeps(h[:i], e) {
			out[i] = append(out[i], drop(notKept))
		}
		switch {
		case len(partners) > 0 || !s.pairs(e):
		case s.passed(e) < st:
			out[i] = append(out[i], s.alone(e, e.n))
		default:
			waiting = append(waiting, e)
		}
	}
	return out
}

// flush gives out what has waited in vain.
func (s streamStream) flush(waiting []event, st int64, emit func(event)) (rest []event) {
	order := slices.Clone(waiting)
	slices.SortStableFunc(order, func(a, b event) int {
		side := func(e event) int {
			if e.topic == s.r {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(side(a), side(b)), strings.Compare(a.key.s, b.key.s))
	})
	for _, x := range order {
		if s.due(x) < st {
			emit(x)
		}
	}
	return slices.DeleteFunc(waiting, func(x event) bool { return s.due(x) < st })
}

// partners are the records of the other side that came before e, lie in its window, and are still there.
func (s streamStream) partners(h []event, e event) (out []event) {
	from, to := s.window(e)
	for i, p := range h {
		if p.kind == record && (p.topic == s.l || p.topic == s.r) && p.topic != e.topic && p.key == e.key && p.value.ok && from <= p.at && p.at <= to && s.keeps(h[:i], p) && s.keeps(h, p) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return out
}
