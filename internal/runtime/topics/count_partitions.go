package topics

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/assign"
)

// topicNames are the topics of a topology by full name.
type topicNames struct {
	application string
	graph       *graph.Graph
	external    []string          // topics of users that sources name, sorted
	patterns    []string          // in the order of the sources
	internal    map[string]string // full names of repartition topics by their short ones
	enforced    map[string]int    // by full name
	userSinks   map[string]string // topics of users that are known to be written, and by whom
	declaredAt  map[string]string // where a repartition topic is made, by full name
}

func newNames(application string, g *graph.Graph) *topicNames {
	n := &topicNames{application: application, graph: g, internal: map[string]string{}, enforced: map[string]int{},
		declaredAt: map[string]string{}}
	for _, t := range g.Topics {
		full := graph.InternalTopic(application, t.Name)
		n.internal[t.Name] = full
		n.declaredAt[full] = t.Pos
		if t.Partitions > 0 {
			n.enforced[full] = t.Partitions
		}
	}
	for _, node := range g.Nodes {
		if node.Kind != graph.Source {
			continue
		}
		if node.Source.Pattern != "" {
			n.patterns = append(n.patterns, node.Source.Pattern)
		} else if !node.Source.Internal {
			n.external = append(n.external, node.Source.Topics...)
		}
	}
	slices.Sort(n.external)
	// Several sources may read the same topic.
	n.external = slices.Compact(n.external)
	return n
}

// sourceTopics returns the full names of what a source reads.
func (n *topicNames) sourceTopics(s *graph.SourceSpec, matched map[string][]string) []string {
	switch {
	case s.Pattern != "":
		return matched[s.Pattern]
	case s.Internal:
		return []string{graph.InternalTopic(n.application, s.Topics[0])}
	}
	return s.Topics
}

// fullName returns the full name of a topic of Graph.CoPartitioned.
func (n *topicNames) fullName(topic string) string {
	if full, ok := n.internal[topic]; ok {
		return full
	}
	return topic
}

// collectUserSinks finds the user's topics that the topology writes, those of sinks and of dead
// letters, as far as they are known before there is a record.
func (n *topicNames) collectUserSinks(deadLetters []string) {
	n.userSinks = map[string]string{}
	for _, t := range deadLetters {
		n.userSinks[t] = "dead letters, by a policy of Config"
	}
	for _, node := range n.graph.Nodes {
		policies := []failure.Policy{node.Policy}
		if node.Source != nil {
			policies = append(policies, node.Source.Policy)
		}
		for _, p := range policies {
			for _, t := range p.Topics() {
				n.userSinks[t] = fmt.Sprintf("dead letters of step %q, %s", node.Name, node.Pos)
			}
		}
		if node.Kind == graph.Sink && !node.Sink.Internal && node.Sink.Topic != "" {
			n.userSinks[node.Sink.Topic] = fmt.Sprintf("written by %q, %s", node.Name, node.Pos)
		}
	}
}

// count finds the partition count of each topic that is read. That of a repartition topic is the
// first of these that is known:
//
//  1. the number that the user gave it;
//  2. that of the topics with which it is co-partitioned;
//  3. its own, if it exists;
//  4. that of the largest topic that is read by a sub-topology which writes it.
//
// The topics of 4 may be repartition topics themselves, so there are rounds until one finds nothing
// new.
//
// Kafka Streams does not have 3: it counts a topic that exists again, and stops when an input has
// more partitions by now. There is no need to. The rows behind a repartition topic are placed by
// its partitions, and these stay as they are.
func (n *topicNames) count(infos map[string]kafka.TopicInfo, matched map[string][]string) (map[string]int, error) {
	c := &counter{topicNames: n, infos: infos, matched: matched, counts: maps.Clone(n.enforced)}
	for _, t := range n.external {
		c.counts[t] = infos[t].Partitions
	}
	for _, topics := range matched {
		for _, t := range topics {
			c.counts[t] = infos[t].Partitions
		}
	}
	// What is part of a cycle is counted last, one topic at a time: its count may complete the
	// others'.
	for c.countRound(false) || c.countRound(true) {
	}
	var errs []error
	for _, t := range slices.Sorted(maps.Values(n.internal)) {
		if _, ok := c.counts[t]; !ok {
			errs = append(errs, invalidf("repartition topic %q, made at %s, has no input whose partitions could be counted; "+
				"give it a number", t, n.declaredAt[t]))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c.counts, c.checkCoPartitioned()
}

// counter counts the partitions of topics.
type counter struct {
	*topicNames
	infos   map[string]kafka.TopicInfo
	matched map[string][]string
	counts  map[string]int // what was found so far
}

// countRound counts the repartition topics of which enough is known, and reports whether there was
// one. With partial it counts one topic that is part of a cycle, by those of its inputs that are
// known.
func (c *counter) countRound(partial bool) bool {
	found := false
	for _, t := range slices.Sorted(maps.Values(c.internal)) {
		if _, ok := c.counts[t]; ok {
			continue
		}
		if count := c.countTopic(t, partial); count > 0 {
			c.counts[t] = count
			found = true
			if partial {
				return true
			}
		}
	}
	return found
}

// countTopic returns the count of a repartition topic, 0 when too little is known.
func (c *counter) countTopic(topic string, partial bool) int {
	group := []string{topic} // the topics that must have the same count
	for _, coPartitioned := range c.graph.CoPartitioned {
		full := c.fullNames(coPartitioned)
		if !slices.Contains(full, topic) {
			continue
		}
		for _, member := range full {
			if count, ok := c.counts[member]; ok {
				return count
			}
		}
		group = append(group, full...)
	}
	// Its own count, or that of a topic of the group that exists and is not counted yet.
	for _, member := range group {
		if count := c.infos[member].Partitions; count > 0 {
			return count
		}
	}
	largest := 0
	for _, member := range group {
		count, complete := c.largestInput(member)
		if !complete && !partial {
			return 0
		}
		largest = max(largest, count)
	}
	return largest
}

// fullNames returns the topics of a group of Graph.CoPartitioned, those that its patterns match
// included.
func (c *counter) fullNames(group []string) []string {
	var out []string
	for _, t := range group {
		if slices.Contains(c.patterns, t) {
			out = append(out, c.matched[t]...)
			continue
		}
		out = append(out, c.fullName(t))
	}
	return out
}

// largestInput returns the partition count of the largest topic that is read by a sub-topology
// which writes topic. complete reports whether all of these are known.
func (c *counter) largestInput(topic string) (largest int, complete bool) {
	complete = true
	for _, n := range c.graph.Nodes {
		if n.Kind != graph.Sink || !n.Sink.Internal || c.internal[n.Sink.Topic] != topic {
			continue
		}
		for _, s := range c.graph.Subtopologies[n.Subtopology].Sources() {
			for _, t := range c.sourceTopics(s.Source, c.matched) {
				count, ok := c.counts[t]
				complete = complete && ok
				largest = max(largest, count)
			}
		}
	}
	return largest, complete
}

// checkCoPartitioned refuses topics that are joined or merged by key and differ in their counts: a
// key would be in different partitions, and so in different tasks.
func (c *counter) checkCoPartitioned() error {
	var errs []error
	for _, group := range c.graph.CoPartitioned {
		full := c.fullNames(group)
		for _, t := range full[min(1, len(full)):] {
			if a, b := c.counts[full[0]], c.counts[t]; a != b {
				errs = append(errs, mismatchf("topic %q has %d partitions and topic %q has %d; they are joined or merged by key, "+
					"so their partition counts must agree: repartition one of the streams, to the count of the changelogs of their "+
					"stores; or, if those stores have no rows yet, make the counts the same", full[0], a, t, b))
			}
		}
	}
	return errors.Join(errs...)
}

// deployment makes the deployment, but for what the cluster knows of the topics.
func (n *topicNames) deployment(counts map[string]int, matched map[string][]string) *Deployment {
	deployment := &Deployment{
		Topics: map[string]kafka.TopicInfo{}, Repartition: slices.Sorted(maps.Values(n.internal)),
		bySource: map[string]*graph.Node{}, byPattern: map[string]*graph.Node{},
	}
	for _, sub := range n.graph.Subtopologies {
		deployment.Subtopologies = append(deployment.Subtopologies, n.subtopology(sub, counts, matched, deployment))
	}
	return deployment
}

func (n *topicNames) subtopology(
	sub *graph.Subtopology, counts map[string]int, matched map[string][]string, deployment *Deployment,
) Subtopology {
	out := Subtopology{Changelogs: map[string]string{}}
	if sub.Global { // it has no tasks that the group could assign: every member runs it
		return out
	}
	for _, node := range sub.Sources() {
		read := n.sourceTopics(node.Source, matched)
		if node.Source.Pattern != "" {
			out.Patterns = append(out.Patterns, node.Source.Pattern)
			deployment.byPattern[node.Source.Pattern] = node
		} else {
			out.Topics = append(out.Topics, read...)
		}
		for _, t := range read {
			deployment.bySource[t] = node
			out.TaskCount = max(out.TaskCount, counts[t])
		}
		out.Inputs = append(out.Inputs, read...)
	}
	for _, st := range sub.Stores {
		out.Stores = append(out.Stores, st.Name)
		if st.Changelog {
			out.Changelogs[st.Name] = graph.ChangelogTopic(n.application, st.Name)
		}
	}
	out.Subtopology = assign.Subtopology{Topics: sortedUnique(out.Topics), Patterns: sortedUnique(out.Patterns),
		Stores: sortedUnique(out.Stores)}
	out.Inputs = sortedUnique(out.Inputs)
	return out
}

func sortedUnique(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

// Count counts the partitions of all topics that a topology reads as Deploy does, but without a
// cluster. partitions returns how many a user's topic has, and for a pattern how many the topics
// have that will match it. The keys of the result are full names. It is for the test driver.
func Count(application string, g *graph.Graph, partitions func(topic string) int) (map[string]int, error) {
	names := newNames(application, g)
	infos, matched := map[string]kafka.TopicInfo{}, map[string][]string{}
	for _, t := range names.external {
		infos[t] = kafka.TopicInfo{Name: t, Partitions: partitions(t)}
	}
	for _, p := range names.patterns {
		infos[p] = kafka.TopicInfo{Name: p, Partitions: partitions(p)}
		matched[p] = []string{p}
	}
	return names.count(infos, matched)
}
