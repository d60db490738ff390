package assign

import (
	"cmp"
	"slices"
)

// share divides the tasks of s among the members that can run it.
//
// Each member gets its proportional share, rounded down. The tasks that remain go, one each, to the
// members that have the least so far. So the counts of one sub-topology differ by one at most
// between equal members. The totals do, too, since the remainders even out what earlier
// sub-topologies left uneven. Between members that have the same, the one that owns more already
// comes first: that makes an assignment a fixed point (invariant 4), where a decision by id alone
// would move tasks in circles.
func (s *candidate) share(owners ownership, o *Options) {
	s.targets = make([]*member, s.tasks())
	owned := s.owned(owners)
	stored := s.membersWithState(owners, o)
	quota := s.quota(owned)
	// In this order: a task that stays costs nothing, one that moves to where its state is costs a
	// short restore, and any other a full one.
	free := s.assignToOwners(owned, stored, quota)
	free = s.assignToStored(free, stored, quota)
	s.assignToRoomiest(free, quota)
}

// assignToRoomiest assigns each of the free tasks to whoever has the most room then. The quotas that
// are left add up to the number of free tasks.
func (s *candidate) assignToRoomiest(free []int32, quota map[*member]int) {
	room := 0
	for _, m := range s.runners {
		room = max(room, quota[m])
	}
	// Members with the most room get one task each, then have as much as the next ones: one pass over
	// the members for each level instead of one for each task.
	for ; room > 0; room-- {
		for _, m := range s.runners {
			if quota[m] == room && len(free) > 0 {
				s.assignTo(m, free[0], quota)
				free = free[1:]
			}
		}
	}
}

func (s *candidate) assignTo(m *member, partition int32, quota map[*member]int) {
	s.targets[partition] = m
	m.assigned++
	quota[m]--
}

// owned returns the partitions that each member of s runs.
func (s *candidate) owned(owners ownership) map[*member][]int32 {
	out := map[*member][]int32{}
	for p := range int32(s.tasks()) {
		if m := owners.tasks[task{s.number, p}]; m != nil {
			out[m] = append(out[m], p)
		}
	}
	return out
}

// quota returns how many tasks each member is to have.
func (s *candidate) quota(owned map[*member][]int32) map[*member]int {
	weights := 0
	for _, m := range s.runners {
		weights += m.weight
	}
	out := make(map[*member]int, len(s.runners))
	remaining := s.tasks()
	for _, m := range s.runners {
		out[m] = s.tasks() * m.weight / weights
		remaining -= out[m]
	}
	// The remaining tasks go to those who would have the least with one more: (tasks+1)/weight,
	// compared without a division. Between equals, whoever owns more, or else has more state, so that
	// less moves.
	byNeed := slices.Clone(s.runners)
	slices.SortStableFunc(byNeed, func(a, b *member) int {
		return cmp.Or(cmp.Compare((a.assigned+out[a]+1)*b.weight, (b.assigned+out[b]+1)*a.weight),
			cmp.Compare(len(owned[b]), len(owned[a])), cmp.Compare(s.storedCount(b), s.storedCount(a)), cmp.Compare(a.id, b.id))
	})
	for _, m := range byNeed[:remaining] {
		out[m]++
	}
	return out
}

func (s *candidate) storedCount(m *member) int { return len(m.stored[s.number]) }

// membersWithState returns, for each task, the members that have state of it: those with the smallest lag first, where
// that is known, and otherwise in the order of runners.
func (s *candidate) membersWithState(owners ownership, o *Options) [][]*member {
	out := make([][]*member, s.tasks())
	for _, m := range s.runners {
		for _, p := range m.stored[s.number] {
			if p >= 0 && int(p) < len(out) {
				out[p] = append(out[p], m)
			}
		}
	}
	for p, members := range out {
		if o.Changelogs != nil && len(members) > 1 {
			slices.SortStableFunc(members, func(a, b *member) int {
				return cmp.Compare(a.lag(s, int32(p), owners, o), b.lag(s, int32(p), owners, o))
			})
		}
	}
	return out
}

// assignToOwners assigns to each member what it owns, up to its quota, and returns what is free
// then. When a member owns more than its quota, it first loses the tasks of which a member with
// room has state.
func (s *candidate) assignToOwners(
	owned map[*member][]int32, stored [][]*member, quota map[*member]int,
) (free []int32) {
	assigned := make([]bool, s.tasks())
	// A member that comes back has the state of tasks that others have run meanwhile. These tasks go
	// last in the order of what an owner retains, so that they are the ones that become free.
	otherHasState := func(p int32) int {
		if slices.ContainsFunc(stored[p], func(m *member) bool { return quota[m] > len(owned[m]) }) {
			return 1
		}
		return 0
	}
	for _, m := range s.runners {
		partitions := slices.Clone(owned[m])
		slices.SortStableFunc(partitions, func(a, b int32) int { return cmp.Compare(otherHasState(a), otherHasState(b)) })
		for _, p := range partitions[:min(len(partitions), quota[m])] {
			assigned[p] = true
			s.assignTo(m, p, quota)
		}
	}
	for p := range assigned {
		if !assigned[p] {
			free = append(free, int32(p))
		}
	}
	return free
}

// assignToStored assigns free tasks to members with room that have state of them, and returns the
// rest.
func (s *candidate) assignToStored(free []int32, stored [][]*member, quota map[*member]int) (rest []int32) {
	for _, p := range free {
		i := slices.IndexFunc(stored[p], func(m *member) bool { return quota[m] > 0 })
		if i < 0 {
			rest = append(rest, p)
			continue
		}
		s.assignTo(stored[p][i], p, quota)
	}
	return rest
}
