package topics

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millstream-go/millstream/internal/assign"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// names are the topics of a topology by full name.
type names struct {
	application string
	g           *graph.Graph
	external    []string          // topics of users that sources name, sorted
	patterns    []string          // in the order of the sources
	internal    map[string]string // full names of repartition topics by their short ones
	enforced    map[string]int    // by full name
	positions   map[string]string // where a repartition topic is made, by full name
}

func newNames(application string, g *graph.Graph) *names {
	n := &names{application: application, g: g, internal: map[string]string{}, enforced: map[string]int{}, positions: map[string]string{}}
	for _, t := range g.Topics {
		full := graph.InternalTopic(application, t.Name)
		n.internal[t.Name] = full
		n.positions[full] = t.Pos
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
	n.external = slices.Compact(n.external)
	return n
}

// topics returns the full names of what a source reads.
func (n *names) topics(s *graph.SourceSpec, matched map[string][]string) []string {
	switch {
	case s.Pattern != "":
		return matched[s.Pattern]
	case s.Internal:
		return []string{graph.InternalTopic(n.application, s.Topics[0])}
	}
	return s.Topics
}

// full returns the full name of a topic of Graph.Together.
func (n *names) full(topic string) string {
	if full, ok := n.internal[topic]; ok {
		return full
	}
	return topic
}

func (n *names) missing(infos map[string]kafka.TopicInfo) error {
	var missing []string
	for _, t := range n.external {
		if _, ok := infos[t]; !ok {
			missing = append(missing, fmt.Sprintf("%q", t))
		}
	}
	switch len(missing) {
	case 0:
		return nil
	case 1:
		return invalidf("topic %s does not exist; create it, or correct its name", missing[0])
	}
	return invalidf("topics %s do not exist; create them, or correct their names", strings.Join(missing, ", "))
}

// count finds the partition count of each topic that is read. A repartition topic has the number it was given; else that of the topics
// it must agree with; else as many as the largest topic that the sub-topologies read which write it. Those may be repartition topics
// themselves, so this goes round until nothing new is found.
func (n *names) count(infos map[string]kafka.TopicInfo, matched map[string][]string) (map[string]int, error) {
	c := &counter{names: n, matched: matched, counts: maps.Clone(n.enforced)}
	for _, t := range n.external {
		c.counts[t] = infos[t].Partitions
	}
	for _, ts := range matched {
		for _, t := range ts {
			c.counts[t] = infos[t].Partitions
		}
	}
	for c.round(false) || c.round(true) {
	}
	var errs []error
	for _, t := range slices.Sorted(maps.Values(n.internal)) {
		if _, ok := c.counts[t]; !ok {
			errs = append(errs, invalidf("repartition topic %q, made at %s, has no input whose partitions could be counted; give it a number", t, n.positions[t]))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return c.counts, c.disagreements()
}

type counter struct {
	*names
	matched map[string][]string
	counts  map[string]int
}

// round counts repartition topics of which enough is known, and says whether there was one. With partial it takes one that is part of
// a cycle: as many partitions as what is known of its inputs.
func (c *counter) round(partial bool) bool {
	found := false
	for _, t := range slices.Sorted(maps.Values(c.internal)) {
		if _, ok := c.counts[t]; ok {
			continue
		}
		if n := c.one(t, partial); n > 0 {
			c.counts[t] = n
			found = true
			if partial {
				return true
			}
		}
	}
	return found
}

func (c *counter) one(topic string, partial bool) int {
	group := []string{topic}
	for _, g := range c.g.Together {
		full := c.fullNames(g)
		if !slices.Contains(full, topic) {
			continue
		}
		for _, t := range full {
			if n, ok := c.counts[t]; ok {
				return n
			}
		}
		group = append(group, full...)
	}
	most := 0
	for _, t := range group {
		n, all := c.written(t)
		if !all && !partial {
			return 0
		}
		most = max(most, n)
	}
	return most
}

// fullNames returns the topics of a group of Graph.Together, those that its patterns match included.
func (c *counter) fullNames(g []string) []string {
	var out []string
	for _, t := range g {
		if slices.Contains(c.patterns, t) {
			out = append(out, c.matched[t]...)
			continue
		}
		out = append(out, c.full(t))
	}
	return out
}

// written returns the partitions of the largest topic read by a sub-topology that writes topic; all says that all of them are known.
func (c *counter) written(topic string) (most int, all bool) {
	all = true
	for _, n := range c.g.Nodes {
		if n.Kind != graph.Sink || !n.Sink.Internal || c.internal[n.Sink.Topic] != topic {
			continue
		}
		for _, s := range c.g.Subs[n.Sub].Sources() {
			for _, t := range c.topics(s.Source, c.matched) {
				count, ok := c.counts[t]
				all = all && ok
				most = max(most, count)
			}
		}
	}
	return most, all
}

func (c *counter) disagreements() error {
	var errs []error
	for _, g := range c.g.Together {
		full := c.fullNames(g)
		for _, t := range full[min(1, len(full)):] {
			if a, b := c.counts[full[0]], c.counts[t]; a != b {
				errs = append(errs, invalidf("topic %q has %d partitions and topic %q has %d; they are joined or merged by key, so their partition "+
					"counts must agree: make them the same, or repartition one of the streams", full[0], a, t, b))
			}
		}
	}
	return errors.Join(errs...)
}

// plan makes the plan but for what the cluster knows of the topics.
func (n *names) plan(counts map[string]int, matched map[string][]string) *Plan {
	p := &Plan{
		Topics: map[string]kafka.TopicInfo{}, Repartition: slices.Sorted(maps.Values(n.internal)),
		bySource: map[string]*graph.Node{}, byPattern: map[string]*graph.Node{},
	}
	for _, s := range n.g.Subs {
		p.Subs = append(p.Subs, n.sub(s, counts, matched, p))
	}
	return p
}

func (n *names) sub(s *graph.Sub, counts map[string]int, matched map[string][]string, p *Plan) Sub {
	out := Sub{Changelogs: map[string]string{}}
	if s.Global { // it is not for the group to know: every member runs it
		return out
	}
	for _, node := range s.Sources() {
		read := n.topics(node.Source, matched)
		if node.Source.Pattern != "" {
			out.Patterns = append(out.Patterns, node.Source.Pattern)
			p.byPattern[node.Source.Pattern] = node
		} else {
			out.Topics = append(out.Topics, read...)
		}
		for _, t := range read {
			p.bySource[t] = node
			out.Tasks = max(out.Tasks, counts[t])
		}
		out.Inputs = append(out.Inputs, read...)
	}
	for _, st := range s.Stores {
		out.Stores = append(out.Stores, st.Name)
		if st.Changelog {
			out.Changelogs[st.Name] = graph.ChangelogTopic(n.application, st.Name)
		}
	}
	out.Sub = assign.Sub{Topics: sorted(out.Topics), Patterns: sorted(out.Patterns), Stores: sorted(out.Stores)}
	out.Inputs = sorted(out.Inputs)
	return out
}

func sorted(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

// Count counts the partitions of all topics that a topology reads as Plan does, without a cluster: partitions says how many a user's topic
// has, and for a pattern how many the topics have that will match it. Keys are full names. It is for the test driver.
func Count(application string, g *graph.Graph, partitions func(topic string) int) (map[string]int, error) {
	n := newNames(application, g)
	infos, matched := map[string]kafka.TopicInfo{}, map[string][]string{}
	for _, t := range n.external {
		infos[t] = kafka.TopicInfo{Name: t, Partitions: partitions(t)}
	}
	for _, p := range n.patterns {
		infos[p] = kafka.TopicInfo{Name: p, Partitions: partitions(p)}
		matched[p] = []string{p}
	}
	return n.count(infos, matched)
}
