package table

import (
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/topology"
)

// addSource adds the step that makes each record of in the new state of its key's row: in the
// table's store if it has one; otherwise the changes are passed on without old values.
func addSource[K, V any](compiler *plan.Compiler, node *plan.Node, s spec.StoreSettings, in plan.Out) error {
	graphNode := &graph.Node{}
	if err := wireUpserts[K, V](compiler, node, s, graphNode,
		func(env graph.Env, node *graph.Node, out wire.TableOutlet[K, V]) any {
			site := wire.NewSite(node, env)
			return wire.Outlet[K, V](func(record topology.Record[K, V]) error {
				site.Enter()
				if record.NoKey {
					env.Drop(node, graph.NoKey)
					return nil
				}
				return out(wire.Change[K, V]{Record: record})
			})
		}); err != nil {
		return err
	}
	if err := compiler.AddNode(node.Name(), graphNode, in); err != nil {
		return err
	}
	plan.SetTableOutput[K, V](compiler, 0, graphNode, "")
	return nil
}

// wireUpserts makes graphNode write changes to the store of the node's table, if it has one.
// newInlet makes the inlet before it, which counts the changes.
func wireUpserts[K, V any](
	compiler *plan.Compiler, node *plan.Node, settings spec.StoreSettings, graphNode *graph.Node,
	newInlet func(graph.Env, *graph.Node, wire.TableOutlet[K, V]) any,
) error {
	planTable := node.Table
	if !planTable.HasStore {
		graphNode.Wire = func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			return newInlet(env, node, outs[0].(wire.TableOutlet[K, V])), nil
		}
		return nil
	}
	stores, rowSerdes, err := declareStore[K, V](compiler, node, settings)
	graphNode.Stores = stores
	graphNode.Wire = func(node *graph.Node, env graph.Env, outs []any) (any, error) {
		if planTable.Versioned {
			versioned, err := versionInlet(env, node, planTable, rowSerdes, outs[0].(wire.TableOutlet[K, V]))
			return newInlet(env, node, versioned), err
		}
		rows, err := openRows(env, planTable.Store, rowSerdes, wire.NewSite(node, env).Stores(planTable.Store))
		if err != nil {
			return nil, err
		}
		out, err := holdUntilCommit(env, node, settings, planTable.Store, rowSerdes, planTable.OldValues, rows.Get,
			outs[0].(wire.TableOutlet[K, V]))
		if err != nil {
			return nil, err
		}
		// The buffer of UntilCommit starts from the value that was sent last, which is the old value of the
		// first change after a commit.
		upsert := &operator.Upsert[K, V]{Rows: rows, Old: planTable.OldValues || settings.UntilCommit,
			Filtered: planTable.Filtered}
		site := wire.NewSite(node, env)
		return newInlet(env, node, func(change wire.Change[K, V]) error {
			site.Resume() // serdes are the user's code
			rows.SetHeaders(change.Headers)
			change, ok, err := upsert.Change(change)
			if err != nil {
				return retry.IgnoreSkipped(err)
			}
			if !ok {
				return nil
			}
			return out(change)
		}), nil
	}
	return err
}
