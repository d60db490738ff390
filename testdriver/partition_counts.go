package testdriver

import (
	"fmt"
	"regexp"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/topics"
)

// partitionCounts returns the numbers of partitions of topics by full name, or an error if the
// options contradict the program.
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
		// Count had the option's number for topics of the user. So a different one is that of a
		// topic whose number the program determines.
		if old, ok := counts[topic]; ok && old != n {
			return nil, fmt.Errorf("TopicPartitions(%q, %d): the program sets %d", topic, n, old)
		}
		counts[topic] = n
	}
	return counts, nil
}

// count returns how many partitions a user's topic has. For a pattern that is the number of the
// largest topic which matches it and is named by an option.
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
func (d *Driver) taskCount(sub *graph.Subtopology) int {
	most := 0
	for _, src := range sub.Sources() {
		if src.Source.Pattern != "" {
			most = max(most, d.options.count(src.Source.Pattern))
		}
		for _, t := range src.Source.Topics {
			if src.Source.Internal {
				t = graph.InternalTopic(d.options.application, t)
			}
			most = max(most, d.counts[t])
		}
	}
	return most
}
