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
//  4. A fixed point: nothing moves when all members say the same again.
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
	best := p.best(s, partition)
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
// do, and if there are none, whoever has the smallest lag.
func (p *placement) best(s *candidate, partition int32) *member {
	var best *member
	var bestLag int64
	for _, m := range s.runners {
		lag := m.lag(s, partition, p.owners, p.Options)
		if best == nil {
			best, bestLag = m, lag
			continue
		}
		var order int
		if accept := p.AcceptableLag; lag <= accept && bestLag <= accept {
			order = cmp.Or(compareLoad(m.assigned, m, best.assigned, best), cmp.Compare(lag, bestLag))
		} else {
			order = cmp.Compare(lag, bestLag)
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
// Members in another rack than the task and its other standbys come first, since a rack fails as a whole; then
// whoever has the standby already, as long as it has not more than its share; then who has the fewest. Whoever has
// standbys gets them before any other is placed: else another one could take up its share, and they would move.
func (p *placement) placeStandbys(subs []*candidate) {
	quota := p.standbyQuota(subs)
	for _, s := range subs {
		s.standbys = make([][]*member, len(s.targets))
	}
	for _, holders := range []bool{true, false} {
		for _, s := range subs {
			for partition, active := range s.targets {
				for active != nil && len(s.standbys[partition]) < p.Standbys && p.placeStandby(s, int32(partition), holders, quota) {
				}
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

// placeStandby places one more standby of a task, and reports whether it did. With holders it does only if who suits
// best has it already.
func (p *placement) placeStandby(s *candidate, partition int32, holders bool, quota map[*member]int) bool {
	key := task{s.number, partition}
	chosen := append([]*member{s.targets[partition]}, s.standbys[partition]...)
	var best *member
	var bestRank standbyRank
	for _, m := range s.runners {
		if !m.subscription.Standby || sharesProcess(m, chosen) {
			continue
		}
		rank := standbyRank{sameRack: sharesRack(m, chosen), has: quota[m] > 0 && p.hasState(m, s, key), full: quota[m] <= 0}
		if best == nil || rank.compare(bestRank, m, best) < 0 {
			best, bestRank = m, rank
		}
	}
	if best == nil || holders && !bestRank.has {
		return false
	}
	quota[best]--
	best.standbyCount++
	s.standbys[partition] = append(s.standbys[partition], best)
	return true
}

// hasState reports whether a member has a standby of a task, runs it, or has what it had when it did either.
func (p *placement) hasState(m *member, s *candidate, key task) bool {
	if m.standbys[key] || p.owners.tasks[key] == m {
		return true
	}
	_, listed := m.positions[key]
	return listed && m.lag(s, key.partition, p.owners, p.Options) <= p.AcceptableLag
}

// standbyRank is how well a member suits for a standby.
type standbyRank struct{ sameRack, has, full bool }

func (r standbyRank) compare(other standbyRank, m, than *member) int {
	return cmp.Or(compareBool(r.sameRack, other.sameRack), compareBool(other.has, r.has), compareBool(r.full, other.full),
		compareLoad(m.standbyCount, m, than.standbyCount, than), cmp.Compare(m.id, than.id))
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

func sharesRack(m *member, chosen []*member) bool {
	return slices.ContainsFunc(chosen, func(c *member) bool {
		return c.subscription.Rack == m.subscription.Rack
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
	p.findUnneeded(stateful)
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
