package assign

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
)

// stores is a group whose members have state: what they run they have, what they restore or copy they get step by step.
type stores struct {
	*world
	r    *rand.Rand
	subs []Subtopology
	// has is, by member and task, the position that the member has in the changelog of the task's only store.
	has     map[string]map[graph.TaskID]int64
	running map[string]map[graph.TaskID]bool
	copies  map[string][]graph.TaskID
	warm    map[string][]graph.TaskID
	replace map[string][]graph.TaskID
	leaving map[string][]graph.TaskID
	moved   int // standbys that stayed until others had caught up
}

const acceptable = 10

func newStores(t *testing.T, r *rand.Rand, standbys int) *stores {
	s := &stores{world: newWorld(t, map[string]int{}), r: r, has: map[string]map[graph.TaskID]int64{}, running: map[string]map[graph.TaskID]bool{},
		copies: map[string][]graph.TaskID{}, warm: map[string][]graph.TaskID{}, replace: map[string][]graph.TaskID{}, leaving: map[string][]graph.TaskID{}}
	s.options = Options{Standbys: standbys, AcceptableLag: acceptable, Changelogs: map[string][]LogBounds{}}
	for i := range 1 + r.IntN(3) {
		topic := fmt.Sprintf("t%d", i)
		s.partitions[topic] = 1 + r.IntN(8)
		sub := Subtopology{Topics: []string{topic}}
		if i == 0 || r.IntN(3) > 0 {
			sub.Stores = []string{fmt.Sprintf("s%d", i)}
			logs := make([]LogBounds, s.partitions[topic])
			for p := range logs {
				logs[p] = LogBounds{End: int64(r.IntN(3) * 1000), Known: true}
			}
			s.options.Changelogs[sub.Stores[0]] = logs
		}
		s.subs = append(s.subs, sub)
	}
	return s
}

// add has a member join that says the rack, and the values of the tags in the order of the options.
func (s *stores) add(id, rack string, tags ...string) {
	s.join(id, 1, s.subs...)
	m := s.members[id]
	m.Standby, m.Changes, m.Rack = true, true, rack
	copy(m.Process[:], id)
	m.Tags = map[string]string{}
	for i, value := range tags {
		m.Tags[s.options.StandbyTags[i]] = value
	}
	s.members[id] = m
	s.has[id], s.running[id] = map[graph.TaskID]int64{}, map[graph.TaskID]bool{}
}

func (s *stores) remove(id string) {
	delete(s.members, id)
	delete(s.has, id)
	delete(s.running, id)
	delete(s.copies, id)
	delete(s.warm, id)
	delete(s.replace, id)
	delete(s.leaving, id)
}

func (s *stores) end(id graph.TaskID) int64 {
	return s.options.Changelogs[s.subs[id.Subtopology].Stores[0]][id.Partition].End
}

func (s *stores) stateful(id graph.TaskID) bool { return s.subs[id.Subtopology].Stateful() }

// lagOf is what the leader is to know of a member.
func (s *stores) lagOf(member string, id graph.TaskID) int64 {
	if s.running[member][id] {
		return 0
	}
	return s.end(id) - s.has[member][id]
}

// describe has the members say what they have.
func (s *stores) describe() {
	for id, m := range s.members {
		m.Standbys, m.Leaving, m.Positions, m.Stored = s.copies[id], s.leaving[id], nil, nil
		known := map[graph.TaskID]bool{}
		for t := range s.has[id] {
			known[t] = true
		}
		for _, t := range m.Owned {
			known[t] = s.stateful(t)
		}
		for _, t := range slices.SortedFunc(maps.Keys(known), graph.TaskID.Compare) {
			if known[t] && !s.running[id][t] {
				m.Positions = append(m.Positions, Position{t, []int64{s.has[id][t]}})
			}
			if known[t] {
				m.Stored = append(m.Stored, t)
			}
		}
		s.members[id] = m
	}
}

// generation does one generation, checks it, and reports whether another one follows.
func (s *stores) generation() bool {
	s.describe()
	type claim struct {
		member  string
		running bool
	}
	before, lags := map[graph.TaskID]claim{}, map[string]map[graph.TaskID]int64{}
	for id, m := range s.members {
		for _, t := range m.Owned {
			before[t] = claim{id, s.running[id][t]}
		}
		lags[id] = map[graph.TaskID]int64{}
		for sub := range s.subs {
			for p := range s.partitions[s.subs[sub].Topics[0]] {
				if t := (graph.TaskID{Subtopology: sub, Partition: int32(p)}); s.stateful(t) {
					lags[id][t] = s.lagOf(id, t)
				}
			}
		}
	}
	got := Assign(s.members, s.partitions, s.options)
	again := s.rebalance()
	least := func(t graph.TaskID) int64 {
		n := unknownLag
		for id := range s.members {
			n = min(n, lags[id][t])
		}
		return n
	}
	extra := 0
	for id, a := range got {
		for _, t := range a.Tasks {
			if was, owned := before[t]; s.stateful(t) && (!owned || was.member != id) {
				require.True(s.t, lags[id][t] <= acceptable || lags[id][t] <= least(t), "%v goes to %s, which is %d behind, and another one %d", t, id, lags[id][t], least(t))
			}
		}
		for t, was := range before {
			if was.member == id && was.running && s.stateful(t) && !slices.Contains(a.Tasks, t) {
				free := slices.ContainsFunc(slices.Collect(maps.Keys(got)), func(other string) bool { return other != id && lags[other][t] <= acceptable })
				require.True(s.t, free, "%v leaves %s although nobody has its state", t, id)
			}
		}
		for _, t := range a.Standbys {
			require.True(s.t, s.stateful(t))
			require.NotContains(s.t, a.Tasks, t, "a standby beside the task")
		}
		require.Len(s.t, slices.Compact(slices.Clone(a.Standbys)), len(a.Standbys))
		for _, t := range a.WarmUps {
			require.Contains(s.t, a.Standbys, t)
			if s.options.Standbys == 0 {
				extra++
			}
		}
		for _, t := range a.Unneeded {
			require.NotContains(s.t, a.Tasks, t)
			require.NotContains(s.t, a.Standbys, t)
		}
		require.Subset(s.t, a.Standbys, a.Replacing)
		require.Subset(s.t, a.Standbys, a.Leaving)
		s.moved += len(a.Leaving)
	}
	s.checkCopies(got, lags)
	for id, a := range got {
		s.copies[id], s.warm[id], s.replace[id], s.leaving[id] = a.Standbys, a.WarmUps, a.Replacing, a.Leaving
	}
	require.LessOrEqual(s.t, extra, maxWarmUps)
	for id, m := range s.members {
		for t := range s.running[id] {
			if !slices.Contains(m.Owned, t) {
				delete(s.running[id], t)
			}
		}
	}
	return again
}

// checkCopies checks that no task has fewer copies that have caught up than before, beside those of members that have died, as far as it is
// to have so many. A task that is on its way runs nowhere, and is a copy of its own.
func (s *stores) checkCopies(got map[string]Assignment, lags map[string]map[graph.TaskID]int64) {
	if s.options.Standbys == 0 {
		return
	}
	before, after, runs := map[graph.TaskID]int{}, map[graph.TaskID]int{}, map[graph.TaskID]bool{}
	for id, a := range got {
		for t, lag := range lags[id] {
			if lag > acceptable {
				continue
			}
			if s.running[id][t] || slices.Contains(s.copies[id], t) {
				before[t]++
			}
			if slices.Contains(a.Tasks, t) || slices.Contains(a.Standbys, t) {
				after[t]++
			}
		}
		for _, t := range a.Tasks {
			runs[t] = true
		}
	}
	for t, n := range before {
		if !runs[t] {
			after[t]++
		}
		require.GreaterOrEqual(s.t, after[t], min(n, 1+s.options.Standbys), "copies of %v that have caught up: %v", t, got)
	}
}

// work lets members restore and copy. It reports whether one is to ask for a rebalance.
func (s *stores) work() (rejoin bool) {
	for id, m := range s.members {
		for _, t := range m.Owned {
			if !s.stateful(t) || s.running[id][t] {
				continue
			}
			if s.has[id][t] += int64(s.r.IntN(1500)); s.has[id][t] >= s.end(t) {
				s.has[id][t], s.running[id][t] = s.end(t), true
			}
		}
		for _, t := range s.copies[id] {
			s.has[id][t] = min(s.has[id][t]+int64(s.r.IntN(1500)), s.end(t))
			rejoin = rejoin || (slices.Contains(s.warm[id], t) || slices.Contains(s.replace[id], t)) && s.lagOf(id, t) <= acceptable
		}
	}
	return rejoin
}

// converge lets members work until nothing moves any more.
func (s *stores) converge() {
	for i := 0; ; i++ {
		require.Less(s.t, i, 400, "no end of rebalances")
		again := s.generation()
		for range 4 {
			again = s.work() || again
		}
		idle := true
		for id, m := range s.members {
			for _, t := range m.Owned {
				idle = idle && (!s.stateful(t) || s.running[id][t])
			}
			idle = idle && len(s.warm[id])+len(s.replace[id])+len(s.leaving[id]) == 0
		}
		if !again && idle {
			break
		}
	}
	s.checkBalance(s.subs)
	s.describe()
	before := fmt.Sprint(s.members, s.copies)
	generation := s.world.generation
	require.False(s.t, s.generation())
	for id, m := range s.members {
		m.Generation = generation
		s.members[id] = m
	}
	s.describe()
	require.Equal(s.t, before, fmt.Sprint(s.members, s.copies), "nothing moves without cause")
	count := map[graph.TaskID]int{}
	for id, tasks := range s.copies {
		for _, t := range tasks {
			count[t]++
			require.NotContains(s.t, s.members[id].Owned, t)
		}
	}
	for sub := range s.subs {
		for p := range s.partitions[s.subs[sub].Topics[0]] {
			t := graph.TaskID{Subtopology: sub, Partition: int32(p)}
			want := 0
			if s.stateful(t) {
				want = min(s.options.Standbys, len(s.members)-1)
			}
			require.Equal(s.t, want, count[t], "standbys of %v", t)
			s.checkSpread(t)
		}
	}
}

// differing returns in how many of rack and tags a member differs from all of the others.
func (s *stores) differing(id string, others []string) (n int) {
	place := func(id string) []string {
		m := s.members[id]
		out := []string{m.Rack}
		for _, key := range s.options.StandbyTags {
			out = append(out, m.Tags[key])
		}
		return out
	}
	for i, value := range place(id) {
		if !slices.ContainsFunc(others, func(other string) bool { return place(other)[i] == value }) {
			n++
		}
	}
	return n
}

// checkSpread checks that the standbys of a task can be put in an order in which none could be at a better place beside the task and
// those before it.
func (s *stores) checkSpread(t graph.TaskID) {
	var chosen, rest []string
	for _, id := range slices.Sorted(maps.Keys(s.members)) {
		if slices.Contains(s.members[id].Owned, t) {
			chosen = append(chosen, id)
		} else if slices.Contains(s.copies[id], t) {
			rest = append(rest, id)
		}
	}
	var ordered func(chosen, rest []string) bool
	ordered = func(chosen, rest []string) bool {
		best := 0
		for id := range s.members {
			if !slices.Contains(chosen, id) {
				best = max(best, s.differing(id, chosen))
			}
		}
		for i, id := range rest {
			if s.differing(id, chosen) == best && ordered(append(slices.Clone(chosen), id), slices.Delete(slices.Clone(rest), i, i+1)) {
				return true
			}
		}
		return len(rest) == 0
	}
	require.True(s.t, ordered(chosen, rest), "%v runs on %v and has standbys on %v of %v", t, chosen, rest, s.members)
}

// Random groups whose members come and die at any time: valid at each step, no task goes to a laggard while somebody else
// has more of its state, and in the end all is balanced, each task has its standbys, and nothing moves.
func TestPlace_RandomGroups(t *testing.T) {
	r := source(t)
	n := 150
	if testing.Short() {
		n = 30
	}
	moved := 0
	for range n {
		s := newStores(t, r, r.IntN(3))
		racks, zones := []string{"", "a", "b"}[:1+r.IntN(3)], []string{"", "z1", "z2", "z3"}[:1+r.IntN(4)]
		s.options.StandbyTags = []string{"zone", "cluster"}[:r.IntN(3)]
		for step := range 8 {
			ids := slices.Sorted(maps.Keys(s.members))
			if len(ids) == 0 || r.IntN(5) < 3 {
				s.add(fmt.Sprintf("m%d", step), racks[r.IntN(len(racks))], []string{zones[r.IntN(len(zones))], racks[r.IntN(len(racks))]}[:len(s.options.StandbyTags)]...)
			} else {
				s.remove(ids[r.IntN(len(ids))])
			}
			if len(s.members) == 0 {
				continue
			}
			for _, logs := range s.options.Changelogs {
				for p := range logs {
					logs[p].End += int64(r.IntN(20))
				}
			}
			if r.IntN(3) == 0 { // the next one comes before it has settled
				s.generation()
				s.work()
				continue
			}
			s.converge()
		}
		moved += s.moved
	}
	assert.Positive(t, moved, "standbys that stayed for a while")
}

// What cannot be looked up is not known, which is not the same as no lag: what runs stays.
func TestPlace_UnknownLagMovesNothing(t *testing.T) {
	s := newStores(t, rand.New(rand.NewPCG(1, 1)), 0)
	for i := range s.subs {
		s.subs[i].Stores = []string{"s0"}
	}
	s.subs = s.subs[:1]
	s.partitions["t0"] = 4
	s.options.Changelogs = map[string][]LogBounds{"s0": {{End: 5, Known: true}, {End: 5, Known: true}, {End: 5, Known: true}, {End: 5, Known: true}}}
	s.add("m1", "")
	s.converge()
	s.add("m2", "")
	known := s.options.Changelogs
	s.options.Changelogs = map[string][]LogBounds{"s0": nil}
	s.describe()
	got := Assign(s.members, s.partitions, s.options)
	assert.Len(t, got["m1"].Tasks, 4)
	assert.Len(t, got["m2"].WarmUps, 2, "they begin meanwhile")
	s.options.Changelogs = known
	s.converge()
	assert.Len(t, s.members["m1"].Owned, 2)
}

// A member of an earlier version says nothing, and cannot warm up: it gets its tasks as before.
func TestPlace_EarlierVersion(t *testing.T) {
	s := newStores(t, rand.New(rand.NewPCG(1, 1)), 1)
	s.subs = []Subtopology{{Topics: []string{"t0"}, Stores: []string{"s0"}}}
	s.partitions = map[string]int{"t0": 2}
	s.options.Changelogs = map[string][]LogBounds{"s0": {{End: 5000, Known: true}, {End: 5000, Known: true}}}
	s.add("m1", "")
	s.converge()
	s.join("old", 1, s.subs...)
	s.settle()
	assert.Len(t, s.members["old"].Owned, 1)
	got := Assign(s.members, s.partitions, s.options)
	assert.Empty(t, got["old"].Standbys)
}

// Standbys are on other processes than their task, and in another rack where there is one.
func TestPlace_Racks(t *testing.T) {
	s := newStores(t, rand.New(rand.NewPCG(1, 1)), 1)
	s.subs = []Subtopology{{Topics: []string{"t0"}, Stores: []string{"s0"}}}
	s.partitions = map[string]int{"t0": 8}
	s.options.Changelogs = map[string][]LogBounds{"s0": slices.Repeat([]LogBounds{{Known: true}}, 8)}
	for i, rack := range []string{"a", "a", "b", "b"} {
		s.add(fmt.Sprintf("m%d", i), rack)
	}
	s.converge()
	rackOf := map[graph.TaskID]string{}
	for _, m := range s.members {
		for _, task := range m.Owned {
			rackOf[task] = m.Rack
		}
	}
	for id, tasks := range s.copies {
		assert.Len(t, tasks, 2, id)
		for _, task := range tasks {
			assert.NotEqual(t, rackOf[task], s.members[id].Rack, "%v", task)
		}
	}
}

// Standbys are on members that differ in all tags from the task and from each other, while there are any. Of a tag all of whose values are
// in use the rest of the standbys may have any value; they differ in the others.
func TestPlace_Tags(t *testing.T) {
	for name, c := range map[string]struct {
		zones, clusters, standbys int
		differ                    []int // tags in which the first standby, the second, ... differ from all before
	}{
		"as many of both":               {zones: 3, clusters: 3, standbys: 2, differ: []int{2, 2}},
		"fewer clusters":                {zones: 3, clusters: 2, standbys: 2, differ: []int{2, 1}},
		"one cluster":                   {zones: 3, clusters: 1, standbys: 2, differ: []int{1, 1}},
		"more standbys than places":     {zones: 2, clusters: 2, standbys: 3, differ: []int{2, 0, 0}},
		"nothing that differs anywhere": {zones: 1, clusters: 1, standbys: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStores(t, source(t), c.standbys)
			s.options.StandbyTags = []string{"zone", "cluster"}
			s.subs = []Subtopology{{Topics: []string{"t0"}, Stores: []string{"s0"}}}
			s.partitions = map[string]int{"t0": 18}
			s.options.Changelogs = map[string][]LogBounds{"s0": slices.Repeat([]LogBounds{{End: 500, Known: true}}, 18)}
			for zone := range c.zones {
				for cluster := range c.clusters {
					for i := range max(1, 2/(c.zones*c.clusters)) {
						s.add(fmt.Sprintf("m%d%d%d", zone, cluster, i), "", fmt.Sprint("z", zone), fmt.Sprint("c", cluster))
					}
				}
			}
			s.converge()
			for p := range int32(18) {
				task := graph.TaskID{Partition: p}
				var chosen, standbys []string
				for _, id := range slices.Sorted(maps.Keys(s.members)) {
					if slices.Contains(s.members[id].Owned, task) {
						chosen = append(chosen, id)
					} else if slices.Contains(s.copies[id], task) {
						standbys = append(standbys, id)
					}
				}
				require.Len(t, standbys, c.standbys)
				for _, want := range c.differ {
					i := slices.IndexFunc(standbys, func(id string) bool { return s.differing(id, chosen) == want })
					require.GreaterOrEqual(t, i, 0, "%v: nobody of %v differs in %d tags from %v", task, standbys, want, chosen)
					chosen, standbys = append(chosen, standbys[i]), slices.Delete(standbys, i, i+1)
				}
			}
		})
	}
}

// A standby that moves, here to another zone, stays where it was until the other one has caught up.
func TestPlace_StandbyStaysUntilTheOtherHasCaughtUp(t *testing.T) {
	s := newStores(t, rand.New(rand.NewPCG(1, 1)), 1)
	s.options.StandbyTags = []string{"zone"}
	s.subs = []Subtopology{{Topics: []string{"t0"}, Stores: []string{"s0"}}}
	s.partitions = map[string]int{"t0": 4}
	s.options.Changelogs = map[string][]LogBounds{"s0": slices.Repeat([]LogBounds{{End: 5000, Known: true}}, 4)}
	s.add("m1", "", "a")
	s.add("m2", "", "a")
	s.converge()
	for range 50 {
		s.work()
	}
	before := slices.Clone(s.copies["m2"])
	require.Len(t, before, 2)
	s.add("m3", "", "b")
	for s.generation() {
	}
	assert.Len(t, s.copies["m3"], 4)
	assert.Subset(t, s.copies["m3"], s.replace["m3"])
	assert.NotEmpty(t, s.replace["m3"])
	assert.Equal(t, before, s.copies["m2"], "these go on")
	assert.Equal(t, before, s.leaving["m2"])
	require.False(t, s.generation(), "as long as nobody has caught up")
	assert.Equal(t, before, s.copies["m2"])
	s.options.Changelogs["s0"][0].Known = false // nor when it is not known who has
	require.False(t, s.generation())
	assert.Equal(t, before, s.copies["m2"])
	s.options.Changelogs["s0"][0].Known = true
	s.converge()
	for _, task := range slices.Concat(s.members["m1"].Owned, s.members["m2"].Owned) {
		assert.Contains(t, s.copies["m3"], task)
		assert.NotContains(t, append(s.copies["m1"], s.copies["m2"]...), task)
	}
}

// A standby moves when a member comes that is at a better place. One that lacks the tag differs from those that have it.
func TestPlace_TagsOfMembersThatComeLater(t *testing.T) {
	s := newStores(t, rand.New(rand.NewPCG(1, 1)), 1)
	s.options.StandbyTags = []string{"zone"}
	s.subs = []Subtopology{{Topics: []string{"t0"}, Stores: []string{"s0"}}}
	s.partitions = map[string]int{"t0": 6}
	s.options.Changelogs = map[string][]LogBounds{"s0": slices.Repeat([]LogBounds{{End: 500, Known: true}}, 6)}
	s.add("m1", "", "a")
	s.add("m2", "", "a")
	s.converge()
	for _, other := range []string{"b", ""} {
		s.add("m3", "", other)
		s.converge()
		for _, task := range slices.Concat(s.members["m1"].Owned, s.members["m2"].Owned) {
			assert.Contains(t, s.copies["m3"], task, "in zone %q", other)
		}
		s.remove("m3")
		s.converge()
	}
}

// Members that are each at a place of their own, as where a tag is the name of the machine.
func BenchmarkPlace_ManyLocations(b *testing.B) {
	members, partitions := groupOf(1000, 10, 5000)
	options := Options{Standbys: 1, AcceptableLag: 10_000, StandbyTags: []string{"zone", "machine"},
		Changelogs: map[string][]LogBounds{"s": slices.Repeat([]LogBounds{{End: 1 << 20, Known: true}}, 5000)}}
	i := 0
	for id, m := range members {
		m.Standby, m.Tags = true, map[string]string{"zone": fmt.Sprint(i % 3), "machine": id}
		copy(m.Process[:], id)
		members[id] = m
		i++
	}
	for b.Loop() {
		Assign(members, partitions, options)
	}
}

// The largest groups: what each member says is decoded, and all is placed, within a second.
func BenchmarkPlace(b *testing.B) {
	members, partitions := groupOf(1000, 10, 5000)
	options := Options{Standbys: 1, AcceptableLag: 10_000, Changelogs: map[string][]LogBounds{"s": slices.Repeat([]LogBounds{{End: 1 << 20, Known: true}}, 5000)}}
	for id, m := range members {
		m.Standby = true
		copy(m.Process[:], id)
		members[id] = m
	}
	for range 2 {
		for id, a := range Assign(members, partitions, options) {
			m := members[id]
			m.Owned, m.Partitions, m.Stored, m.Generation = a.Tasks, a.Partitions, a.Tasks, 1
			m.Standbys, m.Positions = a.Standbys, nil
			for _, t := range a.Standbys {
				m.Positions = append(m.Positions, Position{t, []int64{1 << 20}})
			}
			members[id] = m
		}
	}
	delete(members, "m7")
	for b.Loop() {
		Assign(members, partitions, options)
	}
}
