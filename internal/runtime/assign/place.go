package assign

import (
	"cmp"
	"slices"
)

// placement places what share has balanced: share says where each task is to be in the end, and here it is decided
// where it is until the member there has its state, and which members have standbys.
//
// Invariants:
//
//  1. A task with state goes to a member whose lag is at most Options.AcceptableLag, or there is no living member that
//     can run it with a smaller one.
//  2. A task whose owner has its state leaves it only for its target, and only when that has caught up.
//  3. A standby is on another process than its task, and than the other standbys of the task.
//  4. A task has no fewer standbys that have caught up because one moves.
//  5. A fixed point: nothing moves when all members say the same again.
type placement struct {
	*Options
	members []*member
	owners  ownership
	warmUps []warmUp // in the order in which they are wanted
}

// warmUp is a task that is to move to a member which has not got its state.
type warmUp struct {
	candidate *candidate
	partition int32
	member    *member
	continues bool // the member has begun already
}

// placeActives decides who runs the tasks of s.
func (p *placement) placeActives(s *candidate) {
	for partition, target := range s.targets {
		if target != nil {
			s.targets[partition] = p.placeActive(s, int32(partition), target)
		}
	}
}

func (p *placement) placeActive(s *candidate, partition int32, target *member) *member {
	lag := func(m *member) int64 { return m.lag(s, partition, p.owners, p.Options) }
	// A member of an earlier version says nothing of its state, and cannot warm up.
	if !target.subscription.Standby {
		return target
	}
	targetLag := lag(target)
	if targetLag <= p.AcceptableLag {
		return target
	}
	owner := p.owners.tasks[task{s.number, partition}]
	best := p.best(s, partition, target)
	switch {
	// Nobody knows better: the task begins, or stays.
	case owner == target && (targetLag == unknownLag || lag(best) > p.AcceptableLag):
		return target
	// The owner is restoring, and others have the state already. Or there is no owner.
	case owner == nil || owner == target:
		if lag(best) >= targetLag {
			return target
		}
	// The owner runs the task: it stays until the target has caught up.
	case lag(owner) <= p.AcceptableLag || lag(owner) == unknownLag:
		best = owner
	// The owner is restoring, and nobody has the state. It goes on, unless the target has more than all others.
	case lag(best) > p.AcceptableLag:
		if targetLag <= lag(best) {
			return target
		}
		best = owner
	}
	p.warmUps = append(p.warmUps, warmUp{s, partition, target, target.standbys[task{s.number, partition}]})
	return best
}

// best returns who should run a task if balance did not matter: of those whose lag is acceptable whoever has least to
// do, and if there are none, whoever has the smallest lag. Members that have nothing of it are no better than the
// target.
func (p *placement) best(s *candidate, partition int32, target *member) *member {
	best := target
	bestLag := target.lag(s, partition, p.owners, p.Options)
	for _, m := range s.holders[partition] {
		lag := m.lag(s, partition, p.owners, p.Options)
		order := cmp.Compare(lag, bestLag)
		if accept := p.AcceptableLag; lag <= accept && bestLag <= accept {
			order = cmp.Or(compareLoad(m.assigned, m, best.assigned, best), order)
		}
		if order < 0 {
			best, bestLag = m, lag
		}
	}
	return best
}

// compareLoad compares a/weight with b/weight without a division.
func compareLoad(a int, of *member, b int, other *member) int {
	return cmp.Compare(a*other.weight, b*of.weight)
}

// placeStandbys decides which members have standbys of the tasks of the sub-topologies, Options.Standbys of each, fewer
// where there are not so many processes.
//
// Members come first that differ from the task and its other standbys in most of rack and tags, since what these name
// fails as a whole; then whoever has the standby already, as long as it has not more than its share; then who has
// the fewest. Whoever has standbys gets them before any other is placed: else another one could take up its share, and
// they would move.
func (p *placement) placeStandbys(subs []*candidate) {
	quota := p.standbyQuota(subs)
	locate(p.members, p.Options)
	for _, s := range subs {
		s.locations = newLocations(s, quota)
		s.standbys = make([][]*member, len(s.targets))
		for partition, active := range s.targets {
			for active != nil && len(s.standbys[partition]) < p.Standbys {
				if p.retainStandby(s, int32(partition), quota) == nil {
					break
				}
			}
		}
	}
	for _, s := range subs {
		s.locations = newLocations(s, quota) // in the order of what they have now
		for partition, active := range s.targets {
			for active != nil && len(s.standbys[partition]) < p.Standbys {
				// Beside one that was placed, others may stay that could not before.
				if len(s.standbys[partition]) > 0 {
					if m := p.retainStandby(s, int32(partition), quota); m != nil {
						s.locations.moved(m)
						continue
					}
				}
				m := s.locations.best(s.chosen(int32(partition)))
				if m == nil {
					break
				}
				p.addStandby(s, int32(partition), m, quota)
				s.locations.moved(m)
			}
		}
	}
	for _, s := range subs {
		for partition, standbys := range s.standbys {
			for _, m := range standbys {
				m.copies = append(m.copies, task{s.number, int32(partition)})
			}
		}
	}
}

// chosen returns who has a task and its standbys.
func (s *candidate) chosen(partition int32) []*member {
	return append([]*member{s.targets[partition]}, s.standbys[partition]...)
}

func (p *placement) addStandby(s *candidate, partition int32, m *member, quota map[*member]int) {
	quota[m]--
	m.standbyCount++
	s.standbys[partition] = append(s.standbys[partition], m)
}

// retainStandby places one more standby of a task with a member that has it already, and returns that member; nil:
// there is none. It stays only where no other member would differ from the task and its standbys in more of rack and
// tags.
func (p *placement) retainStandby(s *candidate, partition int32, quota map[*member]int) (best *member) {
	key := task{s.number, partition}
	chosen := s.chosen(partition)
	least := -1
	for _, m := range s.holders[partition] {
		if !m.subscription.Standby || quota[m] <= 0 || sharesProcess(m, chosen) || !p.hasState(m, s, key) {
			continue
		}
		if least < 0 {
			least = s.locations.leastShared(chosen)
		}
		if sharedWith(m.at, chosen) > least {
			continue
		}
		// Who has a standby now comes before who has state for another reason: else the two would take turns.
		// Last comes who has it only until another one has caught up: that other one would have read for nothing.
		if best == nil || cmp.Or(compareBool(!m.standbys[key], !best.standbys[key]),
			compareBool(m.wasLeaving[key], best.wasLeaving[key]),
			compareLoad(m.standbyCount, m, best.standbyCount, best)) < 0 {
			best = m
		}
	}
	if best != nil {
		p.addStandby(s, partition, best, quota)
	}
	return best
}

// hasState reports whether a member has a standby of a task, runs it, or has what it had when it did either.
func (p *placement) hasState(m *member, s *candidate, key task) bool {
	if m.standbys[key] || p.owners.tasks[key] == m {
		return true
	}
	_, listed := m.positions[key]
	return listed && m.lag(s, key.partition, p.owners, p.Options) <= p.AcceptableLag
}

// compareBool puts false first.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func sharesProcess(m *member, chosen []*member) bool {
	return slices.ContainsFunc(chosen, func(c *member) bool {
		return c == m || c.subscription.Process == m.subscription.Process && c.subscription.Process != [16]byte{}
	})
}

// standbyQuota returns how many standbys each member is to have at most, as long as others can have the rest.
func (p *placement) standbyQuota(subs []*candidate) map[*member]int {
	wanted, weights := 0, 0
	for _, s := range subs {
		wanted += s.tasks() * p.Standbys
	}
	for _, m := range p.members {
		if m.subscription.Standby {
			weights += m.weight
		}
	}
	quota := map[*member]int{}
	for _, m := range p.members {
		if m.subscription.Standby {
			quota[m] = (wanted*m.weight + weights - 1) / weights
		}
	}
	return quota
}

// placeWarmUps has the targets of tasks that have not moved warm up: those that are a standby, those that have begun,
// and others until there are maxWarmUps.
func (p *placement) placeWarmUps() {
	slices.SortStableFunc(p.warmUps, func(a, b warmUp) int { return compareBool(b.continues, a.continues) })
	begun := 0
	for _, w := range p.warmUps {
		if slices.Contains(w.candidate.standbysOf(w.partition), w.member) {
			w.member.warm = append(w.member.warm, task{w.candidate.number, w.partition})
			continue
		}
		if begun < maxWarmUps {
			begun++
			w.member.warm = append(w.member.warm, task{w.candidate.number, w.partition})
			w.member.copies = append(w.member.copies, task{w.candidate.number, w.partition})
		}
	}
}

// placeLeaving lets members keep standbys that others are to have, until those have caught up: a task would have fewer
// meanwhile, and whoever gets it when its member dies would restore. For each standby that has not caught up, one stays
// that has, or of which that is not known.
func (p *placement) placeLeaving(subs []*candidate) {
	for _, s := range subs {
		for partition, standbys := range s.standbys {
			key := task{s.number, int32(partition)}
			behind := slices.DeleteFunc(slices.Clone(standbys), func(m *member) bool {
				return m.lag(s, key.partition, p.owners, p.Options) <= p.AcceptableLag
			})
			leaving := p.leaving(s, key, len(behind))
			for _, m := range leaving {
				m.copies, m.leaving = append(m.copies, key), append(m.leaving, key)
			}
			if len(leaving) > 0 {
				for _, m := range behind {
					m.replacing = append(m.replacing, key)
				}
			}
		}
	}
}

// leaving returns up to n members that have a standby of a task, or run it, and are to have none.
func (p *placement) leaving(s *candidate, key task, n int) (out []*member) {
	chosen := s.chosen(key.partition)
	for _, m := range s.holders[key.partition] {
		if len(out) == n {
			break
		}
		if !m.subscription.Standby || !p.hasState(m, s, key) || sharesProcess(m, chosen) || slices.Contains(m.copies, key) {
			continue
		}
		if lag := m.lag(s, key.partition, p.owners, p.Options); lag <= p.AcceptableLag || lag == unknownLag {
			out, chosen = append(out, m), append(chosen, m)
		}
	}
	return out
}

func (s *candidate) standbysOf(partition int32) []*member {
	if int(partition) >= len(s.standbys) {
		return nil
	}
	return s.standbys[partition]
}

// place places all tasks of the sub-topologies.
func place(members []*member, owners ownership, subs []*candidate, o *Options) {
	p := &placement{Options: o, members: members, owners: owners}
	var stateful []*candidate
	p.findHolders(subs)
	for _, s := range subs {
		if o.Changelogs != nil && s.Stateful() && s.restorable(o) {
			stateful = append(stateful, s)
			p.placeActives(s)
		}
		for partition, m := range s.targets {
			if m != nil {
				m.target = append(m.target, task{s.number, int32(partition)})
			}
		}
	}
	if len(stateful) == 0 {
		return
	}
	if o.Standbys > 0 {
		p.placeStandbys(stateful)
	}
	p.placeWarmUps()
	p.placeLeaving(stateful)
	p.findUnneeded(stateful)
}

// findHolders finds who has state of the tasks of the sub-topologies.
func (p *placement) findHolders(subs []*candidate) {
	byNumber := map[int32]*candidate{}
	for _, s := range subs {
		byNumber[s.number] = s
		s.holders = make([][]*member, len(s.targets))
	}
	for _, m := range p.members {
		add := func(key task) {
			s := byNumber[key.sub]
			if s == nil || key.partition < 0 || int(key.partition) >= len(s.holders) {
				return
			}
			if at := &s.holders[key.partition]; len(*at) == 0 || (*at)[len(*at)-1] != m {
				*at = append(*at, m)
			}
		}
		for key := range m.standbys {
			add(key)
		}
		for key := range m.positions {
			add(key)
		}
		for _, t := range m.subscription.Owned {
			if key, ok := m.task(t); ok && p.owners.tasks[key] == m {
				add(key)
			}
		}
	}
}

// findUnneeded finds the state that members have of tasks which are somewhere else, and which somebody else has.
func (p *placement) findUnneeded(subs []*candidate) {
	for _, s := range subs {
		for _, m := range s.runners {
			for _, partition := range m.stored[s.number] {
				if partition < 0 || int(partition) >= len(s.targets) {
					continue
				}
				active := s.targets[partition]
				if active == nil || active == m || slices.Contains(m.copies, task{s.number, partition}) {
					continue
				}
				if active.lag(s, partition, p.owners, p.Options) <= p.AcceptableLag {
					m.unneeded = append(m.unneeded, task{s.number, partition})
				}
			}
		}
	}
}
