package assign

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

var seed = flag.Uint64("seed", 0, "seed of random histories; 0 takes another one each time")

func source(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed %d", s)
	return rand.New(rand.NewPCG(s, 1))
}

// world is a group whose members do what members do: join with what they own, give up what they
// lose, join again.
type world struct {
	t          *testing.T
	partitions map[string]int
	members    map[string]Subscription
	options    Options
	generation int32
	stopped    int // tasks taken from a member that stayed
}

func newWorld(t *testing.T, partitions map[string]int) *world {
	return &world{t: t, partitions: partitions, members: map[string]Subscription{}}
}

func (w *world) join(id string, workers int, subs ...Subtopology) {
	w.members[id] = Subscription{Workers: workers, Subtopologies: subs, Generation: -1}
}

// rebalance does one generation and reports whether another one follows.
func (w *world) rebalance() bool {
	before := w.owners()
	got := Assign(w.members, w.partitions, w.options)
	w.generation++
	again := false
	owners := map[kafka.TopicPartition]string{}
	for id, a := range got {
		require.Contains(w.t, w.members, id)
		m := w.members[id]
		for _, tp := range a.Partitions {
			require.Empty(w.t, owners[tp], "%s given to two members", tp) // invariant 1
			owners[tp] = id
			if b := before[tp]; b != "" {
				require.Equal(w.t, b, id, "%s is still owned by %s", tp, b) // invariant 2
			}
		}
		for _, task := range a.Tasks {
			require.Less(w.t, task.Subtopology, len(m.Subtopologies)) // invariant 3
			require.NotEmpty(w.t, a.Inputs(m.Subtopologies[task.Subtopology], task.Partition))
		}
		for _, task := range m.Owned {
			if !slices.Contains(a.Tasks, task) {
				again = true
				w.stopped++
			}
		}
		m.Owned, m.Partitions, m.Generation = a.Tasks, a.Partitions, w.generation
		w.members[id] = m
		again = again || a.Moving > 0
	}
	return again
}

func (w *world) owners() map[kafka.TopicPartition]string {
	out := map[kafka.TopicPartition]string{}
	for id, m := range w.members {
		for _, tp := range m.Partitions {
			out[tp] = id
		}
	}
	return out
}

// settle rebalances until nothing moves, which takes a few generations at most, and checks that it
// stays so.
func (w *world) settle() {
	for i := 0; w.rebalance(); i++ {
		require.Less(w.t, i, 4, "no end of rebalances")
	}
	before, stopped := fmt.Sprint(w.members), w.stopped
	for id, m := range w.members { // invariant 4
		m.Generation = w.generation
		w.members[id] = m
	}
	require.False(w.t, w.rebalance())
	require.Equal(w.t, stopped, w.stopped)
	for id, m := range w.members {
		m.Generation = w.generation - 1
		w.members[id] = m
	}
	require.Equal(w.t, before, fmt.Sprint(w.members))
}

// tasks returns how many tasks of a sub-topology each member has.
func (w *world) tasks(sub int) map[string]int {
	out := map[string]int{}
	for id, m := range w.members {
		for _, t := range m.Owned {
			if t.Subtopology == sub || sub < 0 {
				out[id]++
			}
		}
	}
	return out
}

func spread(counts map[string]int, members int) int {
	least, most := 1<<30, 0
	for _, n := range counts {
		least, most = min(least, n), max(most, n)
	}
	if len(counts) < members {
		least = 0
	}
	return most - least
}

func TestAssign_OneMember(t *testing.T) {
	w := newWorld(t, map[string]int{"a": 4, "b": 4, "c": 2})
	w.join("m1", 1, Subtopology{Topics: []string{"a", "b"}, Stores: []string{"s"}}, Subtopology{Topics: []string{"c"}})
	w.settle()
	m := w.members["m1"]
	assert.Len(t, m.Owned, 6)
	assert.Len(t, m.Partitions, 10)
	assert.Equal(t, []kafka.TopicPartition{{Topic: "a", Partition: 3}, {Topic: "b", Partition: 3}},
		Assignment{Partitions: m.Partitions}.Inputs(m.Subtopologies[0], 3))
}

func TestAssign_SecondMember(t *testing.T) {
	w := newWorld(t, map[string]int{"a": 4})
	sub := Subtopology{Topics: []string{"a"}}
	w.join("m1", 1, sub)
	w.settle()
	w.join("m2", 1, sub)
	require.True(t, w.rebalance())
	assert.Equal(t, map[string]int{"m1": 2}, w.tasks(0))
	w.settle()
	assert.Equal(t, map[string]int{"m1": 2, "m2": 2}, w.tasks(0))
	assert.Equal(t, 2, w.stopped)
}

func TestAssign_ShorterTopics(t *testing.T) {
	w := newWorld(t, map[string]int{"long": 3, "short": 1})
	w.join("m1", 1, Subtopology{Topics: []string{"long", "short"}})
	w.settle()
	assert.Len(t, w.members["m1"].Owned, 3)
	assert.Len(t, w.members["m1"].Partitions, 4)
}

func TestAssign_SharesFollowWorkers(t *testing.T) {
	w := newWorld(t, map[string]int{"a": 12})
	w.join("big", 3, Subtopology{Topics: []string{"a"}})
	w.join("small", 1, Subtopology{Topics: []string{"a"}})
	w.settle()
	assert.Equal(t, map[string]int{"big": 9, "small": 3}, w.tasks(0))
}

func TestAssign_TasksReturnToTheirState(t *testing.T) {
	w := newWorld(t, map[string]int{"a": 4})
	sub := Subtopology{Topics: []string{"a"}, Stores: []string{"s"}}
	w.join("m1", 1, sub)
	w.join("m2", 1, sub)
	w.settle()
	had := w.members["m2"].Owned
	delete(w.members, "m2")
	w.settle()
	w.members["m3"] = Subscription{Workers: 1, Subtopologies: []Subtopology{sub}, Stored: had, Generation: -1}
	w.settle()
	assert.Equal(t, had, w.members["m3"].Owned)
}

// Patterns are resolved by the leader, and a topic that is named belongs to whoever named it.
func TestAssign_Patterns(t *testing.T) {
	w := newWorld(t, map[string]int{"log-a": 2, "log-b": 1, "log-c": 3, "other": 1, "xlog-a": 1})
	w.join("m1", 1, Subtopology{Patterns: []string{"log-.*"}}, Subtopology{Topics: []string{"log-c"}})
	names, all := Wanted(w.members)
	assert.True(t, all)
	assert.Equal(t, []string{"log-c"}, names)
	w.settle()
	m := w.members["m1"]
	assert.Equal(t, []graph.TaskID{{Subtopology: 0, Partition: 0}, {Subtopology: 0, Partition: 1}, {Subtopology: 1, Partition: 0}, {Subtopology: 1, Partition: 1}, {Subtopology: 1, Partition: 2}}, m.Owned)
	assert.NotContains(t, m.Partitions, kafka.TopicPartition{Topic: "other"})
	w.partitions["log-d"] = 1
	require.False(t, w.rebalance())
	assert.Contains(t, w.members["m1"].Partitions, kafka.TopicPartition{Topic: "log-d"})
}

// A new version joins two sub-topologies into one: both read topic a, and at no time may two tasks
// read a partition of it.
func TestAssign_RollingUpgrade(t *testing.T) {
	w := newWorld(t, map[string]int{"a": 4, "b": 4})
	before := []Subtopology{{Topics: []string{"a"}}, {Topics: []string{"b"}}}
	after := Subtopology{Topics: []string{"a", "b"}, Stores: []string{"joined"}}
	for i := range 3 {
		w.join(fmt.Sprintf("old%d", i), 1, before...)
	}
	w.settle()
	for i := range 3 {
		delete(w.members, fmt.Sprintf("old%d", i))
		w.settle()
		w.join(fmt.Sprintf("new%d", i), 1, after)
		w.settle()
	}
	assert.Len(t, w.owners(), 8)
	assert.LessOrEqual(t, spread(w.tasks(0), 3), 1)
}

// A claim of an older generation is of a member that was away.
func TestAssign_StaleOwnership(t *testing.T) {
	sub := Subtopology{Topics: []string{"a"}}
	claim := func(generation int32) Subscription {
		return Subscription{Workers: 1, Subtopologies: []Subtopology{sub}, Generation: generation,
			Owned: []graph.TaskID{{}}, Partitions: []kafka.TopicPartition{{Topic: "a"}}}
	}
	got := Assign(map[string]Subscription{"m1": claim(3), "m2": claim(5)}, map[string]int{"a": 1}, Options{})
	assert.Empty(t, got["m1"].Tasks)
	assert.Equal(t, []graph.TaskID{{}}, got["m2"].Tasks)
}

// Members may claim anything; the leader must neither panic nor give nonsense.
func TestAssign_NonsenseOwnership(t *testing.T) {
	m := Subscription{Workers: -3, Subtopologies: []Subtopology{{Topics: []string{"a"}}, {Topics: []string{"gone"}}, {}, {Patterns: []string{"("}}},
		Owned: []graph.TaskID{{Subtopology: -1}, {Subtopology: 9}, {Partition: -1}, {Partition: 100}}, Stored: []graph.TaskID{{Subtopology: 9}}, Generation: 1,
		Partitions: []kafka.TopicPartition{{Topic: "nobody's", Partition: -1}}}
	got := Assign(map[string]Subscription{"m1": m, "m2": {}}, map[string]int{"a": 2}, Options{})
	assert.Equal(t, []graph.TaskID{{}, {Partition: 1}}, got["m1"].Tasks)
	assert.Empty(t, got["m2"].Tasks)
}

// Random groups: members with all sub-topologies join, leave and die, topics grow.
func TestAssign_RandomGroups(t *testing.T) {
	r := source(t)
	n := 300
	if testing.Short() {
		n = 60
	}
	for range n {
		var subs []Subtopology
		partitions := map[string]int{}
		for i := range 1 + r.IntN(5) {
			s := Subtopology{Topics: []string{fmt.Sprintf("t%d", i)}}
			if r.IntN(2) == 0 {
				s.Topics = append(s.Topics, fmt.Sprintf("u%d", i))
				partitions[s.Topics[1]] = 1 + r.IntN(12)
			}
			if r.IntN(2) == 0 {
				s.Stores = []string{fmt.Sprintf("s%d", i)}
			}
			partitions[s.Topics[0]] = 1 + r.IntN(12)
			subs = append(subs, s)
		}
		w := newWorld(t, partitions)
		for step := range 12 {
			w.randomStep(r, step, subs)
			if r.IntN(4) == 0 && len(w.members) > 0 { // interrupted before it has settled
				w.rebalance()
				continue
			}
			w.settle()
			w.checkBalance(subs)
		}
	}
}

func (w *world) randomStep(r *rand.Rand, step int, subs []Subtopology) {
	switch ids := slices.Sorted(maps.Keys(w.members)); {
	case len(ids) == 0 || r.IntN(2) == 0:
		mine := slices.Clone(subs)
		r.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] }) // numbers are each member's own
		w.join(fmt.Sprintf("m%d", step), 2, mine...)
	case r.IntN(5) == 0:
		w.partitions[subs[r.IntN(len(subs))].Topics[0]]++
	default:
		delete(w.members, ids[r.IntN(len(ids))])
	}
}

func (w *world) checkBalance(subs []Subtopology) {
	total := map[string]int{}
	for _, s := range subs {
		counts := map[string]int{}
		want, got := 0, 0
		for _, topic := range s.Topics {
			want = max(want, w.partitions[topic])
		}
		for id, m := range w.members {
			for _, task := range m.Owned {
				if m.Subtopologies[task.Subtopology].ID() == s.ID() {
					counts[id]++
					total[id]++
					got++
				}
			}
		}
		if len(w.members) > 0 {
			require.Equal(w.t, want, got, "every task has an owner")
			require.LessOrEqual(w.t, spread(counts, len(w.members)), 1, "%v %v", s, counts)
		}
	}
	require.LessOrEqual(w.t, spread(total, len(w.members)), 1, "%v", total)
}

// Of n members that stay, a join takes no more than the newcomer's share, and a leave takes nothing
// from them.
func TestAssign_FewMoves(t *testing.T) {
	r := source(t)
	for range 100 {
		n := 2 + r.IntN(6)
		tasks := n * (1 + r.IntN(10))
		w := newWorld(t, map[string]int{"a": tasks})
		sub := Subtopology{Topics: []string{"a"}}
		for i := range n {
			w.join(fmt.Sprintf("m%d", i), 1, sub)
		}
		w.settle()
		w.stopped = 0
		w.join("new", 1, sub)
		w.settle()
		require.LessOrEqual(t, w.stopped, tasks/(n+1)+1)
		w.stopped = 0
		delete(w.members, "m0")
		w.settle()
		require.Zero(t, w.stopped)
	}
}

// Brokers write the subscriptions and assignments of all members as one record, whose size the offsets topic limits (1 MB by default).
// So do 1,000 members with 50 tasks of 10 sub-topologies each.
func TestAssign_BytesOfLargeGroups(t *testing.T) {
	members, partitions := groupOf(1000, 10, 5000)
	for range 2 {
		for id, a := range Assign(members, partitions, Options{}) {
			m := members[id]
			m.Owned, m.Partitions, m.Stored, m.Generation = a.Tasks, a.Partitions, stateful(m.Subtopologies, a.Tasks), 1
			m.Topics = slices.Sorted(maps.Keys(partitions))
			members[id] = m
		}
	}
	subscriptions, assignments := 0, 0
	for id, a := range Assign(members, partitions, Options{}) {
		subscriptions += len(members[id].Encode())
		assignments += len(a.Encode(members[id]))
	}
	t.Logf("subscriptions %d bytes, assignments %d", subscriptions, assignments)
	const names = 100 // bytes a member, about: its ID, client ID and host, which the broker adds
	assert.Less(t, subscriptions+assignments+names*len(members), 1<<20)
}

func BenchmarkAssign(b *testing.B) {
	for _, size := range []struct{ members, subs, partitions int }{{50, 2, 1000}, {1000, 10, 5000}} {
		b.Run(fmt.Sprintf("members=%d/tasks=%d", size.members, size.subs*size.partitions), func(b *testing.B) {
			members, partitions := groupOf(size.members, size.subs, size.partitions)
			for b.Loop() {
				Assign(members, partitions, Options{})
			}
		})
		b.Run(fmt.Sprintf("one of %d left", size.members), func(b *testing.B) {
			members, partitions := groupOf(size.members, size.subs, size.partitions)
			for id, a := range Assign(members, partitions, Options{}) {
				m := members[id]
				m.Owned, m.Partitions, m.Stored, m.Generation = a.Tasks, a.Partitions, a.Tasks, 1
				members[id] = m
			}
			delete(members, "m7")
			for b.Loop() {
				Assign(members, partitions, Options{})
			}
		})
	}
}

// groupOf returns members that all can run as many sub-topologies, each with a topic of so many partitions.
func groupOf(count, subs, partitions int) (members map[string]Subscription, topics map[string]int) {
	members, topics = map[string]Subscription{}, map[string]int{}
	var all []Subtopology
	for i := range subs {
		topic := fmt.Sprintf("topic-%d", i)
		topics[topic] = partitions
		all = append(all, Subtopology{Topics: []string{topic}, Stores: []string{"s"}[:i%2]})
	}
	for i := range count {
		members[fmt.Sprintf("m%d", i)] = Subscription{Workers: 4, Subtopologies: all, Generation: -1, Changes: true}
	}
	return members, topics
}

// Of two programs that read the same topic the one that more members list is run; the others are
// told what is run in place of theirs, and whether anybody else has any of it.
func TestAssign_Exclusions(t *testing.T) {
	one, other, shared := Subtopology{Topics: []string{"in"}}, Subtopology{Topics: []string{"in"}, Stores: []string{"s"}}, Subtopology{Topics: []string{"x"}}
	counts := map[string]int{"in": 2, "x": 1}
	members := map[string]Subscription{
		"a": {Subtopologies: []Subtopology{one}, Generation: -1}, "b": {Subtopologies: []Subtopology{one}, Generation: -1}, "c": {Subtopologies: []Subtopology{{}, other}, Generation: -1},
	}
	out := Assign(members, counts, Options{})
	want := []Exclusion{{Sub: 1, Instead: one, Members: 2}}
	assert.Equal(t, want, out["c"].Excluded)
	assert.True(t, out["c"].Alone)
	assert.Empty(t, out["c"].Tasks)
	assert.Empty(t, out["a"].Excluded)
	assert.False(t, out["a"].Alone)
	back, err := DecodeAssignment(out["c"].Encode(members["c"]), members["c"].Subtopologies)
	require.NoError(t, err)
	assert.Equal(t, out["c"].Excluded, back.Excluded)
	assert.True(t, back.Alone)

	members["a"] = Subscription{Subtopologies: []Subtopology{one, shared}, Generation: -1}
	members["c"] = Subscription{Subtopologies: []Subtopology{other, shared}, Generation: -1}
	out = Assign(members, counts, Options{})
	assert.Len(t, out["c"].Excluded, 1)
	assert.False(t, out["c"].Alone, "a part of it is somebody else's, too")
}
