// Package assign decides which member of a group runs which task, and has the formats in which
// members and leader exchange that. It is a pure function of the subscriptions of the members and
// the partition counts of topics.
//
// Invariants of Assign:
//
//  1. An input partition is assigned to one task of one member.
//  2. A partition that a member owns is assigned to no other member in the same generation. Its owner finds
//     it missing, settles its task, and joins again; the next generation assigns it to the other member. So
//     a task that stays where it is never stops.
//  3. A task is assigned only to members that listed its sub-topology.
//  4. Nothing moves when members, sub-topologies and partition counts stay as they are.
package assign

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// Subtopology describes a sub-topology by the topics that it reads and the stores that it has. The
// number of a sub-topology changes with the program. This does not, as long as the sub-topology
// does the same for others and for its state. So members of two versions of a program can share a
// group.
type Subtopology struct {
	Topics   []string // full names, sorted
	Patterns []string // regular expressions, sorted
	Stores   []string // sorted
}

// ID returns a string that is equal for equal sub-topologies and only for them.
func (s Subtopology) ID() string {
	var b strings.Builder
	for _, list := range [][]string{s.Topics, s.Patterns, s.Stores} {
		for _, name := range list {
			b.WriteString(name)
			b.WriteByte(0)
		}
		b.WriteByte(1)
	}
	return b.String()
}

// Stateful reports whether the sub-topology has stores.
func (s Subtopology) Stateful() bool { return len(s.Stores) > 0 }

// Subscription is what a member sends when it joins.
type Subscription struct {
	// Topics are the topics that the member reads. Kafka's tools show them, and brokers keep their
	// committed offsets from expiring.
	Topics []string
	// Process is the same for all runs that use one state directory.
	Process [16]byte
	// Workers is how many tasks the member can run at a time. Its share of the tasks is proportional
	// to it. 0 counts as 1.
	Workers int
	// Rack and Tags say where the member runs. Options.StandbyTags says which tags matter.
	Rack string
	Tags map[string]string
	// Subtopologies are those that the member can run. The Subtopology of a task is an index in it.
	Subtopologies []Subtopology
	// Owned are the tasks that the member runs, as assigned in Generation (-1: none), and Partitions
	// are what these read.
	Owned      []graph.TaskID
	Partitions []kafka.TopicPartition
	Generation int32
	// Stored are tasks of which the member has state on disk, owned or not.
	Stored []graph.TaskID
	// Round is another number each time the member wants a rebalance. Without it, a broker answers a
	// member that joins with the same subscription as before by the assignment that it has already.
	Round uint64
	// Standby reports that the member can have standbys, and says how far it is in changelogs. Earlier versions do not.
	Standby bool
	// Standbys are the tasks of which it has a standby. Positions are those of all stores that it has and no running
	// task of its own; of the tasks that it runs it has all.
	Standbys  []graph.TaskID
	Positions []Position
	// Leaving are those of Standbys that the last assignment has let the member keep until others have caught up.
	Leaving []graph.TaskID
	// Changes reports, in what was decoded, that the member understands assignments that leave out the tasks that follow
	// from its partitions. Earlier versions do not.
	Changes bool
}

// Assignment is what the leader assigns to a member.
type Assignment struct {
	Tasks      []graph.TaskID         // in the member's own numbering, sorted
	Partitions []kafka.TopicPartition // what they read, sorted
	// Moving is how many tasks of the whole group are assigned to nobody yet, since another member has
	// to settle them first. The group rebalances again then.
	Moving int
	// Excluded are sub-topologies of the member that nobody runs, because the group runs others that
	// read the same topics.
	Excluded []Exclusion
	// Alone is true when no other member lists any of the member's sub-topologies: it is another
	// program, not a version that is being rolled out. It is set only where something is excluded.
	Alone bool
	// Standbys are the tasks of which the member is to have a standby, and WarmUps those of them that are to move to it:
	// when its lag is at most AcceptableLag, it asks for a rebalance. Both are sorted, in the member's own numbering.
	Standbys, WarmUps []graph.TaskID
	AcceptableLag     int64
	// Replacing are those of Standbys in whose place another member has one until the member's lag is at most
	// AcceptableLag: it asks for a rebalance then. Leaving are those of Standbys that another member is to have, and has
	// not got yet.
	Replacing, Leaving []graph.TaskID
	// Unneeded are stored tasks of which others have the state, and the member is neither to run nor to copy them.
	Unneeded []graph.TaskID
}

// Exclusion is a sub-topology that is not run, and what is run instead.
type Exclusion struct {
	Sub     int // in the member's own numbering
	Instead Subtopology
	Members int // that list it
}

// Inputs returns the partitions of the assignment that a task of sub reads.
func (a Assignment) Inputs(sub Subtopology, partition int32) []kafka.TopicPartition {
	var out []kafka.TopicPartition
	for _, tp := range a.Partitions {
		if tp.Partition == partition && sub.reads(tp.Topic) {
			out = append(out, tp)
		}
	}
	return out
}

func (s Subtopology) reads(topic string) bool {
	if slices.Contains(s.Topics, topic) {
		return true
	}
	return slices.ContainsFunc(s.Patterns, func(p string) bool { return matches(p, topic) })
}

// task is a task as the leader sees it. sub is the leader's number of the sub-topology, given by
// decodeMembers: each member has numbers of its own. IDs are long strings; hashing one for each task
// took most of the time of a large group.
type task struct {
	sub       int32
	partition int32
}

type member struct {
	id           string
	subscription Subscription
	weight       int
	assigned     int               // how many tasks so far, of all sub-topologies
	subs         []int32           // the leader's number of each sub-topology of the subscription
	subIndex     map[int32]int     // the reverse: the member's number of a sub-topology
	target       []task            // what it is to run
	copies       []task            // of which it is to have a standby
	warm         []task            // of copies, those that are to move to it
	replacing    []task            // of copies, those in whose place others have one meanwhile
	leaving      []task            // of copies, those that it has until others have caught up
	wasLeaving   map[task]bool     // what the last assignment has said of that
	unneeded     []task            // of which its state is of no use
	at           []int32           // where it is, by rack and tags; see locations
	standbyCount int               // how many standbys so far, of all sub-topologies
	positions    map[task][]int64  // by store; nil: not known
	standbys     map[task]bool     // of which it has a standby
	stored       map[int32][]int32 // partitions of which it has state, by the leader's number
}

// Assign returns the assignment of each member. partitions has the partition counts of all topics
// that Wanted names, and of those that patterns may match.
func Assign(members map[string]Subscription, partitions map[string]int, options Options) map[string]Assignment {
	decoded := decodeMembers(members)
	owners := currentOwners(decoded)
	all := resolve(decoded, partitions)
	subs, excluded := runnable(decoded, owners, all)
	for _, s := range subs {
		s.share(owners, &options)
	}
	place(decoded, owners, subs, &options)
	assignments := buildAssignments(decoded, owners, subs)
	for _, m := range decoded {
		a := assignments[m.id]
		a.AcceptableLag = options.AcceptableLag
		a.exclude(m, all, excluded)
		assignments[m.id] = a
	}
	return assignments
}

func decodeMembers(in map[string]Subscription) []*member {
	var out []*member
	numbers := map[string]int32{}
	for _, id := range slices.Sorted(maps.Keys(in)) {
		m := &member{id: id, subscription: in[id], weight: max(in[id].Workers, 1), subIndex: map[int32]int{},
			stored: map[int32][]int32{}}
		for i, s := range m.subscription.Subtopologies {
			number, known := numbers[s.ID()]
			if !known {
				number = int32(len(numbers))
				numbers[s.ID()] = number
			}
			m.subs = append(m.subs, number)
			m.subIndex[number] = i
		}
		for _, t := range m.subscription.Stored {
			if k, ok := m.task(t); ok {
				m.stored[k.sub] = append(m.stored[k.sub], k.partition)
			}
		}
		for _, t := range m.subscription.Standbys { // which may have nothing on disk yet
			if k, ok := m.task(t); ok {
				m.stored[k.sub] = append(m.stored[k.sub], k.partition)
			}
		}
		// What counts is how many there are, and a member may list a sub-topology, or a task, twice.
		for number, partitions := range m.stored {
			slices.Sort(partitions)
			m.stored[number] = slices.Compact(partitions)
		}
		m.decodePositions()
		out = append(out, m)
	}
	return out
}

func (m *member) task(t graph.TaskID) (task, bool) {
	if t.Subtopology < 0 || t.Subtopology >= len(m.subscription.Subtopologies) {
		return task{}, false
	}
	return task{m.subs[t.Subtopology], t.Partition}, true
}

// ownership is which member runs what at present.
type ownership struct {
	tasks      map[task]*member
	partitions map[kafka.TopicPartition]*member
}

// currentOwners returns who owns what. Where two members say that they own something, the later
// generation is right: the other member was away while its partitions were assigned to somebody
// else, and finds them missing from its assignment.
func currentOwners(members []*member) ownership {
	owners := ownership{map[task]*member{}, map[kafka.TopicPartition]*member{}}
	for _, m := range members {
		for _, t := range m.subscription.Owned {
			if k, ok := m.task(t); ok && later(m, owners.tasks[k]) {
				owners.tasks[k] = m
			}
		}
		for _, tp := range m.subscription.Partitions {
			if later(m, owners.partitions[tp]) {
				owners.partitions[tp] = m
			}
		}
	}
	return owners
}

func later(m, than *member) bool {
	return than == nil || m.subscription.Generation > than.subscription.Generation
}

// buildAssignments turns the targets into assignments, without what other members own (invariant
// 2).
func buildAssignments(members []*member, owners ownership, subs []*candidate) map[string]Assignment {
	byNumber := map[int32]*candidate{}
	for _, s := range subs {
		byNumber[s.number] = s
	}
	out := make(map[string]Assignment, len(members))
	moving := 0
	for _, m := range members {
		var a Assignment
		for _, t := range m.target {
			inputs := byNumber[t.sub].inputs(t.partition)
			if m.ownedByOther(t, inputs, owners) {
				moving++ // nobody gets it now; the group rebalances again
				if m.standbys[t] {
					m.copies = append(m.copies, t) // it goes on until then
				}
				continue
			}
			a.Tasks = append(a.Tasks, graph.TaskID{Subtopology: m.subIndex[t.sub], Partition: t.partition})
			a.Partitions = append(a.Partitions, inputs...)
		}
		SortTasks(a.Tasks)
		SortPartitions(a.Partitions)
		a.Standbys, a.WarmUps, a.Unneeded = m.own(m.copies), m.own(m.warm), m.own(m.unneeded)
		a.Replacing, a.Leaving = m.own(m.replacing), m.own(m.leaving)
		out[m.id] = a
	}
	for id, a := range out {
		a.Moving = moving
		out[id] = a
	}
	return out
}

// own returns tasks in the member's own numbering, sorted.
func (m *member) own(tasks []task) []graph.TaskID {
	var out []graph.TaskID
	for _, t := range tasks {
		out = append(out, graph.TaskID{Subtopology: m.subIndex[t.sub], Partition: t.partition})
	}
	SortTasks(out)
	return out
}

// exclude notes which sub-topologies of m are not run, and what is run in their place.
func (a *Assignment) exclude(m *member, all []*candidate, excluded map[*candidate]*candidate) {
	alone := true
	for _, s := range all {
		index, listed := m.subIndex[s.number]
		if !listed || len(s.Topics)+len(s.Patterns) == 0 { // a global one is no business of the group
			continue
		}
		alone = alone && len(s.runners) == 1
		if instead := excluded[s]; instead != nil {
			a.Excluded = append(a.Excluded, Exclusion{Sub: index, Instead: instead.Subtopology, Members: len(instead.runners)})
		}
	}
	slices.SortFunc(a.Excluded, func(x, y Exclusion) int { return cmp.Compare(x.Sub, y.Sub) })
	a.Alone = alone && len(a.Excluded) > 0
}

func (m *member) ownedByOther(t task, inputs []kafka.TopicPartition, owners ownership) bool {
	if owner := owners.tasks[t]; owner != nil && owner != m {
		return true
	}
	return slices.ContainsFunc(inputs, func(tp kafka.TopicPartition) bool {
		owner := owners.partitions[tp]
		return owner != nil && owner != m
	})
}

// SortTasks sorts by sub-topology and partition.
func SortTasks(ts []graph.TaskID) {
	slices.SortFunc(ts, graph.TaskID.Compare)
}

// SortPartitions sorts by topic and partition.
func SortPartitions(tps []kafka.TopicPartition) {
	slices.SortFunc(tps, func(a, b kafka.TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}
