package testdriver

import (
	"fmt"
	"regexp"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/topics"
)

// partitionCounts decides how many partitions topics have, by full name, and says what cannot be.
func partitionCounts(g *graph.Graph, o options) (map[string]int, error) {
	if o.partitions < 1 {
		return nil, fmt.Errorf("Partitions(%d): want at least 1", o.partitions)
	}
	for topic, n := range o.byTopic {
		if n < 1 {
			return nil, fmt.Errorf("TopicPartitions(%q, %d): want at least 1", topic, n)
		}
	}
	counts, err := topics.Count(o.application, g, o.count)
	if err != nil {
		return nil, err
	}
	for topic, n := range o.byTopic {
		if old, ok := counts[topic]; ok && old != n {
			return nil, fmt.Errorf("TopicPartitions(%q, %d): the program makes it %d", topic, n, old)
		}
		counts[topic] = n
	}
	return counts, nil
}

// count returns how many partitions a user's topic has; the topics that match a pattern have as many as the largest of those named.
func (o options) count(topic string) int {
	if n, ok := o.byTopic[topic]; ok {
		return n
	}
	most := o.partitions
	if re, err := regexp.Compile("^(?:" + topic + ")$"); err == nil && topic != regexp.QuoteMeta(topic) {
		for t, n := range o.byTopic {
			if re.MatchString(t) {
				most = max(most, n)
			}
		}
	}
	return most
}

// taskCount returns how many tasks a sub-topology has: the partitions of its largest source topic.
func (d *Driver) taskCount(s *graph.Sub) int {
	n := 0
	for _, src := range s.Sources() {
		if src.Source.Pattern != "" {
			n = max(n, d.opt.count(src.Source.Pattern))
		}
		for _, t := range src.Source.Topics {
			if src.Source.Internal {
				t = graph.InternalTopic(d.opt.application, t)
			}
			n = max(n, d.counts[t])
		}
	}
	return n
}
