package testdriver

import (
	"fmt"
	"regexp"

	"github.com/millstream-go/millstream/internal/graph"
)

// layout decides how many partitions topics have, by full name, and says what cannot be.
func layout(g *graph.Graph, o options) (map[string]int, error) {
	l := &layouter{g: g, o: o, counts: map[string]int{}, full: map[string]string{}, fixed: map[string]bool{}}
	if err := l.options(); err != nil {
		return nil, err
	}
	for _, t := range g.Topics {
		l.full[t.Name] = graph.InternalTopic(o.application, t.Name)
		l.fixed[l.full[t.Name]] = t.Partitions > 0
		l.counts[l.full[t.Name]] = t.Partitions
	}
	for _, n := range g.Nodes {
		l.addTopics(n)
	}
	for range len(g.Topics) + 1 { // a count can depend on another one at most that often
		l.derive()
		l.together()
	}
	return l.counts, l.verify()
}

type layouter struct {
	g      *graph.Graph
	o      options
	counts map[string]int
	full   map[string]string // of internal topics
	fixed  map[string]bool   // the program says how many
}

func (l *layouter) options() error {
	if l.o.partitions < 1 {
		return fmt.Errorf("Partitions(%d): want at least 1", l.o.partitions)
	}
	for topic, n := range l.o.byTopic {
		if n < 1 {
			return fmt.Errorf("TopicPartitions(%q, %d): want at least 1", topic, n)
		}
		l.counts[topic] = n
	}
	return nil
}

func (l *layouter) name(topic string) string {
	if full, ok := l.full[topic]; ok {
		return full
	}
	return topic
}

func (l *layouter) addTopics(n *graph.Node) {
	var topics []string
	if n.Source != nil && !n.Source.Internal {
		topics = n.Source.Topics
	}
	if n.Sink != nil && !n.Sink.Internal && n.Sink.Topic != "" {
		topics = append(topics, n.Sink.Topic)
	}
	for _, t := range topics {
		if l.counts[t] == 0 {
			l.counts[t] = l.o.partitions
		}
	}
}

// derive gives internal topics as many partitions as the largest source topic of the sub-topologies that write them.
func (l *layouter) derive() {
	for _, s := range l.g.Subs {
		most := taskCount(s, l.counts, l.name, l.o.partitions)
		for _, n := range s.Nodes {
			if n.Sink == nil || !n.Sink.Internal {
				continue
			}
			if t := l.name(n.Sink.Topic); !l.fixed[t] {
				l.counts[t] = max(l.counts[t], most)
			}
		}
	}
}

// together gives internal topics as many partitions as those have with which they are joined.
func (l *layouter) together() {
	for _, group := range l.g.Together {
		most, external := 0, 0
		for _, t := range group {
			n := l.counts[l.name(t)]
			most = max(most, n)
			if l.full[t] == "" || l.fixed[l.name(t)] {
				external = max(external, n)
			}
		}
		if external > 0 {
			most = external
		}
		for _, t := range group {
			if l.full[t] != "" && !l.fixed[l.name(t)] {
				l.counts[l.name(t)] = most
			}
		}
	}
}

func (l *layouter) verify() error {
	for _, group := range l.g.Together {
		first := l.name(group[0])
		for _, t := range group[1:] {
			if t = l.name(t); l.counts[t] != l.counts[first] {
				return fmt.Errorf("topics that are joined must have the same number of partitions: %q has %d, %q has %d",
					first, l.counts[first], t, l.counts[t])
			}
		}
	}
	return nil
}

// taskCount returns how many tasks a sub-topology has: the partitions of its largest source topic.
func taskCount(s *graph.Sub, counts map[string]int, name func(string) string, byDefault int) int {
	n := 0
	for _, src := range s.Sources() {
		if src.Source.Pattern != "" {
			n = max(n, byDefault)
			for t, c := range counts {
				if ok, _ := regexp.MatchString("^(?:"+src.Source.Pattern+")$", t); ok {
					n = max(n, c)
				}
			}
		}
		for _, t := range src.Source.Topics {
			if src.Source.Internal {
				t = name(t)
			}
			n = max(n, counts[t])
		}
	}
	return n
}

func (d *Driver) taskCount(s *graph.Sub) int {
	return taskCount(s, d.counts, func(t string) string { return graph.InternalTopic(d.opt.application, t) }, d.opt.partitions)
}
