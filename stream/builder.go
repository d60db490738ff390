// Package stream has the KStream, a stream of records partitioned by key, and every operator whose
// result is a stream.
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
// Plain functions (of keys and values) never see a tombstone and cannot make one: a tombstone
// passes them by where the key stays or is made from the key alone, and is dropped and counted
// where they would have to invent a key. For a record without a key they get the zero key.
// Functions of records see what is absent and may make it so.
package stream

import (
	"errors"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// Builder collects the steps of one program. Not for use by several goroutines.
type Builder plan.Program

// BuilderOption configures a Builder.
type BuilderOption func(*plan.Builder)

// Serdes sets the registry that finds serdes by type, for steps inside the program that neither a
// topic nor WithSerdes provides with serdes. Without it, only the basic types of package serde are
// found.
func Serdes(r *serde.Registry) BuilderOption { return func(b *plan.Builder) { b.Registry = r } }

// MergeRepartitions makes steps share one repartition topic where they need the same records:
// aggregations, joins and tables behind one step that changes keys, with only filters, Peek, Branch
// and Split between. The topic comes directly behind the step that changes keys; the steps between
// move behind the topic, with all that follows from them. Its name is that of its first user. Kafka
// Streams does the same when topology.optimization is "all" or "merge.repartition.topics".
//
// Records that have the same key where the topic is keep their order. Those of different keys are
// in different partitions, also when one record of an input has led to them: a step behind the topic
// that sets the same key for them again may process them in another order than it would without
// MergeRepartitions.
//
// Without it, every user has a repartition topic of its own, except that the aggregations of one
// grouping share one. Decide before the first deployment: changing it later changes the topics, and
// records still in the old ones are never read. Process all input before such a change, for example
// with RunToEnd.
func MergeRepartitions() BuilderOption { return func(b *plan.Builder) { b.MergeRepartitions = true } }

// NewBuilder returns a Builder.
func NewBuilder(opts ...BuilderOption) *Builder {
	program := &plan.Program{}
	b := program.Builder()
	for _, opt := range opts {
		if opt == nil {
			b.AddError("stream.NewBuilder", errors.New("an option is nil"))
			continue
		}
		opt(b)
	}
	if b.Registry == nil {
		b.Registry = &serde.Registry{}
	}
	return (*Builder)(program)
}

// Build returns the topology, or every mistake of the program as topology.Errors.
func (b *Builder) Build() (*topology.Topology, error) {
	g, err := (*plan.Program)(b).Builder().Build()
	if err != nil {
		return nil, err
	}
	return (*topology.Topology)(graph.NewHandle(g)), nil
}

type (
	// Context is what a processor of Process sees of its task: Forward, and the methods of
	// topology.Task, such as EveryStreamTime and EveryWallClock for timers.
	Context[K, V any] = topology.Context[K, V]
	// ValueContext is what a processor of ProcessValues sees of its task: Forward and ForwardAt, and
	// the methods of topology.Task.
	ValueContext[V any] = topology.ValueContext[V]
)
