package table

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// Cogrouped is one or several grouped streams, each with the function that adds its records to a
// shared aggregate.
type Cogrouped[K, A any] struct{ streams []cogroupInput[K, A] }

// cogroupInput is one stream of a Cogrouped. It hides the type of the stream's values.
type cogroupInput[K, A any] interface {
	node() *plan.Node
	out() plan.Out
	keySerde() (serde.Serde[K], error)
	partitioned(c *plan.Compiler, name string) (plan.Out, error)
	// folds and windowing wire the stream to the step that adds its records.
	aggregateWiring(of *plan.Node, s spec.StoreSettings, with serdes[K, A], start func() A) wiring
	windowedWiring(windows *windowedTable[K, A], zero func() A, merge func(K, A, A) A) wiring
}

type wiring = func(n *graph.Node, env graph.Env, outs []any) (any, error)

// Add pairs a grouped stream with the function that adds its records to an aggregate. Cogroup
// combines several of them.
//
//	c := table.Cogroup(
//		table.Add(carts, func(_ string, item Item, b Basket) Basket { return b.With(item) }),
//		table.Add(payments, func(_ string, p Payment, b Basket) Basket { return b.Paid(p) }))
//	baskets := table.AggregateCogroup(c, "baskets", table.Zero)
//
// f may change agg and return it if aggregates are pointers, maps or slices: nothing else refers to
// it. It must not change v, which other steps may share.
func Add[K, V, A any](g stream.Grouped[K, V], f func(key K, v V, agg A) A) Cogrouped[K, A] {
	in := plan.Grouped[K, V](g).Handle()
	node := plan.New[K, A](nil, "table.Add", "cogroup", in.Out()).CheckFuncs(f)
	if node == nil {
		return Cogrouped[K, A]{}
	}
	node.AddToGraph = func(*plan.Compiler) error { return nil } // the aggregation makes the steps
	return Cogrouped[K, A]{[]cogroupInput[K, A]{&typedInput[K, V, A]{node, in, f}}}
}

// Cogroup combines grouped streams whose records are added to one aggregate for each key.
// AggregateCogroup, AggregateCogroupWindows and AggregateCogroupSessions make the table.
func Cogroup[K, A any](parts ...Cogrouped[K, A]) Cogrouped[K, A] {
	var all Cogrouped[K, A]
	for _, part := range parts {
		if len(part.streams) == 0 {
			all.streams = append(all.streams, zeroInput[K, A]{})
		}
		all.streams = append(all.streams, part.streams...)
	}
	return all
}

func (c Cogrouped[K, A]) outs() []plan.Out {
	if len(c.streams) == 0 {
		return []plan.Out{{}} // a zero handle, and reported as one
	}
	outs := make([]plan.Out, len(c.streams))
	for i, input := range c.streams {
		outs[i] = input.out()
	}
	return outs
}

// AggregateCogroup returns a table with one value for each key, computed from the records of all
// streams of c. The first record is added to what zero returns, later ones to the row. The rows are
// in a store of the given name. The time of a row is the greatest time of its records. Every record
// changes its row, and every change is sent on. Records without a key or a value are dropped and
// counted. DeleteWhen deletes rows.
//
// The topics of all streams must have the same number of partitions; the start checks it. A stream
// whose keys have changed first goes through the topic <application>-<name>-repartition, or one
// named after its grouping. If that applies to several streams, their groupings must have names.
//
// Options: InMemory, NoChangelog, TopicConfig, UntilCommit.
func AggregateCogroup[K, A any](c Cogrouped[K, A], name string, zero func() A, opts ...store.Option) KTable[K, A] {
	node, settings := storedNode[K, A](nil, "table.AggregateCogroup", "cogroup", name, opts, untilCommitOptions,
		c.outs()...)
	if node == nil {
		return KTable[K, A]{}
	}
	node.KeyChanged, node.Table.CanDeleteWhen = false, true
	node.AddToGraph = func(compiler *plan.Compiler) error {
		from, err := c.partitioned(compiler, name)
		if err != nil {
			return err
		}
		stores, rowSerdes, err := declareStore[K, A](compiler, node, settings)
		if err != nil {
			return err
		}
		inputWiring := func(i int) wiring { return c.streams[i].aggregateWiring(node, settings, rowSerdes, zero) }
		return addCogroup[K, A](compiler, node, stores, from, inputWiring,
			func(graphNode *graph.Node, env graph.Env, out any) (any, error) {
				rows, err := openRows(env, node.Table.Store, rowSerdes, wire.Reads(env))
				if err != nil {
					return nil, err
				}
				return holdUntilCommit(env, graphNode, settings, node.Table.Store, rowSerdes, node.Table.OldValues, rows.Get,
					out.(wire.TableOutlet[K, A]))
			})
	}
	return result[K, A](node.InheritKeySerde(0).CheckFuncs(zero))
}

// partitioned returns the outputs of all streams, repartitioned where their keys have changed.
func (c Cogrouped[K, A]) partitioned(compiler *plan.Compiler, name string) ([]plan.Out, error) {
	from := make([]plan.Out, len(c.streams))
	first := ""
	for i, input := range c.streams {
		// Repartition topics are named after the grouping, or after the aggregation. Two streams cannot
		// both have the topic named after the aggregation.
		if in := input.out().Node; in.KeyChanged && in.Name() == "" {
			if first != "" {
				return nil, fmt.Errorf("the streams added at %s and at %s both go through a repartition topic; give their "+
					"groupings names with Named", first, input.node().Position())
			}
			first = input.node().Position()
		}
		var err error
		if from[i], err = input.partitioned(compiler, name); err != nil {
			return nil, err
		}
	}
	compiler.CoPartition(from...)
	return from, nil
}

// addCogroup adds a step for each stream, which adds records to the shared store, and a last step
// that merges their changes; holdBack makes the inlet of that one. The steps are numbered in the
// order of the streams. Each has a stream time of its own, which is committed under the name of the
// step: the names must not change between versions of a program.
func addCogroup[K, A any](
	compiler *plan.Compiler, node *plan.Node, stores []string, from []plan.Out, sideWiring func(i int) wiring,
	holdBack func(*graph.Node, graph.Env, any) (any, error),
) error {
	outs := make([]plan.Out, len(from))
	for i := range from {
		g := &graph.Node{Stores: stores, TracksTime: node.Table.Windowed, Wire: sideWiring(i)}
		if err := compiler.AddNode(fmt.Sprintf("%s-add-%d", node.Name(), i+1), g, from[i]); err != nil {
			return err
		}
		outs[i] = plan.AddInnerTable[K, A](compiler, g)
	}
	// The last step does nothing with changes: its inlet is its outlet, or the buffer of UntilCommit.
	g := &graph.Node{Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
		in, err := holdBack(node, env, outs[0])
		if err != nil {
			return nil, err
		}
		return wire.CountedTable(wire.NewSite(node, env), in.(wire.TableOutlet[K, A])), nil
	}}
	if err := compiler.AddNode(node.Name(), g, outs...); err != nil {
		return err
	}
	plan.SetTableOutput[K, A](compiler, 0, g, "")
	return nil
}

// typedInput is the cogroupInput of a stream with values of type V.
type typedInput[K, V, A any] struct {
	declared *plan.Node
	grouped  plan.Handle[K, V]
	add      func(K, V, A) A
}

func (p *typedInput[K, V, A]) node() *plan.Node { return p.declared }
func (p *typedInput[K, V, A]) out() plan.Out    { return p.grouped.Out() }
func (p *typedInput[K, V, A]) keySerde() (serde.Serde[K], error) {
	return plan.KeySerde[K](p.grouped.Node())
}

func (p *typedInput[K, V, A]) partitioned(c *plan.Compiler, name string) (plan.Out, error) {
	return plan.Partitioned(c, p.grouped, name)
}

func (p *typedInput[K, V, A]) aggregateWiring(
	tableNode *plan.Node, settings spec.StoreSettings, rowSerdes serdes[K, A], zero func() A,
) wiring {
	return func(node *graph.Node, env graph.Env, outs []any) (any, error) {
		rows, err := openRows(env, tableNode.Table.Store, rowSerdes, wire.NewSite(node, env).Stores(tableNode.Table.Store))
		if err != nil {
			return nil, err
		}
		fold := &operator.Fold[K, V, A]{Rows: rows, Start: zero, Add: ignoringRow(p.add), Old: tableNode.Table.OldValues}
		fold.Delete, _ = tableNode.Table.DeleteWhen.(func(K, A) bool)
		return foldInlet(rows, fold.Record, node, env, settings.UntilCommit, outs[0].(wire.TableOutlet[K, A])), nil
	}
}

func (p *typedInput[K, V, A]) windowedWiring(
	windows *windowedTable[K, A], zero func() A, merge func(K, A, A) A,
) wiring {
	return windowedWiring(windows, windowedFuncs[K, V, A]{zero: zero, add: ignoringRow(p.add), merge: merge})
}

// zeroInput stands for a zero Cogrouped among others. Its input is a zero handle, which Build
// reports.
type zeroInput[K, A any] struct{ cogroupInput[K, A] }

func (zeroInput[K, A]) out() plan.Out { return plan.Out{} }
