package assign

import (
	"cmp"
	"maps"
	"regexp"
	"slices"

	"github.com/millstream-go/millstream/internal/kafka"
)

// candidate is a sub-topology as the leader sees it.
type candidate struct {
	Subtopology
	id      string
	number  int32          // the leader's
	topics  map[string]int // what it reads, with the partition counts
	runners []*member      // that can run it
	// targets is, by partition, who is to run it, and standbys who is to have a standby of it.
	targets  []*member
	standbys [][]*member
	// holders are, by partition, the members that have some of its state, or run it, in the order of members.
	holders   [][]*member
	locations *locations     // of those that can have standbys, while these are placed
	logs      []*[]LogBounds // of Stores; see changelogs
}

// tasks returns how many tasks the sub-topology has: one per partition of its largest topic.
func (s *candidate) tasks() int {
	n := 0
	for _, c := range s.topics {
		n = max(n, c)
	}
	return n
}

func (s *candidate) inputs(partition int32) []kafka.TopicPartition {
	var out []kafka.TopicPartition
	for topic, count := range s.topics {
		if int(partition) < count {
			out = append(out, kafka.TopicPartition{Topic: topic, Partition: partition})
		}
	}
	return out
}

// Wanted returns the topics of which the leader has to know the partition counts. all reports
// whether some member reads by a pattern: the leader has to know all topics of the cluster that a
// pattern may match then.
func Wanted(members map[string]Subscription) (topics []string, all bool) {
	named := map[string]bool{}
	for _, m := range members {
		for _, s := range m.Subtopologies {
			all = all || len(s.Patterns) > 0
			for _, t := range s.Topics {
				named[t] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(named)), all
}

// resolve finds what each sub-topology of any member reads.
func resolve(members []*member, partitions map[string]int) []*candidate {
	byID := map[string]*candidate{}
	for _, m := range members {
		for i, s := range m.subscription.Subtopologies {
			id := s.ID()
			known := byID[id]
			if known == nil {
				known = &candidate{Subtopology: s, id: id, number: m.subs[i], topics: map[string]int{}}
				byID[id] = known
			}
			// A member may list one twice.
			if n := len(known.runners); n == 0 || known.runners[n-1] != m {
				known.runners = append(known.runners, m)
			}
		}
	}
	var patterns, named []string
	for _, s := range byID {
		patterns = append(patterns, s.Patterns...)
		named = append(named, s.Topics...)
	}
	// Over all sub-topologies at once: a topic that one names must not be matched by a pattern of
	// another.
	matched := Match(patterns, named, partitions)
	var out []*candidate
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		s := byID[id]
		for _, t := range s.Topics {
			if n, ok := partitions[t]; ok {
				s.topics[t] = n
			}
		}
		for _, p := range s.Patterns {
			for _, t := range matched[p] {
				s.topics[t] = partitions[t]
			}
		}
		out = append(out, s)
	}
	return out
}

// Match returns the topics that each pattern matches as a whole. No topic is read twice: one that
// is named belongs to whoever named it, and one that two patterns match to the first of them in the
// order of strings.
func Match(patterns, named []string, topics map[string]int) map[string][]string {
	patterns = slices.Compact(slices.Sorted(slices.Values(patterns)))
	out := map[string][]string{}
	if len(patterns) == 0 {
		return out
	}
	matched := map[string]bool{}
	for _, t := range named {
		matched[t] = true
	}
	names := slices.Sorted(maps.Keys(topics))
	for _, p := range patterns {
		re, err := compile(p)
		if err != nil {
			continue // Build refuses it; that of another member may have a syntax that this version does not know
		}
		for _, t := range names {
			if !matched[t] && re.MatchString(t) {
				matched[t] = true
				out[p] = append(out[p], t)
			}
		}
	}
	return out
}

func compile(pattern string) (*regexp.Regexp, error) { return regexp.Compile("^(?:" + pattern + ")$") }

func matches(pattern, topic string) bool {
	re, err := compile(pattern)
	return err == nil && re.MatchString(topic)
}

// runnable chooses the sub-topologies that run. Two versions of a program may have sub-topologies
// that differ and read the same topic. If both ran, the records of the topic would be processed
// twice under one set of offsets (invariant 1). The one that more members can run is chosen: while
// a new version is rolled out, the old one runs until most members are new.
//
// excluded has, for each sub-topology that is not chosen because of another one, that one.
func runnable(
	ms []*member, owners ownership, subs []*candidate,
) (out []*candidate, excluded map[*candidate]*candidate) {
	subs = slices.Clone(subs)
	owned := map[int32]int{}
	for t := range owners.tasks {
		owned[t.sub]++
	}
	// Between two that as many members can run, the one of which more tasks run already: nothing
	// moves.
	slices.SortStableFunc(subs, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(len(b.runners), len(a.runners)), cmp.Compare(owned[b.number], owned[a.number]),
			cmp.Compare(a.id, b.id))
	})
	readBy := map[string]*candidate{}
	excluded = map[*candidate]*candidate{}
	for _, s := range subs {
		names := slices.Sorted(maps.Keys(s.topics))
		if i := slices.IndexFunc(names, func(t string) bool { return readBy[t] != nil }); i >= 0 {
			excluded[s] = readBy[names[i]]
			continue
		}
		if len(names) == 0 {
			continue
		}
		for _, t := range names {
			readBy[t] = s
		}
		out = append(out, s)
	}
	// Stateful ones first, so that state is spread evenly before the rest evens out the totals.
	slices.SortStableFunc(out, func(a, b *candidate) int {
		if a.Stateful() != b.Stateful() {
			if a.Stateful() {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.tasks(), a.tasks()), cmp.Compare(a.id, b.id))
	})
	return out, excluded
}
