package plan

import (
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
)

// Merging repartition topics: where several steps need the records that one step has given new keys, and nothing between it and them
// makes other records, they cross one topic right behind that step in place of one each. Kafka Streams does this under
// topology.optimization; the topic has the name that the first of them would have had alone, so a program that adds a use keeps it.
//
// It is done when all nodes are there, on the graph: what lies between the step and its users moves behind the topic.

// crossing is a repartition topic that a step needs because keys have changed before it.
type crossing struct {
	from         Out // as the step was given it
	before       port
	after        port // what is read back
	filter, sink *graph.Node
	topic        *graph.Topic
}

// first is the crossing's first node.
func (x *crossing) first() *graph.Node {
	if x.filter != nil {
		return x.filter
	}
	return x.sink
}

// merge merges the crossings of each step that changes keys, where there are several.
func (c *Compile) merge() {
	var hoists []port
	groups := map[*graph.Port][]*crossing{}
	for _, x := range c.crossings {
		at, ok := c.hoist(x)
		if !ok {
			continue
		}
		if len(groups[at.port]) == 0 {
			hoists = append(hoists, at)
		}
		groups[at.port] = append(groups[at.port], x)
	}
	for _, at := range hoists {
		if group := groups[at.port]; len(group) > 1 {
			c.mergeAt(at, group)
		}
	}
	c.g.Nodes = parentsFirst(c.g.Nodes)
}

// hoist returns the output of the step that changed the keys of the records that cross, if everything between passes records on as they
// are and can as well come behind the topic.
func (c *Compile) hoist(x *crossing) (port, bool) {
	out := x.from
	for out.Node.Passes {
		out = out.Node.inputs[0]
	}
	if !out.Node.Rekeys && out.Node.Kind != Merging {
		return port{}, false // it makes other values, whose serde a topic before it would not have
	}
	at := c.ports[out]
	if x.before.port == at.port {
		return at, true
	}
	return at, c.movable(below(at, x.first()), map[*graph.Node]bool{})
}

// movable says that n and what follows in its sub-topology may come behind the topic: they keep no state, which another step
// before the topic might share. What lies behind a crossing of its own does not move.
func (c *Compile) movable(n *graph.Node, seen map[*graph.Node]bool) bool {
	if seen[n] || n.Kind == graph.Sink {
		return true
	}
	seen[n] = true
	if len(n.Stores) > 0 || len(n.Parents) > 1 {
		return false
	}
	for _, p := range n.Ports {
		for _, child := range p.Children {
			if !c.movable(child, seen) {
				return false
			}
		}
	}
	return true
}

// below returns the child of at on the way to n.
func below(at port, n *graph.Node) *graph.Node {
	for !slices.Contains(at.port.Children, n) {
		n = n.Parents[0]
	}
	return n
}

// mergeAt lets a group cross one topic behind at: that of the first. Records without a key are left out before the topic where
// nobody wants them; else each user that does not want them keeps its filter, behind the topic.
func (c *Compile) mergeAt(at port, group []*crossing) {
	first := group[0]
	keyed := !slices.ContainsFunc(group, func(x *crossing) bool { return x.filter == nil || x.before.port != at.port })
	users := make([][]*graph.Node, len(group))
	ways := make([]*graph.Node, len(group))
	for i, x := range group {
		users[i], ways[i] = x.after.port.Children, below(at, x.first())
	}
	behind := first.after
	behind.port.Children = nil
	for i, x := range group {
		at.port.Children = without(at.port.Children, ways[i])
		if x.before.port != at.port && !slices.Contains(behind.port.Children, ways[i]) {
			attach(behind, ways[i])
		}
		c.bypass(x, at, behind, users[i], keyed)
	}
	head := first.sink
	if keyed {
		head = first.filter
		first.filter.Ports[0].Children = []*graph.Node{first.sink}
		first.sink.Parents = []*graph.Node{first.filter}
	}
	at.port.Children = append(at.port.Children, head)
	head.Parents = []*graph.Node{at.owner}
	for _, x := range group[1:] {
		c.g.Topics = slices.DeleteFunc(c.g.Topics, func(t *graph.Topic) bool { return t == x.topic })
		gone := []*graph.Node{x.sink, x.after.owner}
		if keyed {
			gone = append(gone, x.filter)
		}
		c.g.Nodes = slices.DeleteFunc(c.g.Nodes, func(n *graph.Node) bool { return slices.Contains(gone, n) })
	}
}

// bypass has users get their records from where x began, now behind the merged topic, through x's filter unless all records there have
// keys.
func (c *Compile) bypass(x *crossing, at, behind port, users []*graph.Node, keyed bool) {
	from := x.before
	if from.port == at.port {
		from = behind
	}
	from.port.Children = without(from.port.Children, x.first())
	if x.filter != nil && !keyed {
		attach(from, x.filter)
		from = port{x.filter, x.filter.Ports[0]}
		from.port.Children = nil
	}
	was := x.after
	for _, u := range users {
		from.port.Children = append(from.port.Children, u)
		for i, p := range u.Parents {
			if p == was.owner {
				u.Parents[i] = from.owner
			}
		}
	}
	for out, p := range c.ports {
		if p.port == was.port {
			c.ports[out] = from
		}
	}
}

func attach(to port, n *graph.Node) {
	to.port.Children = append(to.port.Children, n)
	n.Parents = []*graph.Node{to.owner}
}

func without(nodes []*graph.Node, n *graph.Node) []*graph.Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(x *graph.Node) bool { return x == n })
}

// parentsFirst sorts nodes so that parents come before children, and otherwise as they were.
func parentsFirst(nodes []*graph.Node) []*graph.Node {
	out := make([]*graph.Node, 0, len(nodes))
	placed := map[*graph.Node]bool{}
	var place func(n *graph.Node)
	place = func(n *graph.Node) {
		if placed[n] {
			return
		}
		placed[n] = true
		for _, p := range n.Parents {
			place(p)
		}
		out = append(out, n)
	}
	for _, n := range nodes {
		place(n)
	}
	return out
}
