package table

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/interchange"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// foldedRows makes the node of an aggregation of rows. fold says what op.FoldRows does: Start, Add and Remove.
func foldedRows[K, V, A any](g Grouped[K, V], opname, kind, name string, opts []store.Option, fold op.FoldRows[K, V, A]) *plan.Node {
	in := plan.TableGroups[K, V](g).Handle()
	n, s := stored[K, A](nil, opname, kind, name, opts, heldOptions, in.Out())
	if n == nil {
		return nil
	}
	t := n.Table
	t.Aggregates = true
	n.Emit = func(c *plan.Compile) error {
		from, err := plan.Regrouped(c, in, name)
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
			f := fold
			f.Rows, f.Delete, f.Old = rows, remove, t.WantOld
			out, err := held(env, n, s, t.Store, with, t.WantOld, rows.Get, outs[0].(wire.TableOutlet[K, A]))
			return foldRowsInlet(&f, n, env, t.Store, s.UntilCommit, out), err
		}}
		if err := c.Add(name, g, from); err != nil {
			return err
		}
		plan.GivesTable[K, A](c, 0, g, "")
		return nil
	}
	return n.KeepKey(0)
}

func foldRowsInlet[K, V, A any](f *op.FoldRows[K, V, A], n *graph.Node, env graph.Env, name string, hold bool, out wire.TableOutlet[K, A]) wire.Outlet[K, interchange.Change[V]] {
	place := graph.PlaceOf(env)
	return func(r topology.Record[K, interchange.Change[V]]) error {
		place.Node = n
		switch { // another program has written to the topic
		case r.NoKey:
			env.Drop(n, graph.NoKey)
			return nil
		case r.Tombstone:
			env.Drop(n, graph.NoValue)
			return nil
		}
		f.Rows.Keep(r.Headers)
		res, err := f.Change(r.Key, r.Value, r.Time.UnixMilli())
		if err != nil {
			return refused(env, n, name, err)
		}
		return out(foldedChange(r, res, hold))
	}
}
