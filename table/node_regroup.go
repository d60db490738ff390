package table

import (
	"github.com/millstream-go/millstream/internal/dsl/kswire"
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/store"
)

// aggregateRowsNode makes the node of an aggregation of groups of rows. Start, Add and Remove of
// functions are set; each task has a copy with its own rows.
func aggregateRowsNode[K, V, A any](
	g Grouped[K, V], opname, kind, name string, opts []store.Option, functions operator.FoldRows[K, V, A],
) *plan.Node {
	in := plan.TableGroups[K, V](g).Handle()
	return foldNode(in.Out(), opname, kind, name, opts,
		func(c *plan.Compiler) (plan.Out, error) { return plan.Regrouped(c, in, name) },
		func(rows *operator.Rows[K, A], t *plan.Table) foldFunc[K, kswire.Change[V], A] {
			fold := functions
			fold.Rows, fold.Old = rows, t.OldValues
			fold.Delete, _ = t.DeleteWhen.(func(K, A) bool)
			return fold.Change
		})
}
