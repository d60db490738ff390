// Package stream has the KStream, a stream of records partitioned by key, and every operator whose result is a stream.
//
// What adds a step is a function; methods only read, or configure the step that made the handle:
//
//	b := stream.NewBuilder()
//	big := stream.Filter(stream.From(b, orders), func(_ string, o Order) bool { return o.Cents > 10_000 })
//	stream.To(big, bigOrders)
//	top, err := b.Build()
//
// Nothing runs before Build, and Build returns every mistake at once, with the place of each call.
//
// Plain functions (of keys and values) never see a tombstone and cannot make one: a tombstone passes them by where the key stays or is
// made from the key alone, and is dropped and counted where they would have to invent a key. For a record without a key they get the
// zero key. Functions of records see what is absent and may make it so.
package stream

import (
	"errors"

	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// Builder collects the steps of one program. Not for use by several goroutines.
type Builder struct{ b plan.Builder }

// BuilderOption configures a Builder.
type BuilderOption func(*plan.Builder)

// Serdes says where serdes are found by type, for the steps inside the program: those that have neither a topic's serde nor one of
// WithSerdes. Without it the basic types of package serde are found.
func Serdes(r *serde.Registry) BuilderOption { return func(b *plan.Builder) { b.Registry = r } }

// MergeRepartitions has steps share one repartition topic where they need the same records: aggregations, joins and tables behind one
// step that changes keys, with nothing but filters, Peek, Branch and Split between. The topic comes right behind that step, what lay
// between comes behind the topic, and its name is that of the first use alone. Kafka Streams does this when topology.optimization is
// "all" or "merge.repartition.topics".
//
// Without it each use has a topic of its own, but for those of one grouping. It is a choice for the life of an application: to change it
// is to change topics, so records on their way through the old ones are not read any more. Let the application end its input first, as
// with RunToEnd.
func MergeRepartitions() BuilderOption { return func(b *plan.Builder) { b.MergeRepartitions = true } }

// NewBuilder returns a Builder.
func NewBuilder(opts ...BuilderOption) *Builder {
	b := &Builder{}
	for _, o := range opts {
		if o == nil {
			b.b.Mistake("stream.NewBuilder", errors.New("an option is nil"))
			continue
		}
		o(&b.b)
	}
	if b.b.Registry == nil {
		b.b.Registry = &serde.Registry{}
	}
	return b
}

// Build returns the topology, or every mistake of the program as topology.Errors.
func (b *Builder) Build() (*topology.Topology, error) {
	if b == nil {
		_, err := (*plan.Builder)(nil).Build()
		return nil, err
	}
	g, err := b.b.Build()
	if err != nil {
		return nil, err
	}
	return topology.New(g), nil
}

// Plan returns what b collects. For the packages of this module.
func (b *Builder) Plan() *plan.Builder {
	if b == nil {
		return nil
	}
	return &b.b
}

type (
	// Context is what a processor of Process sees of its task.
	Context[K, V any] = topology.Context[K, V]
	// ValueContext is what a processor of ProcessValues sees of its task.
	ValueContext[V any] = topology.ValueContext[V]
)
