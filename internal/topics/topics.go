// Package topics finds out what a topology runs as on a cluster: which topics it reads, how many tasks each sub-topology has, and
// which internal topics it needs. It creates those that are missing, checks those that are there, and purges repartition topics of
// what is processed.
package topics

import (
	"maps"
	"slices"

	"github.com/millstream-go/millstream/internal/assign"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// Config says how internal topics are made.
type Config struct {
	// Application is the id of the application: the group, and the prefix of internal topics.
	Application string
	// Replication is the replication factor of internal topics. 0 and -1 leave it to the brokers.
	Replication int
	// TopicConfig is added to the configuration of each internal topic; what a store says of its own changelog comes on top.
	TopicConfig map[string]string
}

// Plan is what a topology runs as. Read-only.
type Plan struct {
	// Subs are the sub-topologies, in the order of Graph.Subs.
	Subs []Sub
	// Topics are all topics that the application reads, and its internal topics and changelogs, by full name.
	Topics map[string]kafka.TopicInfo
	// Repartition are the full names of the repartition topics, sorted. Tasks delete from them what they have processed.
	Repartition []string

	bySource  map[string]*graph.Node
	byPattern map[string]*graph.Node
}

// Sub is what a sub-topology runs as.
type Sub struct {
	// Sub describes it to other members.
	assign.Sub
	// Inputs are the full names of the topics that its tasks read, patterns resolved, sorted. A global sub-topology has none.
	Inputs []string
	// Tasks is the number of its tasks: the partitions of the largest topic.
	Tasks int
	// Changelogs are the full names of the changelogs by the name of the store.
	Changelogs map[string]string
}

// Task is what one task reads and keeps. Its own partition is that of each input and each changelog.
type Task struct {
	ID         graph.TaskID
	Inputs     []kafka.TopicPartition          // sorted by topic
	Changelogs map[string]kafka.TopicPartition // by store; stores without a changelog are not in it
}

// Tasks returns all tasks.
func (p *Plan) Tasks() []Task {
	var out []Task
	for i, s := range p.Subs {
		for n := range s.Tasks {
			out = append(out, p.Task(graph.TaskID{Sub: i, Partition: int32(n)}))
		}
	}
	return out
}

// Task returns one task.
func (p *Plan) Task(id graph.TaskID) Task {
	t := Task{ID: id, Changelogs: map[string]kafka.TopicPartition{}}
	if id.Sub < 0 || id.Sub >= len(p.Subs) {
		return t
	}
	s := p.Subs[id.Sub]
	for _, topic := range s.Inputs {
		if int(id.Partition) < p.Topics[topic].Partitions {
			t.Inputs = append(t.Inputs, kafka.TopicPartition{Topic: topic, Partition: id.Partition})
		}
	}
	for store, topic := range s.Changelogs {
		t.Changelogs[store] = kafka.TopicPartition{Topic: topic, Partition: id.Partition}
	}
	return t
}

// Source returns the node that reads a topic, given by its full name; nil when none does. A topic that is newer than the plan is found
// by the pattern that matches it.
func (p *Plan) Source(topic string) *graph.Node {
	if n := p.bySource[topic]; n != nil {
		return n
	}
	patterns := slices.Collect(maps.Keys(p.byPattern))
	for pattern := range assign.Match(patterns, nil, map[string]int{topic: 1}) {
		return p.byPattern[pattern]
	}
	return nil
}

// Purged says that topic, given by its full name, is a repartition topic.
func (p *Plan) Purged(topic string) bool {
	_, found := slices.BinarySearch(p.Repartition, topic)
	return found
}

// Descriptions returns what the member tells the leader of its sub-topologies.
func (p *Plan) Descriptions() []assign.Sub {
	out := make([]assign.Sub, len(p.Subs))
	for i, s := range p.Subs {
		out[i] = s.Sub
	}
	return out
}

// Subscription returns the full names of all topics that the application reads, sorted.
func (p *Plan) Subscription() []string {
	var out []string
	for _, s := range p.Subs {
		out = append(out, s.Inputs...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
