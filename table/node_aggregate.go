package table

import (
	"time"

	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

// foldFunc folds a record into the row of its key: operator.Fold.Record for streams, and
// operator.FoldRows.Change for groups of rows.
type foldFunc[K, V, A any] func(key K, v V, ms int64) (operator.FoldResult[A], error)

// aggregateNode makes the node of an aggregation of a stream. start and add are those of
// operator.Fold.
func aggregateNode[K, V, A any](
	g stream.Grouped[K, V], opname, kind, name string, opts []store.Option, start func() A, add func(K, V, A, bool) A,
) *plan.Node {
	in := plan.Grouped[K, V](g).Handle()
	node := foldNode(in.Out(), opname, kind, name, opts,
		func(c *plan.Compiler) (plan.Out, error) { return plan.Partitioned(c, in, name) },
		func(rows *operator.Rows[K, A], t *plan.Table) foldFunc[K, V, A] {
			fold := &operator.Fold[K, V, A]{Rows: rows, Start: start, Add: add, Old: t.OldValues}
			fold.Delete, _ = t.DeleteWhen.(func(K, A) bool)
			return fold.Record
		})
	if node != nil {
		node.KeyChanged = false
	}
	return node
}

// foldNode makes the node of an aggregation of the call in. partitioned returns the output whose
// records are in the partition of their group. newFold makes the algorithm of one task.
func foldNode[K, V, A any](
	in plan.Out, opname, kind, name string, opts []store.Option,
	partitioned func(*plan.Compiler) (plan.Out, error), newFold func(*operator.Rows[K, A], *plan.Table) foldFunc[K, V, A],
) *plan.Node {
	node, settings := storedNode[K, A](nil, opname, kind, name, opts, untilCommitOptions, in)
	if node == nil {
		return nil
	}
	planTable := node.Table
	planTable.CanDeleteWhen = true
	node.AddToGraph = func(compiler *plan.Compiler) error {
		from, err := partitioned(compiler)
		if err != nil {
			return err
		}
		stores, rowSerdes, err := declareStore[K, A](compiler, node, settings)
		if err != nil {
			return err
		}
		graphNode := &graph.Node{Stores: stores, Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			rows, err := openRows(env, planTable.Store, rowSerdes, wire.NewSite(node, env).Stores(planTable.Store))
			if err != nil {
				return nil, err
			}
			// planTable is read here, in the task, and not above: DeleteWhen may be called, and old values
			// may be required, after the call that made this node.
			out, err := holdUntilCommit(env, node, settings, planTable.Store, rowSerdes, planTable.OldValues,
				rows.Get, outs[0].(wire.TableOutlet[K, A]))
			return foldInlet(rows, newFold(rows, planTable), node, env, settings.UntilCommit, out), err
		}}
		if err := compiler.AddNode(name, graphNode, from); err != nil {
			return err
		}
		plan.SetTableOutput[K, A](compiler, 0, graphNode, "")
		return nil
	}
	return node.InheritKeySerde(0)
}

// foldInlet makes the inlet of an aggregation.
func foldInlet[K, V, A any](
	rows *operator.Rows[K, A], fold foldFunc[K, V, A], node *graph.Node, env graph.Env, untilCommit bool,
	out wire.TableOutlet[K, A],
) wire.Outlet[K, V] {
	site := wire.NewSite(node, env)
	return func(record topology.Record[K, V]) error {
		site.Enter()
		// Streams have such records. The topic of a group of rows has them only if another program wrote
		// to it.
		switch {
		case record.NoKey:
			site.Drop(graph.NoKey)
			return nil
		case record.Tombstone:
			site.Drop(graph.NoValue)
			return nil
		}
		rows.SetHeaders(record.Headers) // the store of a table with KeepHeaders writes them with the row
		result, err := fold(record.Key, record.Value, record.Time.UnixMilli())
		if err != nil {
			return retry.IgnoreSkipped(err)
		}
		return out(foldChange(record, result, untilCommit))
	}
}

// foldChange returns the change that r has made of a row. untilCommit is true if the change goes to
// the buffer of holdUntilCommit.
func foldChange[K, V, A any](
	r topology.Record[K, V], result operator.FoldResult[A], untilCommit bool,
) wire.Change[K, A] {
	change := wire.Change[K, A]{Record: topology.WithValue(r, result.New), Old: result.Old, HasOld: result.HasOld}
	change.Tombstone = result.Deleted
	if untilCommit {
		// The buffer must know whether the row existed, even where nobody requires old values: a row that
		// is created and deleted between two commits is not sent at all.
		change.HasOld = result.Existed
	}
	// A row has the greatest time of its records. A tombstone that waits for the commit keeps
	// the time of its record, as in Kafka Streams.
	if !untilCommit || !result.Deleted {
		change.Time = time.UnixMilli(result.Time)
	}
	return change
}
