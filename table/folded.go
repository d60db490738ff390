package table

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

// folded makes the node of an aggregation: start and add are those of op.Fold.
func folded[K, V, A any](g stream.Grouped[K, V], opname, kind, name string, opts []store.Option, start func() A, add func(K, V, A, bool) A) *plan.Node {
	in := plan.Grouped[K, V](g).Handle()
	n, s := stored[K, A](nil, opname, kind, name, opts, heldOptions, in.Out())
	if n == nil {
		return nil
	}
	n.KeyChanged = false
	t := n.Table
	t.Aggregates = true
	n.Emit = func(c *plan.Compile) error {
		from, err := plan.Partitioned(c, in, name)
		if err != nil {
			return err
		}
		stores, with, err := keep[K, A](c, n, s)
		if err != nil {
			return err
		}
		remove, _ := t.DeleteWhen.(func(K, A) bool)
		g := &graph.Node{Stores: stores, Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
			rows, err := open(env, t.Store, with)
			if err != nil {
				return nil, err
			}
			f := &op.Fold[K, V, A]{Rows: rows, Start: start, Add: add, Delete: remove, Old: t.WantOld}
			out, err := held(env, n, s, t.Store, with, t.WantOld, rows.Get, outs[0].(wire.TableOutlet[K, A]))
			return foldInlet(f, n, env, t.Store, s.UntilCommit, out), err
		}}
		if err := c.Add(name, g, from); err != nil {
			return err
		}
		plan.GivesTable[K, A](c, 0, g, "")
		return nil
	}
	return n.KeepKey(0)
}

func foldInlet[K, V, A any](f *op.Fold[K, V, A], n *graph.Node, env graph.Env, store string, hold bool, out wire.TableOutlet[K, A]) wire.Outlet[K, V] {
	place := graph.PlaceOf(env)
	return func(r topology.Record[K, V]) error {
		place.Node = n
		switch {
		case r.NoKey:
			env.Drop(n, graph.NoKey)
			return nil
		case r.Tombstone:
			env.Drop(n, graph.NoValue)
			return nil
		}
		f.Rows.Keep(r.Headers)
		res, err := f.Record(r.Key, r.Value, r.Time.UnixMilli())
		if err != nil {
			return refused(env, n, store, err)
		}
		return out(foldedChange(r, res, hold))
	}
}

// foldedChange is the change that r has made of a row; hold says that it is for held.
func foldedChange[K, V, A any](r topology.Record[K, V], res op.Folded[A], hold bool) wire.Change[K, A] {
	c := wire.Change[K, A]{Record: topology.WithValue(r, res.New), Old: res.Old, HasOld: res.HasOld}
	c.Tombstone = res.Gone
	if hold {
		c.HasOld = res.Row
	}
	if !hold || !res.Gone { // a deletion that was held back has the time of the record, as in Kafka Streams
		c.Time = time.UnixMilli(res.Time)
	}
	return c
}
