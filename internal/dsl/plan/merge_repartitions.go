package plan

import (
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
)

// Merging repartition topics. Several steps may need the records that one step has given new keys.
// If nothing between that step and its users makes other records, they share one topic right behind
// it, instead of one each. Kafka Streams does this under topology.optimization. The topic's name is
// the one that the first user would have had alone, so a program that adds a user keeps the topic.
//
// Merging works on the finished graph: the steps between the one that changed keys and its users
// move behind the topic.

// repartitionEdge is a repartition topic that a step needs because keys have changed before it.
type repartitionEdge struct {
	from         Out        // as the step was given it
	input        outputPort // where records enter the topic
	output       outputPort // where they are read back
	filter, sink *graph.Node
	topic        *graph.Topic
	inherited    *inheritedPartitioning
}

// first returns the edge's first node.
func (e *repartitionEdge) first() *graph.Node {
	if e.filter != nil {
		return e.filter
	}
	return e.sink
}

// mergeRepartitions merges the repartition topics behind each step that changes keys.
func (c *Compiler) mergeRepartitions() {
	var points []outputPort
	groups := map[*graph.Port][]*repartitionEdge{}
	for _, edge := range c.repartitions {
		at, ok := c.mergePoint(edge)
		if !ok {
			continue
		}
		if len(groups[at.port]) == 0 {
			// The points are a list beside the map so that merging happens in the order of the
			// calls: topic names and descriptions must not depend on the order of a map.
			points = append(points, at)
		}
		groups[at.port] = append(groups[at.port], edge)
	}
	for _, at := range points {
		if group := groups[at.port]; len(group) > 1 && allPartitionedAlike(group) {
			c.mergeBehind(at, group)
		}
	}
	// Steps that came before the topic come after it now, and the graph promises parents before
	// children.
	c.graph.Nodes = parentsFirst(c.graph.Nodes)
}

// allPartitionedAlike reports whether all edges of a group are partitioned alike. Each inherits the
// partitioning of the topics that its records meet downstream, and one topic can follow only one.
func allPartitionedAlike(group []*repartitionEdge) bool {
	return !slices.ContainsFunc(
		group, func(edge *repartitionEdge) bool { return !edge.inherited.alike(group[0].inherited) },
	)
}

// mergePoint returns the output of the step that changed the keys of edge's records; ok is false if
// the topic cannot be right behind it.
func (c *Compiler) mergePoint(edge *repartitionEdge) (outputPort, bool) {
	out := edge.from
	for out.Node.PassThrough {
		out = out.Node.inputs[0]
	}
	// The first step on the way back that does not pass records on unchanged must be the one that
	// changed keys. Otherwise it has made other values, and there is no serde for those before it.
	if !out.Node.ChangesKey && out.Node.Kind != Merging {
		return outputPort{}, false
	}
	at := c.ports[out]
	if edge.input.port == at.port {
		return at, true
	}
	return at, c.canMoveBehind(childTowards(at, edge.first()), map[*graph.Node]bool{})
}

// canMoveBehind reports whether node and what follows in its sub-topology may move behind the topic. A
// step with a store may not: a step that stays before the topic could share the store. Steps behind
// another repartition topic do not move at all.
func (c *Compiler) canMoveBehind(node *graph.Node, seen map[*graph.Node]bool) bool {
	if seen[node] || node.Kind == graph.Sink {
		return true
	}
	seen[node] = true
	if len(node.Stores) > 0 || len(node.Parents) > 1 {
		return false
	}
	for _, p := range node.Ports {
		for _, child := range p.Children {
			if !c.canMoveBehind(child, seen) {
				return false
			}
		}
	}
	return true
}

// childTowards returns the child of at on the path to n.
func childTowards(at outputPort, n *graph.Node) *graph.Node {
	for !slices.Contains(at.port.Children, n) {
		n = n.Parents[0]
	}
	return n
}

// mergeBehind replaces the topics of a group by that of its first edge, right behind at.
func (c *Compiler) mergeBehind(at outputPort, group []*repartitionEdge) {
	first := group[0]
	// Records without a key are dropped before the topic only if none of the group wants them and
	// no step lies between. Otherwise each user that does not want them keeps its filter, behind
	// the topic.
	filtered := !slices.ContainsFunc(
		group, func(edge *repartitionEdge) bool { return edge.filter == nil || edge.input.port != at.port },
	)
	// Users and paths are collected before anything is moved: moving one edge changes the children
	// that the others are found by.
	users := make([][]*graph.Node, len(group))
	firstSteps := make([]*graph.Node, len(group))
	for i, edge := range group {
		users[i], firstSteps[i] = edge.output.port.Children, childTowards(at, edge.first())
	}
	behind := first.output
	behind.port.Children = nil
	for i, edge := range group {
		// The steps between at and this edge's topic now read from the merged topic. Edges may
		// share such steps, which move once.
		at.port.Children = without(at.port.Children, firstSteps[i])
		if edge.input.port != at.port && !slices.Contains(behind.port.Children, firstSteps[i]) {
			attach(behind, firstSteps[i])
		}
		c.reconnect(edge, at, behind, users[i], filtered)
	}
	// at leads into the merged topic, through the filter if there is one for all.
	entry := first.sink
	if filtered {
		entry = first.filter
		first.filter.Ports[0].Children = []*graph.Node{first.sink}
		first.sink.Parents = []*graph.Node{first.filter}
	}
	at.port.Children = append(at.port.Children, entry)
	entry.Parents = []*graph.Node{at.node}
	// The topics, sinks and sources of the other edges are removed.
	for _, edge := range group[1:] {
		c.graph.Topics = slices.DeleteFunc(c.graph.Topics, func(t *graph.Topic) bool { return t == edge.topic })
		removed := []*graph.Node{edge.sink, edge.output.node}
		if filtered {
			removed = append(removed, edge.filter)
		}
		c.graph.Nodes = slices.DeleteFunc(c.graph.Nodes, func(n *graph.Node) bool { return slices.Contains(removed, n) })
	}
}

// reconnect has users read from where edge began, which is behind the merged topic now. They go
// through edge's filter, unless all records there have keys.
func (c *Compiler) reconnect(edge *repartitionEdge, at, behind outputPort, users []*graph.Node, filtered bool) {
	from := edge.input
	if from.port == at.port {
		from = behind
	}
	from.port.Children = without(from.port.Children, edge.first())
	if edge.filter != nil && !filtered {
		attach(from, edge.filter)
		from = outputPort{edge.filter, edge.filter.Ports[0]}
		from.port.Children = nil
	}
	old := edge.output
	for _, u := range users {
		from.port.Children = append(from.port.Children, u)
		for i, p := range u.Parents {
			if p == old.node {
				u.Parents[i] = from.node
			}
		}
	}
	// Handles and later steps that refer to the removed source must find what replaces it.
	for out, p := range c.ports {
		if p.port == old.port {
			c.ports[out] = from
		}
	}
}

func attach(to outputPort, n *graph.Node) {
	to.port.Children = append(to.port.Children, n)
	n.Parents = []*graph.Node{to.node}
}

func without(nodes []*graph.Node, n *graph.Node) []*graph.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(x *graph.Node) bool { return x == n })
}

// parentsFirst sorts nodes so that parents come before children, and otherwise leaves their order.
func parentsFirst(nodes []*graph.Node) []*graph.Node {
	out := make([]*graph.Node, 0, len(nodes))
	placed := map[*graph.Node]bool{}
	var place func(node *graph.Node)
	place = func(node *graph.Node) {
		if placed[node] {
			return
		}
		placed[node] = true
		for _, p := range node.Parents {
			place(p)
		}
		out = append(out, node)
	}
	for _, node := range nodes {
		place(node)
	}
	return out
}
