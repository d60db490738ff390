package stream

import (
	"reflect"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// Output is an output of a processor beside its main one, with types of its own. It is a value, made once, often as a package variable,
// listed in what the processor uses, and opened in its constructor; Side is the stream of its records.
type Output[K, V any] struct {
	name  string
	key   serde.Serde[K]
	value serde.Serde[V]
}

// NewOutput returns an output of that name. Its serdes are for the steps that follow; nil ones are found by type.
//
//	alerts := stream.NewOutput("alerts", serde.String, serde.JSON[Alert]())
func NewOutput[K, V any](name string, k serde.Serde[K], v serde.Serde[V]) Output[K, V] {
	return Output[K, V]{name, k, v}
}

// Dep returns the output's name.
func (o Output[K, V]) Dep() string { return o.name }

// Outputs opens the outputs of a processor. Context and ValueContext are ones.
type Outputs interface {
	OpenOutput(name string, take func(send any) bool)
}

// In returns what sends records to o, from the constructor of a processor that lists o in what it uses; where it does not, the App
// stops at its start. A zero Time is that of the record being processed.
func (o Output[K, V]) In(c Outputs) (send func(Record[K, V])) {
	c.OpenOutput(o.name, func(x any) (ok bool) {
		send, ok = x.(func(Record[K, V]))
		return ok
	})
	if send == nil {
		return func(Record[K, V]) {} // the task has failed
	}
	return send
}

// Side returns the records that the processor of s sends to o. s is what Process or ProcessValues returned.
//
//	big := stream.Side(watched, bigOutput)
func Side[K, V, K2, V2 any](s KStream[K, V], o Output[K2, V2]) KStream[K2, V2] {
	of := handle(s).Node()
	n := plan.New[K2, V2](nil, "stream.Side", "side", handle(s).Out())
	if n == nil {
		return KStream[K2, V2]{}
	}
	n.KeyChanged, n.Rekeys = true, true
	setSerdes(n, o.key, o.value)
	i := slices.Index(of.Outputs, o.describe())
	if i < 0 {
		n.Errorf("the step at %s has no output %q of these types; list it in what stream.Process uses", of.Position(), o.name)
	}
	n.Emit = func(c *plan.Compile) error {
		out := plan.Port[K2, V2](of, i+1).Out()
		c.Alias(0, out)
		if n.Name() != "" {
			return c.NameOutput(out, n.Name())
		}
		return nil
	}
	return result[K2, V2](n)
}

func (o Output[K, V]) describe() plan.Output {
	return plan.Output{Name: o.name, Type: reflect.TypeFor[Output[K, V]]()}
}

func (o Output[K, V]) give(c *plan.Compile, i int, g *graph.Node) { plan.Gives[K, V](c, i, g, o.name) }

func (o Output[K, V]) open(p *topology.Processor, out any) {
	p.AddOutput(o.name, topology.Sender(p, out.(wire.Outlet[K, V])))
}

// output is an Output of any types.
type output interface {
	store.Dep
	describe() plan.Output
	give(c *plan.Compile, i int, g *graph.Node)
	open(p *topology.Processor, out any)
}

// outputsOf returns the outputs among what a processor uses, and records what is wrong with them.
func outputsOf(n *plan.Node, uses []store.Dep) []output {
	var outputs []output
	for i, u := range uses {
		o, ok := u.(output)
		_, isStore := u.(interface{ Spec() *storespec.Spec })
		switch {
		case isStore: // checked when it is made
		case !ok:
			n.Errorf("number %d of what it uses is %T, neither a reference of package store nor an Output", i+1, u)
		case slices.ContainsFunc(outputs, func(x output) bool { return x.Dep() == o.Dep() }):
			n.Errorf("it has two outputs %q", o.Dep())
		default:
			if err := plan.CheckName(o.Dep()); err != nil {
				n.Errorf("output: %w", err)
			}
			outputs, n.Outputs = append(outputs, o), append(n.Outputs, o.describe())
		}
	}
	return outputs
}
