// Package assign decides which member of a group runs which task, and is the words in which members and leader say so. It is a
// pure function: what Kafka knows of topics and what members say of themselves goes in, assignments come out.
//
// Invariants of Assign:
//  1. An input partition is given to one task of one member.
//  2. A partition that a member owns is given to no other member in the same generation: the owner finds it missing, gives it up,
//     joins again, and the next generation gives it away. So a task that stays never stops.
//  3. A task goes only to members that listed its sub-topology.
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

// Sub describes a sub-topology by what it reads and keeps. Numbers of sub-topologies change when a program does; this does not as
// long as the sub-topology is the same to its partners and its state, so members of two versions of a program can share a group.
type Sub struct {
	Topics   []string // full names, sorted
	Patterns []string // regular expressions, sorted
	Stores   []string // sorted
}

// ID returns a string that is equal for equal sub-topologies and only for them.
func (s Sub) ID() string {
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

// Stateful says that the sub-topology keeps state.
func (s Sub) Stateful() bool { return len(s.Stores) > 0 }

// Subscription is what a member says of itself when it joins.
type Subscription struct {
	// Topics are what the member reads, for Kafka's tools and for the expiry of offsets.
	Topics []string
	// Process is the same for all members that share a state directory and a machine.
	Process [16]byte
	// Workers is how many tasks the member can run at a time; the share of tasks that it gets is proportional to it. 0 counts as 1.
	Workers int
	Rack    string
	// Subs are the sub-topologies that the member can run. A task's Sub is an index in it.
	Subs []Sub
	// Owned are the tasks that the member runs, as assigned in Generation (-1: none), and Partitions what they read.
	Owned      []graph.TaskID
	Partitions []kafka.TopicPartition
	Generation int32
	// Stored are tasks of which the member has state on disk, owned or not.
	Stored []graph.TaskID
	// Round is another number each time the member wants a rebalance: brokers answer a member that joins with the same words as
	// before with the assignment it has.
	Round uint64
}

// Assignment is what a member gets.
type Assignment struct {
	Tasks      []graph.TaskID         // in the member's own numbering, sorted
	Partitions []kafka.TopicPartition // what they read, sorted
	// Moving is how many tasks of the whole group wait for their owners to give them up. The group rebalances again when that is so.
	Moving int
}

// Inputs returns the partitions of the assignment that the task of sub reads: its own partition of each of the topics.
func (a Assignment) Inputs(sub Sub, partition int32) []kafka.TopicPartition {
	var out []kafka.TopicPartition
	for _, tp := range a.Partitions {
		if tp.Partition == partition && sub.reads(tp.Topic) {
			out = append(out, tp)
		}
	}
	return out
}

func (s Sub) reads(topic string) bool {
	if slices.Contains(s.Topics, topic) {
		return true
	}
	return slices.ContainsFunc(s.Patterns, func(p string) bool { return matches(p, topic) })
}

// task is a task as the leader sees it.
type task struct {
	sub       string
	partition int32
}

type member struct {
	id      string
	s       Subscription
	weight  int
	load    int            // tasks given so far
	numbers map[string]int // the member's number of a sub-topology, by its ID
	tasks   []task         // the target
	stored  map[task]bool
}

// Assign returns the assignment of each member. partitions holds the partition counts of all topics that Wanted names; topics that
// patterns may match are those in it that no sub-topology names.
func Assign(members map[string]Subscription, partitions map[string]int) map[string]Assignment {
	ms := decodeMembers(members)
	c := claimed(ms)
	subs := runnable(ms, c, resolve(ms, partitions))
	for _, s := range subs {
		s.share(c)
	}
	return give(ms, c, subs)
}

func decodeMembers(in map[string]Subscription) []*member {
	var out []*member
	for _, id := range slices.Sorted(maps.Keys(in)) {
		m := &member{id: id, s: in[id], weight: max(in[id].Workers, 1), numbers: map[string]int{}, stored: map[task]bool{}}
		for i, s := range m.s.Subs {
			m.numbers[s.ID()] = i
		}
		for _, t := range m.s.Stored {
			if k, ok := m.task(t); ok {
				m.stored[k] = true
			}
		}
		out = append(out, m)
	}
	return out
}

func (m *member) task(t graph.TaskID) (task, bool) {
	if t.Sub < 0 || t.Sub >= len(m.s.Subs) {
		return task{}, false
	}
	return task{m.s.Subs[t.Sub].ID(), t.Partition}, true
}

// claims is who runs what at present.
type claims struct {
	tasks      map[task]*member
	partitions map[kafka.TopicPartition]*member
}

// claimed believes the claim of the latest generation. An older one is of a member that was away while its partitions were given
// to others; it finds them missing from its assignment.
func claimed(ms []*member) claims {
	c := claims{map[task]*member{}, map[kafka.TopicPartition]*member{}}
	for _, m := range ms {
		for _, t := range m.s.Owned {
			if k, ok := m.task(t); ok && later(m, c.tasks[k]) {
				c.tasks[k] = m
			}
		}
		for _, tp := range m.s.Partitions {
			if later(m, c.partitions[tp]) {
				c.partitions[tp] = m
			}
		}
	}
	return c
}

func later(m, than *member) bool { return than == nil || m.s.Generation > than.s.Generation }

// give turns the target into assignments, without what others own (invariant 2).
func give(ms []*member, c claims, subs []*sub) map[string]Assignment {
	byID := map[string]*sub{}
	for _, s := range subs {
		byID[s.id] = s
	}
	out := make(map[string]Assignment, len(ms))
	moving := 0
	for _, m := range ms {
		var a Assignment
		for _, t := range m.tasks {
			inputs := byID[t.sub].inputs(t.partition)
			if m.waits(t, inputs, c) {
				moving++
				continue
			}
			a.Tasks = append(a.Tasks, graph.TaskID{Sub: m.numbers[t.sub], Partition: t.partition})
			a.Partitions = append(a.Partitions, inputs...)
		}
		SortTasks(a.Tasks)
		SortPartitions(a.Partitions)
		out[m.id] = a
	}
	for id, a := range out {
		a.Moving = moving
		out[id] = a
	}
	return out
}

func (m *member) waits(t task, inputs []kafka.TopicPartition, c claims) bool {
	if owner := c.tasks[t]; owner != nil && owner != m {
		return true
	}
	return slices.ContainsFunc(inputs, func(tp kafka.TopicPartition) bool {
		owner := c.partitions[tp]
		return owner != nil && owner != m
	})
}

// SortTasks sorts by sub-topology and partition.
func SortTasks(ts []graph.TaskID) {
	slices.SortFunc(ts, func(a, b graph.TaskID) int {
		return cmp.Or(cmp.Compare(a.Sub, b.Sub), cmp.Compare(a.Partition, b.Partition))
	})
}

// SortPartitions sorts by topic and partition.
func SortPartitions(tps []kafka.TopicPartition) {
	slices.SortFunc(tps, func(a, b kafka.TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}
