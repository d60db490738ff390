package plan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/topology"
)

// Compiler is a Build in progress.
type Compiler struct {
	graph             *graph.Graph
	current           *Node // the node whose AddToGraph runs
	ports             map[Out]outputPort
	failed            map[*Node]bool
	positions         map[string]string // by names of graph nodes: where the call was
	generated         map[string]int    // how many names were generated, by kind
	userNames         map[string]bool   // generated names avoid these
	sources           []*sourceTopics
	coPartitioned     []coPartition
	origins           map[*graph.Node]*origin    // of sources
	sinkPartitionings map[string][]*Partitioning // by external topic that the program writes
	changesKey        map[*graph.Node]bool       // steps after which the partition of a key is unknown
	makesWindows      map[*graph.Node]bool       // aggregations whose results have windowed keys
	sharedTopics      map[*Node]repartitioned    // repartition topics, by the grouping that shares them
	wantsNoKey        map[*Node]bool             // a step downstream has results for records without a key
	usedRefs          map[string]*spec.Store     // references whose stores were made, by name

	repartitions []*repartitionEdge // for changed keys, in the order of the calls
}

// outputPort is a port of a graph node, which is what an Out becomes.
type outputPort struct {
	node *graph.Node
	port *graph.Port
}

// Build makes the graph, or returns every mistake of the program as topology.Errors.
func (b *Builder) Build() (*graph.Graph, error) {
	orphaned := takeOrphans()
	if b == nil {
		return nil, append(orphaned, buildError("the builder is nil; make it with stream.NewBuilder"))
	}
	if len(b.nodes) == 0 {
		return nil, append(orphaned, buildError("the program has no steps; begin with stream.From or table.From"))
	}
	compiler := &Compiler{
		graph:             &graph.Graph{Middleware: wire.Middleware(b.Middleware)},
		ports:             map[Out]outputPort{},
		failed:            map[*Node]bool{},
		positions:         map[string]string{},
		generated:         map[string]int{},
		userNames:         map[string]bool{},
		origins:           map[*graph.Node]*origin{},
		sinkPartitionings: map[string][]*Partitioning{},
		changesKey:        map[*graph.Node]bool{},
		makesWindows:      map[*graph.Node]bool{},
		sharedTopics:      map[*Node]repartitioned{},
		wantsNoKey:        map[*Node]bool{},
		usedRefs:          map[string]*spec.Store{},
	}
	errs := slices.Clone(b.errs)
	for _, n := range b.nodes {
		compiler.failed[n] = n.invalid
		if n.name != "" {
			compiler.userNames[n.name] = true
		}
	}
	// Nodes are in the order of the calls, so inputs come before their users. Backwards, one pass
	// carries the wish for records without a key through any number of steps.
	for _, n := range slices.Backward(b.nodes) {
		for _, in := range n.inputs {
			if in.Node != nil && (n.JoinsNoKey || compiler.wantsNoKey[n]) {
				compiler.wantsNoKey[in.Node] = true
			}
		}
	}
	// Requirements first: whether a table has a store decides what a filter before it emits, so no
	// node may be added to the graph before all have spoken.
	for _, n := range b.nodes {
		if n.Require != nil && !slices.ContainsFunc(n.inputs, func(in Out) bool { return in.Node == nil }) {
			n.Require()
		}
	}
	for _, n := range b.nodes {
		if compiler.failed[n] || slices.ContainsFunc(n.inputs,
			func(in Out) bool { return in.Node == nil || compiler.failed[in.Node] }) {
			// A node with a failed input is left out silently: its mistake is the input's, and that
			// one is reported.
			compiler.failed[n] = true
			continue
		}
		compiler.current = n
		if err := n.AddToGraph(compiler); err != nil {
			compiler.failed[n] = true
			errs = append(errs, splitErrors(n, err)...)
		}
	}
	// What follows looks at the whole graph, which has gaps if a node has failed.
	if len(errs) == 0 {
		errs = compiler.resolvePartitionings()
	}
	if len(errs) == 0 {
		if b.MergeRepartitions {
			compiler.mergeRepartitions()
		}
		errs = compiler.finish()
	}
	if errs = append(orphaned, errs...); len(errs) > 0 {
		return nil, b.inOrder(errs)
	}
	return compiler.graph, nil
}

// inOrder sorts mistakes by the order of the calls and removes duplicates: two steps may miss the
// same serde.
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

// AddError records a mistake that belongs to no step, at the position of the call.
func (b *Builder) AddError(op string, err error) {
	b.errs = append(b.errs, &topology.Error{Op: op, Pos: position(), Err: err})
}

func buildError(text string) *topology.Error {
	return &topology.Error{Op: "stream.Builder.Build", Err: errors.New(text)}
}

// splitErrors returns the single mistakes of an error of AddToGraph: those joined by errors.Join,
// and those that name their step already.
func splitErrors(n *Node, err error) topology.Errors {
	if single, ok := err.(*topology.Error); ok {
		return topology.Errors{single}
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out topology.Errors
		for _, e := range many.Unwrap() {
			out = append(out, splitErrors(n, e)...)
		}
		return out
	}
	return topology.Errors{n.err(err)}
}

// AddNode adds a node to the graph under name, or under a generated one if name is empty, and
// connects it to its parents. It fails if another step has the name.
func (c *Compiler) AddNode(name string, graphNode *graph.Node, parents ...Out) error {
	if name == "" {
		name = c.generateName(c.current.Kind)
	}
	if err := c.ReserveName(name); err != nil {
		return err
	}
	graphNode.Name, graphNode.Pos, graphNode.Policy = name, c.current.pos, c.current.policy
	if graphNode.Op == "" {
		graphNode.Op = c.current.Kind
	}
	// A parent is a port: a node with several outputs is the parent of children that see different
	// records.
	for _, p := range parents {
		from, ok := c.ports[p]
		if !ok {
			return fmt.Errorf("internal: output %d of %s was not made", p.Port, p.Node.Op)
		}
		from.port.Children = append(from.port.Children, graphNode)
		graphNode.Parents = append(graphNode.Parents, from.node)
	}
	c.graph.Nodes = append(c.graph.Nodes, graphNode)
	// What the co-partitioning needs to know of this node, once all nodes are there.
	c.changesKey[graphNode] = c.current.ChangesKey || c.current.AssumesPartitioned
	c.makesWindows[graphNode] = c.current.Table != nil && c.current.Table.Windowed
	return nil
}

// ReserveName reserves a name for the current call. It fails if another step has it.
func (c *Compiler) ReserveName(name string) error {
	if other, ok := c.positions[name]; ok {
		return fmt.Errorf("name %q is in use by the step at %s", name, other)
	}
	c.positions[name] = c.current.pos
	return nil
}

// generateName makes a name of a kind. Generated names appear in descriptions only: they change
// when a step is inserted, so no topic and no store is named after one.
func (c *Compiler) generateName(kind string) string {
	for {
		c.generated[kind]++
		name := fmt.Sprintf("%s-%d", kind, c.generated[kind])
		if _, taken := c.positions[name]; !taken && !c.userNames[name] {
			return name
		}
	}
}

// SetOutput makes output i of the current call the records of K and V of a graph node.
func SetOutput[K, V any](c *Compiler, i int, g *graph.Node, name string) {
	c.ports[Out{c.current, i}] = addPort[K, V](g, name)
}

func addPort[K, V any](g *graph.Node, name string) outputPort {
	p := &graph.Port{Name: name, Broadcast: wire.Broadcast[K, V], WrapMiddleware: wire.WrapMiddleware[K, V]}
	g.Ports = append(g.Ports, p)
	return outputPort{g, p}
}

// SetTableOutput is SetOutput for changes.
func SetTableOutput[K, V any](c *Compiler, i int, g *graph.Node, name string) {
	c.ports[Out{c.current, i}] = addTablePort[K, V](g, name)
}

func addTablePort[K, V any](g *graph.Node, name string) outputPort {
	p := &graph.Port{Name: name, Broadcast: wire.BroadcastTable[K, V], WrapMiddleware: wire.WrapTableMiddleware[K, V]}
	g.Ports = append(g.Ports, p)
	return outputPort{g, p}
}

// AddInnerTable adds an output of changes to g, a node made within the current call, and returns
// it. No handle has it: it is for further nodes of the same call.
func AddInnerTable[K, V any](c *Compiler, g *graph.Node) Out {
	return c.innerOutput(addTablePort[K, V](g, ""))
}

// Alias makes output i of the current call another output: the call adds no step.
func (c *Compiler) Alias(i int, of Out) { c.ports[Out{c.current, i}] = c.ports[of] }

// NameOutput names the graph node's output that o is.
func (c *Compiler) NameOutput(o Out, name string) error {
	if err := c.ReserveName(name); err != nil {
		return err
	}
	c.ports[o].port.Name = name
	return nil
}

// innerOutput returns an Out for a port made within the current call. No handle has it.
func (c *Compiler) innerOutput(p outputPort) Out {
	o := Out{Node: &Node{Op: c.current.Op, pos: c.current.pos}}
	c.ports[o] = p
	return o
}

// RegisterStore adds a store. It fails if its name is in use.
func (c *Compiler) RegisterStore(graphStore *graph.Store) error {
	if err := CheckName(graphStore.Name); err != nil {
		return err
	}
	if other := c.graph.Store(graphStore.Name); other != nil {
		return fmt.Errorf("store %q exists: made at %s", graphStore.Name, other.Pos)
	}
	graphStore.Pos = c.current.pos
	c.graph.Stores = append(c.graph.Stores, graphStore)
	return nil
}

// FindStore returns the store of that name, nil when there is none.
func (c *Compiler) FindStore(name string) *graph.Store { return c.graph.Store(name) }
