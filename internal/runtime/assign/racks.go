package assign

import (
	"cmp"
	"container/heap"
	"slices"
)

// racks are the members that can have standbys of a sub-topology, by rack, and in each those first that have room and
// the fewest. So one of a thousand members is found without a look at all of them.
type racks struct {
	byName map[string]*rack
	names  []string
	quota  map[*member]int
}

// rack is a heap of members.
type rack struct {
	members []*member
	quota   map[*member]int
}

func newRacks(s *candidate, quota map[*member]int) *racks {
	r := &racks{byName: map[string]*rack{}, quota: quota}
	for _, m := range s.runners {
		if !m.subscription.Standby {
			continue
		}
		name := m.subscription.Rack
		if r.byName[name] == nil {
			r.byName[name] = &rack{quota: quota}
			r.names = append(r.names, name)
		}
		r.byName[name].members = append(r.byName[name].members, m)
	}
	for _, x := range r.byName {
		heap.Init(x)
	}
	return r
}

// take removes who suits best for a standby beside those that are chosen; nil when nobody does.
func (r *racks) take(chosen []*member) *member {
	for _, other := range []bool{true, false} {
		var best *member
		for _, name := range r.names {
			x := r.byName[name]
			if other != !sharesRackName(name, chosen) {
				continue
			}
			if m := x.first(chosen); m != nil && (best == nil || compareRoom(m, best, r.quota) < 0) {
				best = m
			}
		}
		if best != nil {
			x := r.byName[best.subscription.Rack]
			heap.Remove(x, slices.Index(x.members, best)) // near the front
			return best
		}
	}
	return nil
}

// put adds a member that was taken.
func (r *racks) put(m *member) { heap.Push(r.byName[m.subscription.Rack], m) }

// first returns the first member that shares no process with those that are chosen.
func (x *rack) first(chosen []*member) (m *member) {
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

func sharesRackName(name string, chosen []*member) bool {
	return slices.ContainsFunc(chosen, func(c *member) bool { return c.subscription.Rack == name })
}

// Len implements heap.Interface.
func (x *rack) Len() int { return len(x.members) }

// Less implements heap.Interface.
func (x *rack) Less(i, j int) bool { return compareRoom(x.members[i], x.members[j], x.quota) < 0 }

// Swap implements heap.Interface.
func (x *rack) Swap(i, j int) { x.members[i], x.members[j] = x.members[j], x.members[i] }

// Push implements heap.Interface.
func (x *rack) Push(m any) { x.members = append(x.members, m.(*member)) }

// Pop implements heap.Interface.
func (x *rack) Pop() any {
	m := x.members[len(x.members)-1]
	x.members = x.members[:len(x.members)-1]
	return m
}
