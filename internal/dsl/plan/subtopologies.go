package plan

import (
	"fmt"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/topology"
)

// finish finds the sub-topologies and the topics that must be co-partitioned, once all nodes are
// there, and checks the stores and what the committed offsets have to remember.
func (c *Compiler) finish() topology.Errors {
	c.numberSubtopologies()
	for _, m := range c.coPartitioned {
		var topics []string
		seen := map[*graph.Node]bool{}
		for _, o := range m.outs {
			topics = append(topics, topicsReadBy(c.ports[o].node, seen)...)
		}
		slices.Sort(topics)
		// A pattern alone stands for several topics, which have to agree with each other.
		if topics = slices.Compact(topics); len(topics) > 1 || len(topics) == 1 && c.isPattern(topics[0]) {
			c.graph.CoPartitioned = append(c.graph.CoPartitioned, topics)
		}
	}
	c.coPartitionTopicStores()
	var errs topology.Errors
	// A store without a step would have a changelog that nobody writes.
	for _, s := range c.graph.Stores {
		if s.Subtopology < 0 {
			errs = append(errs, &topology.Error{Op: "store", Name: s.Name, Pos: s.Pos, Err: fmt.Errorf("no step uses it")})
		}
	}
	// The committed offsets of each sub-topology remember the internal topics of the program. A
	// program with too many of them is rejected here, and not by a broker when the first commit
	// fails.
	for _, s := range c.graph.Subtopologies {
		if s.Global {
			continue
		}
		if _, err := c.graph.ProgramEntry(s.ID); err != nil {
			n := s.Nodes[0]
			errs = append(errs, &topology.Error{Op: n.Op, Name: n.Name, Pos: n.Pos,
				Err: fmt.Errorf("the sub-topology that begins here, of a program with %d "+
					"stores and %d internal topics: %w; give its steps shorter names, or make two applications of it",
					len(c.graph.Stores), len(c.graph.Topics), err)})
		}
	}
	return errs
}

// coPartitionTopicStores has steps that read a store bound to a topic co-partitioned with that
// topic: a task sees only its own partition of the store.
func (c *Compiler) coPartitionTopicStores() {
	for _, s := range c.graph.Stores {
		if s.SourceTopic == "" || s.Global {
			continue
		}
		topics, seen := []string{s.SourceTopic}, map[*graph.Node]bool{}
		for _, n := range c.graph.Nodes {
			if slices.Contains(n.Stores, s.Name) {
				topics = append(topics, topicsReadBy(n, seen)...)
			}
		}
		slices.Sort(topics)
		if topics = slices.Compact(topics); len(topics) > 1 {
			c.graph.CoPartitioned = append(c.graph.CoPartitioned, topics)
		}
	}
}

// numberSubtopologies divides the graph into sub-topologies: nodes connected by edges or by stores.
// They are numbered in the order of their first nodes.
func (c *Compiler) numberSubtopologies() {
	// A union-find over the nodes. A node without an entry is the root of its set.
	parent := map[*graph.Node]*graph.Node{}
	var find func(n *graph.Node) *graph.Node
	find = func(n *graph.Node) *graph.Node {
		if p := parent[n]; p != nil && p != n {
			parent[n] = find(p)
			return parent[n]
		}
		return n
	}
	union := func(a, b *graph.Node) {
		if a, b = find(a), find(b); a != b {
			parent[b] = a
		}
	}
	// Two nodes are in one set if an edge or a store connects them: a store's rows are in one task.
	firstUser := map[string]*graph.Node{}
	for _, n := range c.graph.Nodes {
		for _, p := range n.Parents {
			union(p, n)
		}
		for _, s := range n.Stores {
			// A global store connects nothing: every instance has all of it.
			if c.readsGlobal(n, s) {
				continue
			}
			if firstUser[s] == nil {
				firstUser[s] = n
			}
			union(firstUser[s], n)
		}
	}
	// Numbers follow the order of the nodes, which is that of the calls, and not the order of the
	// sets' roots, which depends on how they were united.
	byRoot := map[*graph.Node]*graph.Subtopology{}
	for _, n := range c.graph.Nodes {
		root := find(n)
		s := byRoot[root]
		if s == nil {
			s = &graph.Subtopology{ID: len(c.graph.Subtopologies)}
			byRoot[root] = s
			c.graph.Subtopologies = append(c.graph.Subtopologies, s)
		}
		n.Subtopology = s.ID
		s.Nodes = append(s.Nodes, n)
		s.Global = s.Global || n.Kind == graph.Source && n.Source.Global
	}
	for _, st := range c.graph.Stores {
		// A store that no step uses belongs to no sub-topology; finish reports it.
		st.Subtopology = -1
		if n := firstUser[st.Name]; n != nil {
			st.Subtopology = n.Subtopology
			c.graph.Subtopologies[n.Subtopology].Stores = append(c.graph.Subtopologies[n.Subtopology].Stores, st)
		}
	}
}

// readsGlobal reports whether n reads the named store as a global one. Every instance has all of
// it, so reader and writer need not be in one sub-topology.
func (c *Compiler) readsGlobal(n *graph.Node, name string) bool {
	s := c.graph.Store(name)
	return s != nil && s.Global && s.Writer != n.Name
}

// isPattern reports whether a source reads by this pattern.
func (c *Compiler) isPattern(pattern string) bool {
	return slices.ContainsFunc(
		c.graph.Nodes, func(n *graph.Node) bool { return n.Kind == graph.Source && n.Source.Pattern == pattern },
	)
}

// topicsReadBy returns the topics, or patterns of topics, that node is read from within its
// sub-topology. Nodes in seen are left out.
func topicsReadBy(node *graph.Node, seen map[*graph.Node]bool) []string {
	if seen[node] {
		return nil
	}
	seen[node] = true
	if node.Kind == graph.Source {
		if node.Source.Pattern != "" {
			return []string{node.Source.Pattern}
		}
		return node.Source.Topics
	}
	var out []string
	for _, p := range node.Parents {
		out = append(out, topicsReadBy(p, seen)...)
	}
	return out
}
