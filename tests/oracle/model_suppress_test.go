package oracle

import (
	"cmp"
	"slices"
)

// untilClose sends the last row of a window, once it has closed by the times of the changes; deletions it keeps to itself.
func untilClose(w windows, t tableModel) tableModel {
	return func(h []event) [][]change {
		out := make([][]change, len(h))
		held, st := map[string]change{}, int64(-1)
		for i, cs := range t(h) {
			for _, c := range cs {
				if c.lost != "" {
					out[i] = append(out[i], c)
					continue
				}
				st = max(st, c.at)
				held[c.key] = c
				due := take(held, func(c change) bool { return c.end <= w.closed(st) })
				slices.SortFunc(due, func(a, b change) int {
					return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.of, b.of), cmp.Compare(a.start, b.start))
				})
				out[i] = append(out[i], slices.DeleteFunc(due, func(c change) bool { return !c.new.ok })...)
			}
		}
		return out
	}
}

func take(held map[string]change, due func(c change) bool) (out []change) {
	for k, c := range held {
		if due(c) {
			out = append(out, c)
			delete(held, k)
		}
	}
	return out
}

// untilTime sends the last change of a key once its first one is d old by the times of the changes, or when more than most keys are held.
// What follows sees the old value of that change, as in Kafka Streams, not what it was sent last.
func untilTime(d int64, most int, t tableModel) tableModel {
	return func(h []event) [][]change {
		out := make([][]change, len(h))
		held, since, st := map[string]change{}, map[string]int64{}, int64(-1)
		for i, cs := range t(h) {
			for _, c := range cs {
				if c.lost != "" {
					out[i] = append(out[i], c)
					continue
				}
				st = max(st, c.at)
				if _, is := held[c.key]; !is {
					since[c.key] = c.at
				}
				held[c.key] = c
				var waiting []change
				for _, c := range held {
					waiting = append(waiting, c)
				}
				slices.SortFunc(waiting, func(a, b change) int {
					return cmp.Or(cmp.Compare(since[a.key], since[b.key]), cmp.Compare(a.key, b.key))
				})
				for n, c := range waiting {
					if since[c.key] > st-d && len(waiting)-n <= most {
						break
					}
					delete(held, c.key)
					out[i] = append(out[i], c)
				}
			}
		}
		return out
	}
}

// untilCommit sends the last change of each key at a commit, in the order of these changes; nothing of a row that was not there before
// and is not there now.
func untilCommit(t tableModel) tableModel {
	return atFlush(t, func(e event) bool { return e.kind == commit })
}

func atFlush(t tableModel, flush func(e event) bool) tableModel {
	return func(h []event) [][]change {
		out := make([][]change, len(h))
		var order []string
		held, old := map[string]change{}, map[string]text{}
		for i, cs := range t(h) {
			for _, c := range cs {
				if c.lost != "" {
					out[i] = append(out[i], c)
					continue
				}
				if _, is := held[c.key]; !is {
					old[c.key] = c.old
				}
				held[c.key] = c
				order = append(slices.DeleteFunc(order, func(k string) bool { return k == c.key }), c.key)
			}
			if !flush(h[i]) {
				continue
			}
			for _, k := range order {
				if c := held[k]; c.new.ok || old[k].ok {
					c.old = old[k]
					if !c.new.ok { // a deletion has the time of its record then, as in Kafka Streams
						c.at = timeOf(h, c.from)
					}
					out[i] = append(out[i], c)
				}
			}
			clear(held)
			order = nil
		}
		return out
	}
}

func timeOf(h []event, n int) int64 {
	for _, e := range h {
		if e.n == n && e.kind == record {
			return e.at
		}
	}
	return -1
}

// throttled sends the last change of each key when the clock has passed the end of an interval, the first of which begins with the task:
// by the times of their first changes and by key; nothing of a row that was not there before and is not there now.
func throttled(every int64, t tableModel) tableModel {
	return func(h []event) [][]change {
		out := make([][]change, len(h))
		held, first := map[string]change{}, map[string]change{}
		next := every
		for i, cs := range t(h) {
			for _, c := range cs {
				if _, is := held[c.key]; !is {
					first[c.key] = c
				}
				held[c.key] = c
			}
			switch e := h[i]; {
			case e.kind == restart || e.kind == wipe:
				next = e.now + every
				continue
			case e.kind != advance || e.now < next:
				continue
			}
			next = h[i].now - (h[i].now-next)%every + every
			for _, c := range held {
				if c.old = first[c.key].old; c.new.ok || c.old.ok {
					out[i] = append(out[i], c)
				}
			}
			slices.SortFunc(out[i], func(a, b change) int {
				return cmp.Or(cmp.Compare(first[a.key].at, first[b.key].at), cmp.Compare(a.key, b.key))
			})
			clear(held)
		}
		return out
	}
}
