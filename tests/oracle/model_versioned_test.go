package oracle

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Reasons of versioned tables.
const (
	outOfOrder  = "update older than the row's latest version"
	leftOut     = "update older than the row's latest version, left out of groups"
	outOfReach  = "older than what its store keeps"
	noLookupKey = "record without key to look up"
)

// versions are the records of a versioned table's topic that it has kept, and its time.
func versions(h []event, topic string, history int64) (kept []event, now int64) {
	now = math.MinInt64 + history
	for _, e := range of(h, topic) {
		if !e.key.ok {
			continue
		}
		now = max(now, e.at)
		if e.at >= now-history {
			kept = append(kept, e)
		}
	}
	return kept, now
}

// newestOf is the latest version of a key up to a time: the last that was put of those that begin then.
func newestOf(kept []event, key text, upTo int64) (v event, ok bool) {
	for _, e := range kept {
		if e.key == key && e.at <= upTo && (!ok || e.at >= v.at) {
			v, ok = e, true
		}
	}
	return v, ok
}

// versionedSource is a versioned table read from a topic.
func versionedSource(topic string, history int64) tableModel {
	return changes(func(h []event, e event) []change {
		if e.topic != topic {
			return nil
		}
		if !e.key.ok {
			return []change{{lost: noKey}}
		}
		kept, _ := versions(h, topic, history)
		if len(kept) == 0 || kept[len(kept)-1].n != e.n {
			return []change{{lost: outOfReach}}
		}
		old, _ := newestOf(before(kept), e.key, math.MaxInt64)
		last, _ := newestOf(kept, e.key, math.MaxInt64)
		return []change{{key: e.key.s, new: e.value, old: old.value, at: e.at, from: e.n, stale: last.n != e.n}}
	})
}

// asOf is the row of a versioned table at a time.
func asOf(h []event, topic string, history int64, key text, at int64) text {
	kept, now := versions(h, topic, history)
	last, ok := newestOf(kept, key, math.MaxInt64)
	if !ok || at < now-history && last.at > at {
		return text{}
	}
	v, _ := newestOf(kept, key, at)
	return v.value
}

// streamVersioned joins a stream with a versioned table, at once or when stream time is grace past a record.
func streamVersioned(leftJoin bool, grace, history int64) model {
	pair := func(h []event, e event) []row {
		v := text{}
		if e.key.ok {
			v = asOf(h, "rows", history, e.key, e.at)
		}
		if !v.ok && !leftJoin {
			return nil
		}
		return []row{{"out", e.key, some(e.value.s + "+" + v.or("null")), e.at, e.n}}
	}
	return func(h []event) [][]row {
		out := make([][]row, len(h))
		var waiting []event
		st := int64(-1)
		for i, e := range h {
			if e.kind != record || e.topic != "in" {
				continue
			}
			switch {
			case !e.key.ok && !leftJoin:
				out[i] = []row{drop(noKey)}
				continue
			case !e.value.ok:
				out[i] = []row{drop(noValue)}
				continue
			case !e.key.ok || grace < 0:
				out[i] = pair(h[:i+1], e)
				continue
			}
			st = max(st, e.at)
			if e.at < st-grace {
				out[i] = pair(h[:i+1], e)
				continue
			}
			waiting = append(waiting, e)
			slices.SortStableFunc(waiting, func(a, b event) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.key.s, b.key.s)) })
			for len(waiting) > 0 && waiting[0].at <= st-grace {
				out[i] = append(out[i], pair(h[:i+1], waiting[0])...)
				waiting = waiting[1:]
			}
		}
		return out
	}
}

// streamGlobal joins a stream with a global table by a key that it makes of the record.
func streamGlobal(leftJoin bool, key func(e event) text) model {
	return each(func(h []event, e event) []row {
		switch {
		case e.topic == "global" && !e.key.ok:
			return []row{drop(noKey)}
		case e.topic != "in":
			return nil
		case !e.value.ok:
			return []row{drop(noValue)}
		}
		k, v := key(e), text{}
		if k.ok {
			v, _ = latest(h, "global", k.s)
		}
		switch {
		case !k.ok && !leftJoin:
			return []row{drop(noLookupKey)}
		case !v.ok && !leftJoin:
			return nil
		}
		return []row{{"out", e.key, some(e.value.s + "+" + v.or("null")), e.at, e.n}}
	})
}

// versionRows are the latest versions of all keys.
func versionRows(topic string, history int64) func(h []event) []string {
	return func(h []event) (out []string) {
		kept, _ := versions(h, topic, history)
		for _, k := range keysOf(kept) {
			if v, ok := newestOf(kept, some(k), math.MaxInt64); ok && v.value.ok {
				out = append(out, fmt.Sprintf("%s -> %s @%d", k, v.value.s, v.at))
			}
		}
		return out
	}
}
