// Package plan turns the calls of the DSL into a graph.
//
// A call makes a Node and a handle to it. Names, serdes and repartition topics are decided in
// Build, when the whole program is known. Each node remembers the position of its call for error
// messages.
//
// Build passes over the nodes twice, in the order of the calls. First each node requires what it
// needs of the nodes before it: old values, or rows to read (Require). Nodes without a store pass
// the requirement on to their inputs. Then each node adds its part to the graph (AddToGraph). The
// order of the calls matters, as in Kafka Streams: a filter emits less when a step made before it
// has had its table stored.
package plan

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// Builder collects the calls of one program. It is not safe for concurrent use.
type Builder struct {
	Registry *serde.Registry
	// MergeRepartitions has steps that need the same records with changed keys share one
	// repartition topic.
	MergeRepartitions bool
	// Middleware wraps the steps; the first is the outermost.
	Middleware []topology.Middleware

	nodes []*Node
	errs  topology.Errors
}

// Node is one call of the DSL.
type Node struct {
	Op   string // the function called: "stream.Filter"
	Kind string // for generated names: "filter"

	// KeyChanged reports that records may lie in another partition than their key's. Steps
	// downstream inherit it, up to a repartition topic.
	KeyChanged bool
	// ChangesKey reports that this node itself may have changed keys.
	ChangesKey bool
	// JoinsNoKey reports that records without a key have results here: left and outer joins of
	// streams.
	JoinsNoKey bool
	// AssumesPartitioned reports that the program guarantees records to lie in their key's
	// partition, whatever topics they come from.
	AssumesPartitioned bool
	// PassThrough reports that the node passes records of its one input on unchanged: all, or some
	// of them.
	PassThrough bool
	// Require asks the nodes before this one for what it needs (Table.RequireOldValues,
	// RequireRows). May be nil. It is not called when an input is the zero handle.
	Require func()
	// AddToGraph makes the node's part of the graph. All inputs have made theirs.
	AddToGraph func(c *Compiler) error
	// CanFail reports that a function of the node can return an error, or that a record it makes
	// may not be writable: OnError applies.
	CanFail bool
	// Table is set for tables.
	Table *Table
	// Outputs are the names of the outputs after the first, with the types of their records, for Side.
	Outputs []Output

	builder                      *Builder
	pos                          string
	name                         string // given, by position or Named
	inputs                       []Out
	keyType, valueType           reflect.Type
	keySerde, valueSerde         any // serde.Serde of the types, given by the topic or WithSerdes
	keySerdeFrom, valueSerdeFrom *Node
	policy                       failure.Policy
	nameFixed                    bool // the name is an argument of the call: Named is an error
	invalid                      bool // a mistake of the call was recorded: it adds nothing to the graph
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

// New makes the node of a call whose result has keys K and values V. inputs are the handles that
// the call was given. The node belongs to b, or else to the builder of the first input that is not
// zero.
//
// It returns nil when there is no builder: the call was made on zero handles only, or on a nil
// builder. The next Build reports such a call.
func New[K, V any](builder *Builder, op, kind string, inputs ...Out) *Node {
	node := &Node{
		Op: op, Kind: kind, builder: builder, pos: position(), inputs: inputs,
		keyType: reflect.TypeFor[K](), valueType: reflect.TypeFor[V](),
	}
	for _, in := range inputs {
		switch {
		case in.Node == nil:
		case node.builder == nil:
			node.builder = in.Node.builder
		// Two builders make two programs. A node of one in the other would lack the steps before
		// it.
		case node.builder != in.Node.builder:
			node.Errorf("an input belongs to another builder than the first; use one stream.Builder for a program")
		}
		if in.Node != nil && in.Node.KeyChanged {
			node.KeyChanged = true
		}
	}
	// No builder will ever see this node: the call is recorded for the next Build of the process.
	if node.builder == nil {
		node.recordOrphan()
		return nil
	}
	if slices.ContainsFunc(inputs, func(in Out) bool { return in.Node == nil }) {
		node.Errorf(zeroHandle)
	}
	node.builder.nodes = append(node.builder.nodes, node)
	return node
}

// Result returns the handle of n's first output; the zero handle when n is nil.
func Result[K, V any](n *Node) Handle[K, V] { return Handle[K, V]{Out{Node: n}} }

// Errorf records a mistake of the call.
func (n *Node) Errorf(format string, args ...any) { n.AddError(fmt.Errorf(format, args...)) }

// AddError records the mistakes of a call: several when err was made by errors.Join, none when it
// is nil.
func (n *Node) AddError(err error) {
	if n == nil || n.builder == nil || err == nil {
		return
	}
	n.invalid = true
	n.builder.errs = append(n.builder.errs, splitErrors(n, err)...)
}

// CheckFuncs records a mistake if one of fs, the user's functions, is nil.
func (n *Node) CheckFuncs(fs ...any) *Node {
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

// Position returns where the call was.
func (n *Node) Position() string { return n.pos }

// Name returns the name given by the user, empty when there is none.
func (n *Node) Name() string { return n.name }

// Input returns the i-th input.
func (n *Node) Input(i int) Out { return n.inputs[i] }

// SetPolicy is the OnError method of handles.
func (n *Node) SetPolicy(p failure.Policy) {
	if n == nil {
		return
	}
	if !n.CanFail && len(n.builder.Middleware) == 0 {
		n.Errorf("nothing can fail in it: OnError is for steps whose function returns an error, for new records " +
			"and for sinks")
	}
	if err := p.Validate(); err != nil {
		n.Errorf("OnError: %w", err)
	}
	n.policy = p
}
