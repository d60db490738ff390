package stream

import (
	"reflect"
	"slices"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/processor"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
)

// Output is an additional output of a processor, with types of its own. It is a value, made once
// and often kept in a package variable. The processor lists it in what it uses and opens it in its
// constructor; Side returns the stream of its records.
type Output[K, V any] struct {
	name  string
	key   serde.Serde[K]
	value serde.Serde[V]
}

// NewOutput returns an output of that name. Its serdes are for the steps that follow; a nil serde
// is found by type.
//
//	alerts := stream.NewOutput("alerts", serde.String, serde.JSON[Alert]())
func NewOutput[K, V any](name string, k serde.Serde[K], v serde.Serde[V]) Output[K, V] {
	return Output[K, V]{name, k, v}
}

// DependencyName returns the output's name.
func (o Output[K, V]) DependencyName() string { return o.name }

// Outputs opens the outputs of a processor. Context and ValueContext implement it.
type Outputs interface {
	OpenOutput(name string, assign func(send any) bool)
}

// In returns the function that sends records to o. Call it in the constructor of a processor that
// lists o in what it uses; if the processor does not list it, the App stops at its start. A record
// with the zero Time gets the time of the record being processed.
func (o Output[K, V]) In(c Outputs) (send func(Record[K, V])) {
	c.OpenOutput(o.name, func(opened any) (ok bool) {
		send, ok = opened.(func(Record[K, V]))
		return ok
	})
	if send == nil {
		return func(Record[K, V]) {} // the task has failed
	}
	return send
}

// Side returns the records that the processor of s sends to o. s is what Process or ProcessValues
// returned.
//
//	big := stream.Side(watched, bigOutput)
func Side[K, V, K2, V2 any](s KStream[K, V], o Output[K2, V2]) KStream[K2, V2] {
	processor := handle(s).Node()
	node := plan.New[K2, V2](nil, "stream.Side", "side", handle(s).Out())
	if node == nil {
		return KStream[K2, V2]{}
	}
	node.KeyChanged, node.ChangesKey = true, true
	setSerdes(node, o.key, o.value)
	// Output 0 of the processor is its main one. The type is part of the comparison: another Output of
	// the same name with other types must not be taken for this one.
	i := slices.Index(processor.Outputs, o.describe())
	if i < 0 {
		node.Errorf("the step at %s has no output %q of these types; list it in what stream.Process uses",
			processor.Position(), o.name)
	}
	node.AddToGraph = func(c *plan.Compiler) error {
		out := plan.Port[K2, V2](processor, i+1).Out()
		c.Alias(0, out)
		if node.Name() != "" {
			return c.NameOutput(out, node.Name())
		}
		return nil
	}
	return result[K2, V2](node)
}

func (o Output[K, V]) describe() plan.Output {
	return plan.Output{Name: o.name, Type: reflect.TypeFor[Output[K, V]]()}
}

func (o Output[K, V]) addTo(compiler *plan.Compiler, port int, graphNode *graph.Node) {
	plan.SetOutput[K, V](compiler, port, graphNode, o.name)
}

func (o Output[K, V]) open(task *processor.Task, out any) {
	task.AddOutput(o.name, wire.Forwarder(task, out.(wire.Outlet[K, V])))
}

// output is an Output of any types.
type output interface {
	store.Dependency
	describe() plan.Output
	addTo(c *plan.Compiler, i int, g *graph.Node)
	open(task *processor.Task, out any)
}

// declareOutputs returns the outputs among what a processor uses, and reports invalid ones.
func declareOutputs(node *plan.Node, uses []store.Dependency) []output {
	var outputs []output
	for i, use := range uses {
		out, ok := use.(output)
		_, isStore := use.(spec.Reference)
		switch {
		case isStore: // checked when it is made
		case !ok:
			node.Errorf("number %d of what it uses is a %T, which is neither a reference of package store nor an Output",
				i+1, use)
		case slices.ContainsFunc(outputs, func(other output) bool { return other.DependencyName() == out.DependencyName() }):
			node.Errorf("it has two outputs %q", out.DependencyName())
		default:
			if err := plan.CheckName(out.DependencyName()); err != nil {
				node.Errorf("output: %w", err)
			}
			outputs, node.Outputs = append(outputs, out), append(node.Outputs, out.describe())
		}
	}
	return outputs
}
