package table

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// emitSource emits the step that takes each record of in as the new state of its key's row: with the store if the table keeps one,
// else passing changes on without old values.
func emitSource[K, V any](c *plan.Compile, n *plan.Node, s storespec.Settings, in plan.Out) error {
	g := &graph.Node{}
	if err := upserts[K, V](c, n, s, g, func(env graph.Env, n *graph.Node, out wire.TableOutlet[K, V]) any {
		return wire.Outlet[K, V](func(r topology.Record[K, V]) error {
			if r.NoKey {
				env.Drop(n, graph.NoKey)
				return nil
			}
			return out(wire.Change[K, V]{Record: r})
		})
	}); err != nil {
		return err
	}
	if err := c.Add(n.Name(), g, in); err != nil {
		return err
	}
	plan.GivesTable[K, V](c, 0, g, "")
	return nil
}

// upserts has g keep changes in the store of n's table, if it has one, behind an inlet made by from.
func upserts[K, V any](c *plan.Compile, n *plan.Node, s storespec.Settings, g *graph.Node, from func(graph.Env, *graph.Node, wire.TableOutlet[K, V]) any) error {
	t := n.Table
	if !t.Keeps {
		g.Wire = func(n *graph.Node, env graph.Env, outs []any) (any, error) {
			return from(env, n, outs[0].(wire.TableOutlet[K, V])), nil
		}
		return nil
	}
	stores, with, err := keep[K, V](c, n, s)
	g.Stores = stores
	g.Wire = func(n *graph.Node, env graph.Env, outs []any) (any, error) {
		if t.Versioned {
			keep, err := versionInlet(env, n, t, with, outs[0].(wire.TableOutlet[K, V]))
			return from(env, n, keep), err
		}
		rows, err := open(env, t.Store, with)
		if err != nil {
			return nil, err
		}
		out, err := held(env, n, s, t.Store, with, t.WantOld, rows.Get, outs[0].(wire.TableOutlet[K, V]))
		if err != nil {
			return nil, err
		}
		u, place := &op.Upsert[K, V]{Rows: rows, Old: t.WantOld || s.UntilCommit, Filtered: t.Filtered}, graph.PlaceOf(env)
		return from(env, n, func(change wire.Change[K, V]) error {
			place.Node = n // serdes are the user's code
			rows.Keep(change.Headers)
			change, ok, err := u.Change(change)
			if err != nil {
				return refused(env, n, t.Store, err)
			}
			if !ok {
				return nil
			}
			return out(change)
		}), nil
	}
	return err
}
