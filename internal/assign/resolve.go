package assign

import (
	"cmp"
	"maps"
	"regexp"
	"slices"

	"github.com/millstream-go/millstream/internal/kafka"
)

// sub is a sub-topology as the leader sees it.
type sub struct {
	Sub
	id      string
	topics  map[string]int // what it reads, with the partition counts
	members []*member      // that can run it
}

// tasks returns how many tasks the sub-topology has: one per partition of its largest topic.
func (s *sub) tasks() int {
	n := 0
	for _, c := range s.topics {
		n = max(n, c)
	}
	return n
}

func (s *sub) inputs(partition int32) []kafka.TopicPartition {
	var out []kafka.TopicPartition
	for topic, count := range s.topics {
		if int(partition) < count {
			out = append(out, kafka.TopicPartition{Topic: topic, Partition: partition})
		}
	}
	return out
}

// Wanted returns the topics of which the leader has to know the partition counts; all says that some member reads by a pattern, so
// that the counts of all topics of the cluster are wanted which a pattern may match.
func Wanted(members map[string]Subscription) (topics []string, all bool) {
	named := map[string]bool{}
	for _, m := range members {
		for _, s := range m.Subs {
			all = all || len(s.Patterns) > 0
			for _, t := range s.Topics {
				named[t] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(named)), all
}

// resolve finds what each sub-topology of any member reads.
func resolve(ms []*member, partitions map[string]int) []*sub {
	byID := map[string]*sub{}
	for _, m := range ms {
		for _, s := range m.s.Subs {
			id := s.ID()
			if byID[id] == nil {
				byID[id] = &sub{Sub: s, id: id, topics: map[string]int{}}
			}
			if !slices.Contains(byID[id].members, m) {
				byID[id].members = append(byID[id].members, m)
			}
		}
	}
	var patterns, named []string
	for _, s := range byID {
		patterns = append(patterns, s.Patterns...)
		named = append(named, s.Topics...)
	}
	matched := Match(patterns, named, partitions)
	var out []*sub
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

// Match returns the topics that each pattern matches as a whole. Topics that are named belong to whoever named them, and of two
// patterns that match a topic the first in the order of strings has it, so that no topic is read twice.
func Match(patterns, named []string, topics map[string]int) map[string][]string {
	patterns = slices.Compact(slices.Sorted(slices.Values(patterns)))
	out := map[string][]string{}
	if len(patterns) == 0 {
		return out
	}
	taken := map[string]bool{}
	for _, t := range named {
		taken[t] = true
	}
	names := slices.Sorted(maps.Keys(topics))
	for _, p := range patterns {
		re, err := compile(p)
		if err != nil {
			continue // Build refuses it; another member's may be of a syntax that we do not know
		}
		for _, t := range names {
			if !taken[t] && re.MatchString(t) {
				taken[t] = true
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

// runnable leaves out what cannot run beside the others. Two versions of a program may describe sub-topologies that read the same
// topic; both running would process its records twice under one set of offsets (invariant 1). The one that more members can run is
// taken: while a new version is rolled out, the old one keeps the work until most members are new. Stateful ones come first then,
// so that state is spread before the rest fills up.
func runnable(ms []*member, c claims, subs []*sub) []*sub {
	owned := map[string]int{}
	for t := range c.tasks {
		owned[t.sub]++
	}
	slices.SortStableFunc(subs, func(a, b *sub) int {
		return cmp.Or(cmp.Compare(len(b.members), len(a.members)), cmp.Compare(owned[b.id], owned[a.id]), cmp.Compare(a.id, b.id))
	})
	taken := map[string]bool{}
	var out []*sub
	for _, s := range subs {
		names := slices.Collect(maps.Keys(s.topics))
		if len(names) == 0 || slices.ContainsFunc(names, func(t string) bool { return taken[t] }) {
			continue
		}
		for _, t := range names {
			taken[t] = true
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b *sub) int {
		if a.Stateful() != b.Stateful() {
			if a.Stateful() {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.tasks(), a.tasks()), cmp.Compare(a.id, b.id))
	})
	return out
}
