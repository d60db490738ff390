package assign

import (
	"cmp"
	"container/heap"
	"slices"
)

// A standby is to survive what its task does not: it is where as few things as possible are the same. These are the
// rack of a member and the tags that Options.StandbyTags names, called dimensions here, each of which counts as much as
// any other. A member that does not say a tag has a value of its own, the empty one.
//
// A dimension of which all values are in use by a task and its standbys is the same wherever the next standby is, so it
// decides nothing: the others do.

// locations are the members that can have standbys of a sub-topology, by where they are, and in each place those first
// that have room and the fewest. So one of a thousand members is found without a look at all of them.
type locations struct {
	all   []*location
	by    map[string]*location
	quota map[*member]int
	// values is, by dimension, how many values there are.
	values []map[int32]int
}

// location is a heap of members that say the same of where they are.
type location struct {
	at      []int32 // see member.at
	members []*member
	quota   map[*member]int
}

// locate gives each member its place: by dimension, a number that stands for its value.
func locate(members []*member, o *Options) {
	dimensions := 1 + len(o.StandbyTags)
	numbers := make([]map[string]int32, dimensions)
	for d := range numbers {
		numbers[d] = map[string]int32{}
	}
	for _, m := range members {
		m.at = make([]int32, dimensions)
		for d := range m.at {
			value := m.subscription.Rack
			if d > 0 {
				value = m.subscription.Tags[o.StandbyTags[d-1]]
			}
			number, known := numbers[d][value]
			if !known {
				number = int32(len(numbers[d]))
				numbers[d][value] = number
			}
			m.at[d] = number
		}
	}
}

func newLocations(s *candidate, quota map[*member]int) *locations {
	l := &locations{by: map[string]*location{}, quota: quota}
	for _, m := range s.runners {
		if !m.subscription.Standby {
			continue
		}
		key := keyOf(m.at)
		x := l.by[key]
		if x == nil {
			x = &location{at: m.at, quota: quota}
			l.by[key] = x
			l.all = append(l.all, x)
		}
		x.members = append(x.members, m)
	}
	for _, x := range l.all {
		heap.Init(x)
		for d, value := range x.at {
			if d == len(l.values) {
				l.values = append(l.values, map[int32]int{})
			}
			l.values[d][value]++
		}
	}
	return l
}

func keyOf(at []int32) string {
	b := make([]byte, 0, 4*len(at))
	for _, v := range at {
		b = append(b, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	return string(b)
}

// sharedWith returns in how many dimensions a place is the same as that of at least one of the members.
func sharedWith(at []int32, chosen []*member) (n int) {
	for d, value := range at {
		if slices.ContainsFunc(chosen, func(c *member) bool { return c.at[d] == value }) {
			n++
		}
	}
	return n
}

// leastShared returns the least sharedWith of the members that could have one more standby beside those that are
// chosen.
func (l *locations) leastShared(chosen []*member) int {
	bound, least := l.bound(chosen), len(l.values)+1
	for _, x := range l.all {
		if shared := sharedWith(x.at, chosen); shared < least && x.hasOther(chosen) {
			if least = shared; least <= bound {
				break // nobody can be better, so in large groups few places are looked at
			}
		}
	}
	return least
}

// bound returns a number that leastShared cannot be less than: the dimensions of which all values are in use.
func (l *locations) bound(chosen []*member) (n int) {
	for d, values := range l.values {
		used := 0
		for i, c := range chosen {
			if values[c.at[d]] > 0 &&
				!slices.ContainsFunc(chosen[:i], func(before *member) bool { return before.at[d] == c.at[d] }) {
				used++
			}
		}
		if used == len(values) {
			n++
		}
	}
	return n
}

// best returns who suits best for a standby beside those that are chosen; nil when nobody does.
func (l *locations) best(chosen []*member) *member {
	var best *member
	least := len(l.values) + 1
	for _, x := range l.all {
		shared := sharedWith(x.at, chosen)
		if shared > least || len(x.members) == 0 ||
			shared == least && compareRoom(x.members[0], best, l.quota) > 0 {
			continue // the others here have less room
		}
		if m := x.first(chosen); m != nil && (shared < least || compareRoom(m, best, l.quota) < 0) {
			best, least = m, shared
		}
	}
	return best
}

// moved notes that a member has got a standby: its place among the others depends on how many it has.
func (l *locations) moved(m *member) {
	x := l.by[keyOf(m.at)]
	heap.Fix(x, slices.Index(x.members, m)) // most often near the front
}

// hasOther reports whether a member here shares no process with those that are chosen.
func (x *location) hasOther(chosen []*member) bool {
	return slices.ContainsFunc(x.members, func(m *member) bool { return !sharesProcess(m, chosen) })
}

// first returns the first member that shares no process with those that are chosen.
func (x *location) first(chosen []*member) (m *member) {
	var skipped []*member
	for len(x.members) > 0 && m == nil {
		if next := x.members[0]; !sharesProcess(next, chosen) {
			m = next
		} else {
			skipped = append(skipped, heap.Pop(x).(*member))
		}
	}
	for _, s := range skipped {
		heap.Push(x, s)
	}
	return m
}

// compareRoom compares two members: who has room comes first, then who has fewer standbys.
func compareRoom(a, b *member, quota map[*member]int) int {
	return cmp.Or(compareBool(quota[a] <= 0, quota[b] <= 0), compareLoad(a.standbyCount, a, b.standbyCount, b),
		cmp.Compare(a.id, b.id))
}

// Len implements heap.Interface.
func (x *location) Len() int { return len(x.members) }

// Less implements heap.Interface.
func (x *location) Less(i, j int) bool { return compareRoom(x.members[i], x.members[j], x.quota) < 0 }

// Swap implements heap.Interface.
func (x *location) Swap(i, j int) { x.members[i], x.members[j] = x.members[j], x.members[i] }

// Push implements heap.Interface.
func (x *location) Push(m any) { x.members = append(x.members, m.(*member)) }

// Pop implements heap.Interface.
func (x *location) Pop() any {
	m := x.members[len(x.members)-1]
	x.members = x.members[:len(x.members)-1]
	return m
}
