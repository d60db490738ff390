//go:build kafka

package takeover

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// comparison is how results are compared with those of the model.
type comparison struct {
	repeated bool // what was processed may have been processed again
	final    bool // all windows are closed
}

// differ returns how the results of all outputs differ from what is wanted; "" when they do not.
func (c comparison) differ(have func(topic string) []result, want map[string][]result) string {
	var out []string
	for _, topic := range outputTopics() {
		if s := c.differOne(outputs[topic], have(topic), want[topic]); s != "" {
			out = append(out, topic+":\n"+s)
		}
	}
	return strings.Join(out, "\n")
}

func (c comparison) differOne(o output, have, want []result) string {
	all := have
	if o.table && (c.repeated || !o.changes) {
		have, want = slices.Collect(maps.Values(rows(have))), slices.Collect(maps.Values(rows(want)))
	}
	if c.repeated && (o.atLeast || o.unknown) {
		if !o.unknown {
			if s := tooLow(have, want); s != "" {
				return s
			}
		}
		if have, want = keys(have), keys(want); o.sessions {
			have = whole(have, want)
		}
	}
	h, w := o.texts(have), o.texts(want)
	if c.repeated {
		h, w = slices.Compact(h), slices.Compact(w)
	}
	missing, wrong := difference(w, h), difference(h, w)
	if o.later && !c.final {
		missing = nil
	}
	if len(missing)+len(wrong) == 0 {
		return ""
	}
	return fmt.Sprintf("%d results missing\n%s\n%d results that should not be there\n%s\n%s", len(missing), lines(missing), len(wrong), lines(wrong),
		history(all, append(missing, wrong...)[0]))
}

// tooLow returns the rows that have counted less than they should have. What is not there at all is found elsewhere.
func tooLow(have, want []result) string {
	wanted := rows(want)
	var out []string
	for key, r := range rows(have) {
		n, _ := strconv.Atoi(r.value)
		if w, _ := strconv.Atoi(wanted[key].value); n < w {
			out = append(out, fmt.Sprintf("%s = %d, and should be %d or more", key, n, w))
		}
	}
	return lines(out)
}

// history returns all results of the key that a text begins with, in all windows.
func history(all []result, text string) string {
	key, _, _ := strings.Cut(text, " = ")
	key, _, windowed := strings.Cut(key, "@")
	out := "all of " + key + ":"
	for _, r := range all {
		k, w, _ := strings.Cut(r.key, "@")
		if k != key {
			continue
		}
		out += " "
		if windowed {
			out += w + " = "
		}
		out += fmt.Sprintf("%s (%s)", r.value, r.where)
	}
	return out
}

// whole returns sessions with each that is part of one that is wanted replaced by that.
func whole(have, want []result) (out []result) {
	parse := func(r result) (key string, from, to int64) {
		key, window, _ := strings.Cut(r.key, "@")
		fmt.Sscanf(window, "%d-%d", &from, &to)
		return key, from, to
	}
	for _, h := range have {
		key, from, to := parse(h)
		for _, w := range want {
			if k, f, t := parse(w); k == key && f <= from && to <= t {
				h = w
			}
		}
		out = append(out, h)
	}
	return out
}

// keys returns results that have nothing but their keys.
func keys(rs []result) []result {
	out := make([]result, len(rs))
	for i, r := range rs {
		out[i] = result{key: r.key}
	}
	return out
}
