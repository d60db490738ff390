package plan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// Compile is a Build under way.
type Compile struct {
	g        *graph.Graph
	at       *Node // whose Emit runs
	ports    map[Out]port
	failed   map[*Node]bool
	names    map[string]string // graph nodes' names, to the place of the call
	counts   map[string]int    // generated names, by kind
	given    map[string]bool   // names that users gave: generated ones stay clear of them
	sources  []*sourceTopics
	together [][]Out
	shared   map[*Node]repartitioned
	used     map[string]*storespec.Spec // references whose stores were made, by name

	crossings []*crossing // repartition topics for changed keys, in the order of the calls
}

type port struct {
	owner *graph.Node
	port  *graph.Port
}

// Build makes the graph, or returns every mistake as topology.Errors.
func (b *Builder) Build() (*graph.Graph, error) {
	lost := takeLost()
	if b == nil {
		return nil, append(lost, mistake("the builder is nil; make it with stream.NewBuilder"))
	}
	if len(b.nodes) == 0 {
		return nil, append(lost, mistake("the program has no steps; begin with stream.From or table.From"))
	}
	c := &Compile{
		g: &graph.Graph{Around: topology.Surround(b.Middleware)}, ports: map[Out]port{}, failed: map[*Node]bool{}, names: map[string]string{},
		counts: map[string]int{}, given: map[string]bool{}, shared: map[*Node]repartitioned{},
		used: map[string]*storespec.Spec{},
	}
	errs := slices.Clone(b.errs)
	for _, n := range b.nodes {
		c.failed[n] = n.bad
		if n.name != "" {
			c.given[n.name] = true
		}
	}
	for _, n := range b.nodes {
		if n.Demand != nil && !slices.ContainsFunc(n.inputs, func(in Out) bool { return in.Node == nil }) {
			n.Demand()
		}
	}
	for _, n := range b.nodes {
		if c.failed[n] || slices.ContainsFunc(n.inputs, func(in Out) bool { return in.Node == nil || c.failed[in.Node] }) {
			c.failed[n] = true // the mistake before it is reported; what follows from it is not
			continue
		}
		c.at = n
		if err := n.Emit(c); err != nil {
			c.failed[n] = true
			errs = append(errs, split(n, err)...)
		}
	}
	if len(errs) == 0 {
		if b.MergeRepartitions {
			c.merge()
		}
		errs = c.finish()
	}
	if errs = append(lost, errs...); len(errs) > 0 {
		return nil, b.inOrder(errs)
	}
	return c.g, nil
}

// inOrder sorts mistakes by the order of the calls, and leaves out those that were found twice: two steps may want one serde.
func (b *Builder) inOrder(errs topology.Errors) topology.Errors {
	order := map[string]int{}
	for i, n := range b.nodes {
		if _, ok := order[n.pos]; !ok {
			order[n.pos] = i
		}
	}
	slices.SortStableFunc(errs, func(x, y *topology.Error) int { return order[x.Pos] - order[y.Pos] })
	return slices.CompactFunc(errs, func(x, y *topology.Error) bool { return x.Error() == y.Error() })
}

// Mistake records a mistake that belongs to no step, at the place of the call that made it.
func (b *Builder) Mistake(op string, err error) {
	b.errs = append(b.errs, &topology.Error{Op: op, Pos: position(), Err: err})
}

func mistake(text string) *topology.Error {
	return &topology.Error{Op: "stream.Builder.Build", Err: errors.New(text)}
}

// split takes what a node's Emit returned apart: mistakes joined by errors.Join, and those that say themselves whose they are.
func split(n *Node, err error) topology.Errors {
	if own, ok := err.(*topology.Error); ok {
		return topology.Errors{own}
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out topology.Errors
		for _, e := range many.Unwrap() {
			out = append(out, split(n, e)...)
		}
		return out
	}
	return topology.Errors{n.err(err)}
}

// Add puts a node into the graph under name, or under a generated one where name is empty, and connects it to its parents. It
// says where two steps have one name.
func (c *Compile) Add(name string, g *graph.Node, parents ...Out) error {
	if name == "" {
		name = c.generate(c.at.Kind)
	}
	if err := c.Claim(name); err != nil {
		return err
	}
	g.Name, g.Pos, g.Policy = name, c.at.pos, c.at.policy
	if g.Op == "" {
		g.Op = c.at.Kind
	}
	for _, p := range parents {
		from, ok := c.ports[p]
		if !ok {
			return fmt.Errorf("internal: output %d of %s was not made", p.Port, p.Node.Op)
		}
		from.port.Children = append(from.port.Children, g)
		g.Parents = append(g.Parents, from.owner)
	}
	c.g.Nodes = append(c.g.Nodes, g)
	return nil
}

// Claim takes a name for the current call, or says that another step has it.
func (c *Compile) Claim(name string) error {
	if other, ok := c.names[name]; ok {
		return fmt.Errorf("name %q is taken by the step at %s", name, other)
	}
	c.names[name] = c.at.pos
	return nil
}

// generate makes a name of a kind. It serves people who read a description: no topic and no store is named from it.
func (c *Compile) generate(kind string) string {
	for {
		c.counts[kind]++
		name := fmt.Sprintf("%s-%d", kind, c.counts[kind])
		if _, taken := c.names[name]; !taken && !c.given[name] {
			return name
		}
	}
}

// Gives says that output i of the current call is records of K and V, from the given graph node.
func Gives[K, V any](c *Compile, i int, g *graph.Node, name string) {
	c.ports[Out{c.at, i}] = addPort[K, V](g, name)
}

func addPort[K, V any](g *graph.Node, name string) port {
	p := &graph.Port{Name: name, Fan: wire.Fan[K, V], Around: wire.Around[K, V]}
	g.Ports = append(g.Ports, p)
	return port{g, p}
}

// GivesTable is Gives for changes.
func GivesTable[K, V any](c *Compile, i int, g *graph.Node, name string) {
	p := &graph.Port{Name: name, Fan: wire.FanTable[K, V], Around: wire.AroundTable[K, V]}
	g.Ports = append(g.Ports, p)
	c.ports[Out{c.at, i}] = port{g, p}
}

// InnerTable says that g, made within the current call, gives changes which the call's own steps get, and returns them as an output.
func InnerTable[K, V any](c *Compile, g *graph.Node) Out {
	p := &graph.Port{Fan: wire.FanTable[K, V], Around: wire.AroundTable[K, V]}
	g.Ports = append(g.Ports, p)
	return c.inner(port{g, p})
}

// Alias says that output i of the current call is another output: the call makes no step of its own.
func (c *Compile) Alias(i int, of Out) { c.ports[Out{c.at, i}] = c.ports[of] }

// NameOutput names the output of a graph node that o is.
func (c *Compile) NameOutput(o Out, name string) error {
	if err := c.Claim(name); err != nil {
		return err
	}
	c.ports[o].port.Name = name
	return nil
}

// inner returns an output for what is made within the current call: one that no handle has.
func (c *Compile) inner(p port) Out {
	o := Out{Node: &Node{Op: c.at.Op, pos: c.at.pos}}
	c.ports[o] = p
	return o
}

// Store adds a store, or says that its name is taken.
func (c *Compile) Store(s *graph.Store) error {
	if err := CheckName(s.Name); err != nil {
		return err
	}
	if other := c.g.Store(s.Name); other != nil {
		return fmt.Errorf("store %q exists: made at %s", s.Name, other.Pos)
	}
	s.Pos = c.at.pos
	c.g.Stores = append(c.g.Stores, s)
	return nil
}

// FindStore returns a store that was added, nil when there is none of that name.
func (c *Compile) FindStore(name string) *graph.Store { return c.g.Store(name) }

// Together says that the topics from which outs are read must have the same partitions.
func (c *Compile) Together(outs ...Out) { c.together = append(c.together, outs) }
