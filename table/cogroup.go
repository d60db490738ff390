package table

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// Cogrouped is one or several grouped streams, each with the function that adds its records to an aggregate that they share.
type Cogrouped[K, A any] struct{ parts []part[K, A] }

// part is one stream of a Cogrouped. Its values' type is known behind it only.
type part[K, A any] interface {
	node() *plan.Node
	input() plan.Out
	key() (serde.Serde[K], error)
	partitioned(c *plan.Compile, name string) (plan.Out, error)
	// folds and windowing wire the stream to the step that adds its records.
	folding(of *plan.Node, s storespec.Settings, with serdes[K, A], start func() A) wiring
	windowing(x *windowed[K, A], start func() A, merge func(K, A, A) A) wiring
}

type wiring = func(n *graph.Node, env graph.Env, outs []any) (any, error)

// Add is a grouped stream whose records f adds to an aggregate, to be put together with others by Cogroup.
//
//	c := table.Cogroup(
//		table.Add(carts, func(_ string, item Item, b Basket) Basket { return b.With(item) }),
//		table.Add(payments, func(_ string, p Payment, b Basket) Basket { return b.Paid(p) }))
//	baskets := table.AggregateCogroup(c, "baskets", table.Zero)
//
// f may change agg and return it, if aggregates are pointers, maps or slices: agg belongs to it. v may be shared with other steps.
func Add[K, V, A any](g stream.Grouped[K, V], f func(key K, v V, agg A) A) Cogrouped[K, A] {
	in := plan.Grouped[K, V](g).Handle()
	n := plan.New[K, A](nil, "table.Add", "cogroup", in.Out()).Funcs(f)
	if n == nil {
		return Cogrouped[K, A]{}
	}
	n.Emit = func(*plan.Compile) error { return nil } // the aggregation makes the steps
	return Cogrouped[K, A]{[]part[K, A]{&added[K, V, A]{n, in, f}}}
}

// Cogroup puts grouped streams together whose records are added to one aggregate for each key: AggregateCogroup and its like make it.
func Cogroup[K, A any](parts ...Cogrouped[K, A]) Cogrouped[K, A] {
	var all Cogrouped[K, A]
	for _, p := range parts {
		if len(p.parts) == 0 {
			all.parts = append(all.parts, absent[K, A]{})
		}
		all.parts = append(all.parts, p.parts...)
	}
	return all
}

func (c Cogrouped[K, A]) inputs() []plan.Out {
	if len(c.parts) == 0 {
		return []plan.Out{{}} // a zero handle, and reported as one
	}
	outs := make([]plan.Out, len(c.parts))
	for i, p := range c.parts {
		outs[i] = p.input()
	}
	return outs
}

// AggregateCogroup returns the table in which the records of all streams of c are folded into one value for each key, kept in a store of that
// name: the first is added to what zero returns, others to the row. A row's time is the greatest of its records' times. Every
// record changes its row and is sent on; records without a key or a value are dropped and counted. DeleteWhen says which rows are
// deleted.
//
// The topics of all streams must have the same number of partitions; that is checked at the start. A stream whose keys have changed
// goes through the topic <application>-<name>-repartition first, or one named by its grouping: where that holds of several, their groupings must
// have names.
//
// Options: InMemory, NoChangelog, TopicConfig, UntilCommit.
func AggregateCogroup[K, A any](c Cogrouped[K, A], name string, zero func() A, opts ...store.Option) KTable[K, A] {
	n, s := stored[K, A](nil, "table.AggregateCogroup", "cogroup", name, opts, heldOptions, c.inputs()...)
	if n == nil {
		return KTable[K, A]{}
	}
	n.KeyChanged, n.Table.Aggregates = false, true
	n.Emit = func(at *plan.Compile) error {
		from, err := c.partitioned(at, name)
		if err != nil {
			return err
		}
		stores, with, err := keep[K, A](at, n, s)
		if err != nil {
			return err
		}
		fold := func(i int) wiring { return c.parts[i].folding(n, s, with, zero) }
		return emitCogroup[K, A](at, n, stores, from, fold, func(g *graph.Node, env graph.Env, out any) (any, error) {
			rows, err := open(env, n.Table.Store, with)
			if err != nil {
				return nil, err
			}
			return held(env, g, s, n.Table.Store, with, n.Table.WantOld, rows.Get, out.(wire.TableOutlet[K, A]))
		})
	}
	return result[K, A](n.KeepKey(0).Funcs(zero))
}

// partitioned returns the outputs of all parts, each record in its key's partition.
func (c Cogrouped[K, A]) partitioned(at *plan.Compile, name string) ([]plan.Out, error) {
	from := make([]plan.Out, len(c.parts))
	unnamed := ""
	for i, p := range c.parts {
		if in := p.input().Node; in.KeyChanged && in.Name() == "" {
			if unnamed != "" {
				return nil, fmt.Errorf("the streams added at %s and at %s both go through a repartition topic; give their groupings names with Named", unnamed, p.node().Position())
			}
			unnamed = p.node().Position()
		}
		var err error
		if from[i], err = p.partitioned(at, name); err != nil {
			return nil, err
		}
	}
	at.Together(from...)
	return from, nil
}

// emitCogroup makes a step for each stream, which adds to the store they share, and one that puts their changes together, and holds them
// back if hold does. The steps have numbers in the order of the call: their stream times are kept under their names.
func emitCogroup[K, A any](c *plan.Compile, n *plan.Node, stores []string, from []plan.Out, wire func(i int) wiring, hold func(*graph.Node, graph.Env, any) (any, error)) error {
	outs := make([]plan.Out, len(from))
	for i := range from {
		g := &graph.Node{Stores: stores, Wire: wire(i)}
		if err := c.Add(fmt.Sprintf("%s-add-%d", n.Name(), i+1), g, from[i]); err != nil {
			return err
		}
		outs[i] = plan.InnerTable[K, A](c, g)
	}
	// What comes in goes out: the outlet is the inlet.
	g := &graph.Node{Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) { return hold(n, env, outs[0]) }}
	if err := c.Add(n.Name(), g, outs...); err != nil {
		return err
	}
	plan.GivesTable[K, A](c, 0, g, "")
	return nil
}

// added is a part.
type added[K, V, A any] struct {
	n  *plan.Node
	in plan.Handle[K, V]
	f  func(K, V, A) A
}

func (p *added[K, V, A]) node() *plan.Node             { return p.n }
func (p *added[K, V, A]) input() plan.Out              { return p.in.Out() }
func (p *added[K, V, A]) key() (serde.Serde[K], error) { return plan.KeySerde[K](p.in.Node()) }

func (p *added[K, V, A]) partitioned(c *plan.Compile, name string) (plan.Out, error) {
	return plan.Partitioned(c, p.in, name)
}

func (p *added[K, V, A]) folding(of *plan.Node, s storespec.Settings, with serdes[K, A], start func() A) wiring {
	return func(n *graph.Node, env graph.Env, outs []any) (any, error) {
		rows, err := open(env, of.Table.Store, with)
		if err != nil {
			return nil, err
		}
		f := &op.Fold[K, V, A]{Rows: rows, Start: start, Add: ignoringRow(p.f), Old: of.Table.WantOld}
		f.Delete, _ = of.Table.DeleteWhen.(func(K, A) bool)
		return foldInlet(f, n, env, of.Table.Store, s.UntilCommit, outs[0].(wire.TableOutlet[K, A])), nil
	}
}

func (p *added[K, V, A]) windowing(x *windowed[K, A], start func() A, merge func(K, A, A) A) wiring {
	return windowing(x, folds[K, V, A]{start: start, add: ignoringRow(p.f), merge: merge})
}

// absent is a zero Cogrouped among others: its zero input is reported as one.
type absent[K, A any] struct{ part[K, A] }

func (absent[K, A]) input() plan.Out { return plan.Out{} }
