package plan

import (
	"fmt"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/topology"
)

// finish finds the sub-topologies and the topics that must be partitioned alike, once all nodes are there.
func (c *Compile) finish() topology.Errors {
	c.subs()
	for _, outs := range c.together {
		var topics []string
		seen := map[*graph.Node]bool{}
		for _, o := range outs {
			topics = append(topics, sourcesOf(c.ports[o].owner, seen)...)
		}
		slices.Sort(topics)
		// A pattern alone stands for topics that have to agree with each other.
		if topics = slices.Compact(topics); len(topics) > 1 || len(topics) == 1 && c.reads(topics[0]) {
			c.g.Together = append(c.g.Together, topics)
		}
	}
	c.beside()
	var errs topology.Errors
	for _, s := range c.g.Stores {
		if s.Sub < 0 {
			errs = append(errs, &topology.Error{Op: "store", Name: s.Name, Pos: s.Pos, Err: fmt.Errorf("no step uses it")})
		}
	}
	return errs
}

// beside has what reads a store that is kept from a topic partitioned as that topic is: a task sees its own partition of the store.
func (c *Compile) beside() {
	for _, s := range c.g.Stores {
		if s.Topic == "" || s.Global {
			continue
		}
		topics, seen := []string{s.Topic}, map[*graph.Node]bool{}
		for _, n := range c.g.Nodes {
			if slices.Contains(n.Stores, s.Name) {
				topics = append(topics, sourcesOf(n, seen)...)
			}
		}
		slices.Sort(topics)
		if topics = slices.Compact(topics); len(topics) > 1 {
			c.g.Together = append(c.g.Together, topics)
		}
	}
}

// subs numbers the sub-topologies: nodes connected by edges or by stores, in the order of their first nodes.
func (c *Compile) subs() {
	group := map[*graph.Node]*graph.Node{}
	var find func(n *graph.Node) *graph.Node
	find = func(n *graph.Node) *graph.Node {
		if p := group[n]; p != nil && p != n {
			group[n] = find(p)
			return group[n]
		}
		return n
	}
	join := func(a, b *graph.Node) {
		if a, b = find(a), find(b); a != b {
			group[b] = a
		}
	}
	user := map[string]*graph.Node{}
	for _, n := range c.g.Nodes {
		for _, p := range n.Parents {
			join(p, n)
		}
		for _, s := range n.Stores {
			if c.elsewhere(n, s) {
				continue
			}
			if user[s] == nil {
				user[s] = n
			}
			join(user[s], n)
		}
	}
	ids := map[*graph.Node]*graph.Sub{}
	for _, n := range c.g.Nodes {
		root := find(n)
		s := ids[root]
		if s == nil {
			s = &graph.Sub{ID: len(c.g.Subs)}
			ids[root] = s
			c.g.Subs = append(c.g.Subs, s)
		}
		n.Sub = s.ID
		s.Nodes = append(s.Nodes, n)
		s.Global = s.Global || n.Kind == graph.Source && n.Source.Global
	}
	for _, st := range c.g.Stores {
		st.Sub = -1
		if n := user[st.Name]; n != nil {
			st.Sub = n.Sub
			c.g.Subs[n.Sub].Stores = append(c.g.Subs[n.Sub].Stores, st)
		}
	}
}

// elsewhere says that a store which n reads is a global one: every instance has all of it, so the two need not be together.
func (c *Compile) elsewhere(n *graph.Node, name string) bool {
	s := c.g.Store(name)
	return s != nil && s.Global && s.Owner != n.Name
}

// reads says that a source reads by pattern.
func (c *Compile) reads(pattern string) bool {
	return slices.ContainsFunc(c.g.Nodes, func(n *graph.Node) bool { return n.Kind == graph.Source && n.Source.Pattern == pattern })
}

// sourcesOf returns the topics, or the patterns of topics, from which n is read within its sub-topology, those of nodes seen before left out.
func sourcesOf(n *graph.Node, seen map[*graph.Node]bool) []string {
	if seen[n] {
		return nil
	}
	seen[n] = true
	if n.Kind == graph.Source {
		if n.Source.Pattern != "" {
			return []string{n.Source.Pattern}
		}
		return n.Source.Topics
	}
	var out []string
	for _, p := range n.Parents {
		out = append(out, sourcesOf(p, seen)...)
	}
	return out
}
