// Package plan turns the calls of the DSL into a graph. A call makes a Node and a handle to it; names, serdes and whether a
// repartition topic is needed are decided in Build, when everything is known, with the place of the call kept for its errors.
//
// Build passes over the nodes twice, in the order of the calls: first each says what it demands of those before it, which pass it on
// to those before them (Demand: old values, rows to read), then each makes its part of the graph (Emit). The order is that in
// which Kafka Streams decides: a filter emits less when its table is kept in a store by what came before the filter.
package plan

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// Builder collects the calls of one program. Not for use by several goroutines.
type Builder struct {
	Registry *serde.Registry
	// MergeRepartitions has steps that need the same records of changed keys share one repartition topic.
	MergeRepartitions bool
	// Middleware goes around the steps, the first outermost.
	Middleware []topology.Middleware

	nodes []*Node
	errs  topology.Errors
}

// Node is one call of the DSL.
type Node struct {
	Op   string // the function called: "stream.Filter"
	Kind string // for generated names: "filter"

	// KeyChanged says that records may lie in another partition than their key's; it sticks until a repartition.
	KeyChanged bool
	// Rekeys says that the node itself is what may have changed keys.
	Rekeys bool
	// Passes says that the node passes records of its one input on as they are: all, or some of them.
	Passes bool
	// Demand says what the node needs of those before it (Table.AskOld, AskRows). May be nil. It is not called when an input is zero.
	Demand func()
	// Emit makes the node's part of the graph. It is called when all inputs have made theirs.
	Emit func(c *Compile) error
	// CanFail says that a function of the node can return an error, or a record it makes cannot be written: OnError applies.
	CanFail bool
	// Table is set for tables.
	Table *Table
	// Outputs are the names of the outputs after the first, with the types of their records, for Side.
	Outputs []Output

	b                  *Builder
	pos                string
	name               string // given, by position or Named
	inputs             []Out
	keyType, valueType reflect.Type
	key, value         any // serde.Serde of the types, given by the topic or WithSerdes
	keyFrom, valueFrom *Node
	policy             failure.Policy
	settled            bool // name fixed by position: Named is an error
	bad                bool // a mistake of the call is recorded: it makes no part of the graph
}

// Output describes an output of a node beside its first.
type Output struct {
	Name string
	Type reflect.Type // of the typed output that it was declared with
}

// Out is one output of a node.
type Out struct {
	Node *Node
	Port int
}

// Handle is a typed output of a node: what the DSL's types hold.
type Handle[K, V any] struct{ out Out }

// The handles of the DSL. Their fields have different names, so that handles of one kind cannot be converted into another kind
// outside this module: with equal fields, table.KTable[string, int64](grouped) would compile.
type (
	Stream[K, V any]  struct{ stream Handle[K, V] }
	Grouped[K, V any] struct{ grouped Handle[K, V] }
	KTable[K, V any]  struct{ table Handle[K, V] }
	Global[K, V any]  struct{ global Handle[K, V] }
	Step              struct{ step *Node }
)

// NewStream makes the handle of a stream.
func NewStream[K, V any](h Handle[K, V]) Stream[K, V] { return Stream[K, V]{h} }

// NewGrouped makes the handle of a grouped stream.
func NewGrouped[K, V any](h Handle[K, V]) Grouped[K, V] { return Grouped[K, V]{h} }

// NewKTable makes the handle of a table.
func NewKTable[K, V any](h Handle[K, V]) KTable[K, V] { return KTable[K, V]{h} }

// NewGlobal makes the handle of a global table.
func NewGlobal[K, V any](h Handle[K, V]) Global[K, V] { return Global[K, V]{h} }

// NewStep makes the handle of a step that ends a stream.
func NewStep(n *Node) Step { return Step{n} }

// Handle returns what the handle holds.
func (s Stream[K, V]) Handle() Handle[K, V] { return s.stream }

// Handle returns what the handle holds.
func (g Grouped[K, V]) Handle() Handle[K, V] { return g.grouped }

// Handle returns what the handle holds.
func (t KTable[K, V]) Handle() Handle[K, V] { return t.table }

// Handle returns what the handle holds.
func (g Global[K, V]) Handle() Handle[K, V] { return g.global }

// Node returns the step.
func (s Step) Node() *Node { return s.step }

// Node returns the handle's node, nil for a zero handle.
func (h Handle[K, V]) Node() *Node { return h.out.Node }

// Out returns the handle's output.
func (h Handle[K, V]) Out() Out { return h.out }

// Port returns a handle of another output of the same node, with the types of that output.
func Port[K, V any](n *Node, port int) Handle[K, V] { return Handle[K, V]{Out{n, port}} }

// New makes the node of a call whose result has keys K and values V. inputs are what the call was given; the first that is not
// zero says which builder it belongs to, unless b does. It returns nil when no builder can be found: the call was made on zero handles
// only, or on a nil builder. All that follows from it is nothing, and the next Build reports the call.
func New[K, V any](b *Builder, op, kind string, inputs ...Out) *Node {
	n := &Node{Op: op, Kind: kind, b: b, pos: position(), inputs: inputs, keyType: reflect.TypeFor[K](), valueType: reflect.TypeFor[V]()}
	for _, in := range inputs {
		switch {
		case in.Node == nil:
		case n.b == nil:
			n.b = in.Node.b
		case n.b != in.Node.b:
			n.Errorf("an input belongs to another builder than the first; use one stream.Builder for a program")
		}
		if in.Node != nil && in.Node.KeyChanged {
			n.KeyChanged = true
		}
	}
	if n.b == nil {
		n.lose()
		return nil
	}
	if slices.ContainsFunc(inputs, func(in Out) bool { return in.Node == nil }) {
		n.Errorf(zeroHandle)
	}
	n.b.nodes = append(n.b.nodes, n)
	return n
}

// Result returns the handle of n's first output; the zero handle when n is nil.
func Result[K, V any](n *Node) Handle[K, V] { return Handle[K, V]{Out{Node: n}} }

// Errorf records a mistake of the call.
func (n *Node) Errorf(format string, args ...any) { n.Mistake(fmt.Errorf(format, args...)) }

// Mistake records mistakes of the call: several when err is made by errors.Join, none when it is nil.
func (n *Node) Mistake(err error) {
	if n == nil || n.b == nil || err == nil {
		return
	}
	n.bad = true
	n.b.errs = append(n.b.errs, split(n, err)...)
}

// Funcs records a mistake where one of fs, the user's functions, is nil.
func (n *Node) Funcs(fs ...any) *Node {
	if n == nil {
		return nil
	}
	for i, f := range fs {
		if v := reflect.ValueOf(f); v.IsValid() && !v.IsNil() {
			continue
		}
		if len(fs) == 1 {
			n.Errorf("its function is nil")
		} else {
			n.Errorf("its function %d of %d is nil", i+1, len(fs))
		}
	}
	return n
}

func (n *Node) err(err error) *topology.Error {
	return &topology.Error{Op: n.Op, Name: n.name, Pos: n.pos, Err: err}
}

// Position is the place of the call.
func (n *Node) Position() string { return n.pos }

// Name is the name given, empty when there is none.
func (n *Node) Name() string { return n.name }

// Input returns the i-th input.
func (n *Node) Input(i int) Out { return n.inputs[i] }

// SetPolicy is the OnError method of handles.
func (n *Node) SetPolicy(p failure.Policy) {
	if n == nil {
		return
	}
	if !n.CanFail && len(n.b.Middleware) == 0 {
		n.Errorf("nothing can fail in it: OnError is for steps whose function returns an error, for records that are made and for sinks")
	}
	if err := p.Validate(); err != nil {
		n.Errorf("OnError: %w", err)
	}
	n.policy = p
}
