package assign

import (
	"cmp"
	"slices"
)

// share divides the tasks of s among its members.
//
// Each member gets its proportional share rounded down, and what is left goes, one each, to the members with the least load so far.
// So the counts of one sub-topology differ by at most one between equal members, and since the remainders fill up what earlier
// sub-topologies left uneven, so do the totals. Ties go to who owns more already, which makes an assignment a fixed point
// (invariant 4): a tie-break by id alone would move tasks in circles.
func (s *sub) share(c claims) {
	owned := s.owned(c)
	quota := s.quota(owned)
	free := s.keep(owned, quota)
	free = s.returnToState(free, quota)
	for _, p := range free {
		i := 0
		for j, m := range s.members {
			if quota[m] > quota[s.members[i]] {
				i = j
			}
		}
		s.take(s.members[i], p, quota)
	}
}

func (s *sub) take(m *member, partition int32, quota map[*member]int) {
	m.tasks = append(m.tasks, task{s.id, partition})
	m.load++
	quota[m]--
}

// owned returns the partitions that each member of s runs.
func (s *sub) owned(c claims) map[*member][]int32 {
	out := map[*member][]int32{}
	for p := range int32(s.tasks()) {
		if m := c.tasks[task{s.id, p}]; m != nil {
			out[m] = append(out[m], p)
		}
	}
	return out
}

func (s *sub) quota(owned map[*member][]int32) map[*member]int {
	weights := 0
	for _, m := range s.members {
		weights += m.weight
	}
	out := make(map[*member]int, len(s.members))
	left := s.tasks()
	for _, m := range s.members {
		out[m] = s.tasks() * m.weight / weights
		left -= out[m]
	}
	byNeed := slices.Clone(s.members)
	slices.SortStableFunc(byNeed, func(a, b *member) int {
		// (load+1)/weight, without division
		return cmp.Or(cmp.Compare((a.load+out[a]+1)*b.weight, (b.load+out[b]+1)*a.weight),
			cmp.Compare(len(owned[b]), len(owned[a])), cmp.Compare(s.stored(b), s.stored(a)), cmp.Compare(a.id, b.id))
	})
	for _, m := range byNeed[:left] {
		out[m]++
	}
	return out
}

func (s *sub) stored(m *member) int {
	n := 0
	for t := range m.stored {
		if t.sub == s.id {
			n++
		}
	}
	return n
}

// keep leaves each member what it owns up to its quota, and returns what is free. What a member with room has state of is given up
// first.
func (s *sub) keep(owned map[*member][]int32, quota map[*member]int) (free []int32) {
	taken := make([]bool, s.tasks())
	wanted := func(p int32) int {
		for _, m := range s.members {
			if quota[m] > len(owned[m]) && m.stored[task{s.id, p}] {
				return 1
			}
		}
		return 0
	}
	for _, m := range s.members {
		ps := slices.Clone(owned[m])
		slices.SortStableFunc(ps, func(a, b int32) int { return cmp.Compare(wanted(a), wanted(b)) })
		for _, p := range ps[:min(len(ps), quota[m])] {
			taken[p] = true
			s.take(m, p, quota)
		}
	}
	for p := range taken {
		if !taken[p] {
			free = append(free, int32(p))
		}
	}
	return free
}

// returnToState gives free tasks to members with room that have state of them, and returns the rest.
func (s *sub) returnToState(free []int32, quota map[*member]int) (rest []int32) {
	for _, p := range free {
		i := slices.IndexFunc(s.members, func(m *member) bool { return quota[m] > 0 && m.stored[task{s.id, p}] })
		if i < 0 {
			rest = append(rest, p)
			continue
		}
		s.take(s.members[i], p, quota)
	}
	return rest
}
