// Package topology is what Build returns, the graph of a program's steps, and what a step sees of
// the task that runs it: records, headers, the task's clock, stores and punctuations.
package topology

import "github.com/millstream-go/millstream/internal/graph"

// Topology is a program after Build: the input of millstream.New and testdriver.New. It does not
// change and may be used by several goroutines, Apps and drivers at once. String, Describe, Mermaid
// and DOT show it to people. The drawings of two versions of a program show what changes in Kafka:
// topics and stores.
type Topology graph.Handle

func (t *Topology) impl() *graph.Graph { return (*graph.Handle)(t).Graph() }

// Subtopology is a part of a topology that is connected by steps and stores: it runs as one task
// for each partition of its topics.
type Subtopology struct {
	ID     int  // tasks are named after it: task 1_3 runs partition 3 of sub-topology 1
	Global bool // it maintains global stores: every instance reads all partitions of its topic, and no tasks are made
	Nodes  []Node
	Stores []Store
}

// Node is a step.
type Node struct {
	Name string // unique; generated names serve descriptions only: no topic and no store is named from one
	Op   string // what it does: "source", "filter", "sink"
	Pos  string // the call that made it, as file:line, and its caller
	// Topics are those that a source reads or a sink writes. A source with a pattern and a sink
	// that chooses for each record have none. Names of internal topics are without the
	// application's prefix.
	Topics   []string
	Pattern  string   // of a source: a regular expression instead of topics
	Internal bool     // its topic is made by the library
	Stores   []string // that it reads or writes
	Parents  []string // names of nodes
	Outputs  []Output // none in sinks
}

// Output is where a node sends records.
type Output struct {
	Name     string   // empty for a main output
	Children []string // names of nodes, in the order in which they get each record
}

// Store is a state store. Each task has its own partition of it. Of a global store every instance
// has all partitions.
type Store struct {
	Name      string
	InMemory  bool
	Global    bool
	Topic     string // that it is filled and restored from in place of a changelog; empty for most
	Changelog bool   // its changelog is the topic <application>-<Name>-changelog
}

// Subtopologies returns the parts of t, numbered from 0, their nodes parents first.
func (t *Topology) Subtopologies() []Subtopology {
	g := t.impl()
	subs := make([]Subtopology, len(g.Subtopologies))
	for i, s := range g.Subtopologies {
		subs[i].ID, subs[i].Global = s.ID, s.Global
		for _, n := range s.Nodes {
			subs[i].Nodes = append(subs[i].Nodes, describe(n))
		}
		for _, st := range s.Stores {
			subs[i].Stores = append(subs[i].Stores, Store{
				Name: st.Name, InMemory: st.InMemory, Global: st.Global, Topic: st.SourceTopic, Changelog: st.Changelog,
			})
		}
	}
	return subs
}

func describe(node *graph.Node) Node {
	d := Node{Name: node.Name, Op: node.Op, Pos: node.Pos, Stores: append([]string(nil), node.Stores...),
		Parents: names(node.Parents)}
	if s := node.Source; s != nil {
		d.Topics, d.Pattern, d.Internal = append([]string(nil), s.Topics...), s.Pattern, s.Internal
	}
	if s := node.Sink; s != nil {
		d.Internal = s.Internal
		if s.Topic != "" {
			d.Topics = []string{s.Topic}
		}
	}
	for _, p := range node.Ports {
		d.Outputs = append(d.Outputs, Output{Name: p.Name, Children: names(p.Children)})
	}
	return d
}

func names(nodes []*graph.Node) []string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	return out
}
