//go:build kafka

package takeover

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// model is what the program should have written: recomputed from all that its inputs have, in the order in which that was
// written, without any of its operators.
func model(in []record) map[string][]result {
	m := map[string][]result{}
	of := map[string][]record{}
	for _, r := range in {
		of[r.topic] = append(of[r.topic], r)
	}
	m["word-counts"] = words(of["words"])
	m["click-windows"], m["click-finals"] = clicks(of["clicks"])
	m["visit-sessions"] = visits(of["visits"])
	m["purchases-joined"], m["city-counts"] = purchases(in)
	m["sales-priced"] = sales(of["prices"], of["sales"])
	m["sales-settled"] = m["sales-priced"]
	m["pairs-inner"], m["pairs-left"], m["pairs-outer"] = pairs(of["lefts"], of["rights"])
	m["orders-sold"], m["orders-all-sold"] = orders(latest(of["orders"]), latest(of["shops"]))
	return m
}

func words(in []record) (out []result) {
	n := map[string]int{}
	for _, r := range in {
		n[r.value]++
		out = append(out, result{key: r.value, value: strconv.Itoa(n[r.value])})
	}
	return out
}

func clicks(in []record) (changes, finals []result) {
	n, latest := map[string]int{}, map[string]int64{}
	for _, r := range in {
		size := windowSize.Milliseconds()
		start := r.at - r.at%size
		key := fmt.Sprintf("%s@%d-%d", r.key, start, start+size)
		n[key]++
		latest[key] = max(latest[key], r.at)
		changes = append(changes, result{key: key, value: strconv.Itoa(n[key]), at: latest[key]})
	}
	return changes, slices.Collect(maps.Values(rows(changes)))
}

func visits(in []record) (out []result) {
	type session struct {
		from, to int64
		n        int
	}
	open := map[string][]session{}
	change := func(key string, s session, value string) {
		out = append(out, result{key: fmt.Sprintf("%s@%d-%d", key, s.from, s.to), value: value})
	}
	for _, r := range in {
		merged := session{r.at, r.at, 1}
		var others, joined []session
		for _, s := range open[r.key] {
			if s.to < r.at-gap.Milliseconds() || s.from > r.at+gap.Milliseconds() {
				others = append(others, s)
				continue
			}
			joined = append(joined, s)
			merged = session{min(merged.from, s.from), max(merged.to, s.to), merged.n + s.n}
		}
		if merged.from != merged.to {
			for _, s := range joined {
				change(r.key, s, none)
			}
		}
		change(r.key, merged, strconv.Itoa(merged.n))
		open[r.key] = append(others, merged)
	}
	return out
}

// purchases returns the purchases with their customers' cities, and how many customers each city has that ever had one.
func purchases(in []record) (joined, counts []result) {
	customers, cities := map[string]string{}, map[string]int{}
	for _, r := range in {
		switch {
		case r.topic == "purchases":
			city, ok := customers[r.key]
			joined = append(joined, result{key: r.key, value: withRow(r.value, city, ok), at: r.at})
		case r.topic == "customers":
			if city, ok := customers[r.key]; ok {
				cities[city]--
				delete(customers, r.key)
			}
			if !r.tombstone {
				cities[r.value]++
				customers[r.key] = r.value
			}
		}
	}
	for city, n := range cities {
		counts = append(counts, result{key: city, value: strconv.Itoa(n)})
	}
	return joined, counts
}

// sales returns each sale with the price that was valid at its time.
func sales(prices, sales []record) (out []result) {
	for _, s := range sales {
		var valid *record
		for i, p := range prices {
			if p.key == s.key && p.at <= s.at && (valid == nil || p.at >= valid.at) {
				valid = &prices[i]
			}
		}
		ok := valid != nil && !valid.tombstone
		price := ""
		if ok {
			price = valid.value
		}
		out = append(out, result{key: s.key, value: withRow(s.value, price, ok), at: s.at})
	}
	return out
}

func pairs(lefts, rights []record) (inner, left, outer []result) {
	matched := map[string]bool{}
	for _, l := range lefts {
		for _, r := range rights {
			if l.key == r.key && max(l.at-r.at, r.at-l.at) <= gap.Milliseconds() {
				inner = append(inner, result{key: l.key, value: both(l.value, r.value), at: max(l.at, r.at)})
				matched[l.value], matched[r.value] = true, true
			}
		}
	}
	left = slices.Clone(inner)
	for _, l := range lefts {
		if !matched[l.value] {
			left = append(left, result{key: l.key, value: both(l.value, null), at: l.at})
		}
	}
	outer = slices.Clone(left)
	for _, r := range rights {
		if !matched[r.value] {
			outer = append(outer, result{key: r.key, value: both(null, r.value), at: r.at})
		}
	}
	return inner, left, outer
}

func latest(in []record) map[string]string {
	out := map[string]string{}
	for _, r := range in {
		if out[r.key] = r.value; r.tombstone {
			delete(out, r.key)
		}
	}
	return out
}

func orders(orders, shops map[string]string) (inner, left []result) {
	for key, order := range orders {
		id, _, _ := strings.Cut(order, ":")
		name, ok := shops[id]
		if ok {
			inner = append(inner, result{key: key, value: both(order, name)})
		}
		left = append(left, result{key: key, value: withRow(order, name, ok)})
	}
	return inner, left
}
