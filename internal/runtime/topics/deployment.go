// Package topics is about the topics that a topology needs on a cluster. Its Deployer finds out
// which topics the topology reads and how many tasks each sub-topology has, creates the internal
// topics that are missing, and checks those that exist. While the application runs, a Purger
// deletes from internal topics what is not needed any more.
package topics

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/assign"
)

// Config configures a Deployer.
type Config struct {
	// Application is the id of the application: the group, and the prefix of internal topics.
	Application string
	// Replication is the replication factor of internal topics. 0 and -1 leave it to the brokers.
	Replication int
	// Committed reads offsets that the application has committed. Nil: it has committed none.
	Committed func(context.Context, []kafka.TopicPartition) (map[kafka.TopicPartition]kafka.OffsetMeta, error)
	// DeadLetters are the topics to which the App's own policies write.
	DeadLetters []string
	Logger      *slog.Logger // Defaults to silence.
	// TopicConfig is added to the configuration of each internal topic. What a store says of its own
	// changelog wins over it.
	TopicConfig map[string]string
	// Brokers stand in the commands that errors and the log suggest.
	Brokers []string
}

// Deployment is what a topology runs as on a cluster. Read-only.
type Deployment struct {
	// Subtopologies are the sub-topologies, in the order of Graph.Subtopologies.
	Subtopologies []Subtopology
	// Topics are all topics that the application reads, and its internal topics and changelogs, by
	// full name.
	Topics map[string]kafka.TopicInfo
	// Repartition are the full names of the repartition topics, sorted. What tasks have processed is
	// deleted from them.
	Repartition []string

	bySource  map[string]*graph.Node
	byPattern map[string]*graph.Node
}

// Subtopology is what a sub-topology runs as on a cluster.
type Subtopology struct {
	// Subtopology describes it to the other members of the group.
	assign.Subtopology
	// Inputs are the full names of the topics that its tasks read, those that patterns match included,
	// sorted. A global sub-topology has none.
	Inputs []string
	// TaskCount is the number of its tasks: the partitions of the largest topic.
	TaskCount int
	// Changelogs are the full names of the changelogs by the name of the store.
	Changelogs map[string]string
}

// Task is what one task reads, and the changelogs of its stores. Its partition is that of each
// input and of each changelog.
type Task struct {
	ID         graph.TaskID
	Inputs     []kafka.TopicPartition          // sorted by topic
	Changelogs map[string]kafka.TopicPartition // by store; stores without a changelog are not in it
}

// Tasks returns all tasks.
func (d *Deployment) Tasks() []Task {
	var out []Task
	for i, s := range d.Subtopologies {
		for n := range s.TaskCount {
			out = append(out, d.Task(graph.TaskID{Subtopology: i, Partition: int32(n)}))
		}
	}
	return out
}

// Task returns one task.
func (d *Deployment) Task(id graph.TaskID) Task {
	t := Task{ID: id, Changelogs: map[string]kafka.TopicPartition{}}
	if id.Subtopology < 0 || id.Subtopology >= len(d.Subtopologies) {
		return t
	}
	s := d.Subtopologies[id.Subtopology]
	for _, topic := range s.Inputs {
		if int(id.Partition) < d.Topics[topic].Partitions {
			t.Inputs = append(t.Inputs, kafka.TopicPartition{Topic: topic, Partition: id.Partition})
		}
	}
	for store, topic := range s.Changelogs {
		t.Changelogs[store] = kafka.TopicPartition{Topic: topic, Partition: id.Partition}
	}
	return t
}

// Source returns the node that reads a topic, nil when none does. topic is its full name. A topic
// that is newer than the deployment is found by the pattern that matches it.
func (d *Deployment) Source(topic string) *graph.Node {
	if n := d.bySource[topic]; n != nil {
		return n
	}
	patterns := slices.Collect(maps.Keys(d.byPattern))
	for pattern := range assign.Match(patterns, nil, map[string]int{topic: 1}) {
		return d.byPattern[pattern]
	}
	return nil
}

// IsRepartition reports whether topic, a full name, is a repartition topic.
func (d *Deployment) IsRepartition(topic string) bool {
	_, found := slices.BinarySearch(d.Repartition, topic)
	return found
}

// Descriptions returns the sub-topologies as the leader of the group gets to know them.
func (d *Deployment) Descriptions() []assign.Subtopology {
	out := make([]assign.Subtopology, len(d.Subtopologies))
	for i, s := range d.Subtopologies {
		out[i] = s.Subtopology
	}
	return out
}

// Partitions returns all partitions that the application reads.
func (d *Deployment) Partitions() []kafka.TopicPartition {
	var out []kafka.TopicPartition
	for _, topic := range d.Subscription() {
		for n := range d.Topics[topic].Partitions {
			out = append(out, kafka.TopicPartition{Topic: topic, Partition: int32(n)})
		}
	}
	return out
}

// Subscription returns the full names of all topics that the application reads, sorted.
func (d *Deployment) Subscription() []string {
	var out []string
	for _, s := range d.Subtopologies {
		out = append(out, s.Inputs...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
