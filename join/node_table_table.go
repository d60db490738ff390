package join

import (
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/table"
)

// joinKind is how two tables are joined: which side's rows have results without a row on the other
// side, and by which function.
type joinKind[L, R, O any] struct {
	keepLeft, keepRight bool
	join                func(l L, left bool, r R, right bool) O
}

// tableTableNode makes the node of a join of two tables by key.
func tableTableNode[K, L, R, O any](
	left table.KTable[K, L], right table.KTable[K, R], opname string, kind joinKind[L, R, O], f any,
) table.KTable[K, O] {
	leftOut, rightOut := plan.KTable[K, L](left).Handle().Out(), plan.KTable[K, R](right).Handle().Out()
	node := plan.New[K, O](nil, opname, "table-join", leftOut, rightOut).CheckFuncs(f)
	if node == nil {
		return table.KTable[K, O]{}
	}
	node.CanFail = true
	j := &tableTable[K, L, R, O]{joinKind: kind, planTable: &plan.Table{}, leftOut: leftOut, rightOut: rightOut,
		selfJoin: leftOut == rightOut, related: plan.ShareUpstream(leftOut, rightOut)}
	node.Table = j.planTable
	node.Require = j.require
	node.AddToGraph = j.addToGraph
	node.InheritKeySerde(0)
	return table.KTable[K, O](plan.NewKTable(plan.Result[K, O](node)))
}

// tableTable is a join of two tables while the program is built: one step for the changes of each
// side, and one that both call.
type tableTable[K, L, R, O any] struct {
	joinKind[L, R, O]
	planTable         *plan.Table
	leftOut, rightOut plan.Out
	selfJoin, related bool
}

// require asks for the rows of both sides, and for old values where the join could not otherwise
// know that a row was deleted.
func (j *tableTable[K, L, R, O]) require() {
	left, right := plan.TableOf(j.leftOut), plan.TableOf(j.rightOut)
	left.RequireRows()
	right.RequireRows()
	// One record may change both sides if they have a common table upstream. If it deletes the rows of
	// both, the second deletion finds no row on the other side. Only the old values then tell that there
	// was a pair, whose tombstone must be sent.
	pairs := j.related && !j.keepLeft && !j.keepRight
	if j.keepLeft || pairs {
		left.RequireOldValues(true)
	}
	if j.keepRight || pairs {
		right.RequireOldValues(true)
	}
	j.planTable.RequireRows = func() {} // both sides have rows already, from which those of the result are computed
	j.planTable.RequireOldValues = func(bool) bool {
		left.RequireOldValues(true)
		right.RequireOldValues(true)
		j.planTable.OldValues = true
		return true
	}
}

func (j *tableTable[K, L, R, O]) addToGraph(compiler *plan.Compiler) error {
	leftGetter, leftStores := plan.GetterOf[K, L](j.leftOut)
	rightGetter, rightStores := plan.GetterOf[K, R](j.rightOut)
	open := func(env graph.Env) (*operator.TableTable[K, L, R, O], error) {
		l, err := leftGetter(env)
		if err != nil {
			return nil, err
		}
		r, err := rightGetter(env)
		return &operator.TableTable[K, L, R, O]{
			Left: l, Right: r, Join: j.join, OuterLeft: j.keepLeft, OuterRight: j.keepRight, Old: j.planTable.OldValues,
			// A join of a table with itself has both changes in one call, and needs no memory of
			// the first one's deletion.
			SharedUpstream: j.related && !j.selfJoin,
		}, err
	}
	j.describe(open, leftStores, rightStores)
	name := compiler.CurrentName()
	// Each side has a step of its own, which reads the stores of the other side: a change of the
	// left table looks up the right row.
	this := &graph.Node{Op: "table-join-this", Stores: rightStores, Wire: j.wireThis}
	other := &graph.Node{Op: "table-join-other", Stores: leftStores, Wire: j.wireOther}
	// Steps are wired from the sinks up. So merge is first, and makes what the two sides share:
	// they receive it in the place of an outlet.
	merge := &graph.Node{Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
		algorithm, err := open(env)
		if err != nil {
			return nil, err
		}
		task := &tableTableTask[K, L, R, O]{algorithm: algorithm}
		task.out = wire.CountedTable(wire.NewSite(node, env), outs[0].(wire.TableOutlet[K, O]))
		task.left, task.right = algorithm.Sides()
		return task, nil
	}}
	if err := compiler.AddNode(name+"-join-this", this, j.leftOut); err != nil {
		return err
	}
	if err := compiler.AddNode(name+"-join-other", other, j.rightOut); err != nil {
		return err
	}
	if err := compiler.AddNode(name, merge, compiler.LinkInlet(1, this), compiler.LinkInlet(2, other)); err != nil {
		return err
	}
	compiler.CoPartition(j.leftOut, j.rightOut)
	plan.SetTableOutput[K, O](compiler, 0, merge, "")
	return nil
}

func (j *tableTable[K, L, R, O]) wireThis(node *graph.Node, env graph.Env, outs []any) (any, error) {
	task := outs[0].(*tableTableTask[K, L, R, O])
	if j.selfJoin {
		return task.both(node, env), nil
	}
	return sideInlet(task.left, node, env, task.out), nil
}

func (j *tableTable[K, L, R, O]) wireOther(node *graph.Node, env graph.Env, outs []any) (any, error) {
	task := outs[0].(*tableTableTask[K, L, R, O])
	// The other step of a self-join exists only because Kafka Streams has it, with its name. The first
	// step has processed the change for both sides.
	if j.selfJoin {
		return wire.CountedTable(wire.NewSite(node, env), func(wire.Change[K, R]) error { return nil }), nil
	}
	return sideInlet(task.right, node, env, task.out), nil
}

// describe sets how steps that follow read the result: its rows are computed from those of both
// sides.
func (j *tableTable[K, L, R, O]) describe(
	open func(graph.Env) (*operator.TableTable[K, L, R, O], error), stores ...[]string,
) {
	for _, names := range stores {
		j.planTable.Stores = append(j.planTable.Stores, names...)
	}
	j.planTable.Getter = func(env graph.Env) (wire.Getter[K, O], error) {
		t, err := open(env)
		if err != nil {
			return nil, err
		}
		return t.Get, nil
	}
}

// tableTableTask is a join of two tables in one task.
type tableTableTask[K, L, R, O any] struct {
	algorithm *operator.TableTable[K, L, R, O]
	left      operator.TableSide[K, L, O]
	right     operator.TableSide[K, R, O]
	out       wire.TableOutlet[K, O]
}

// sideInlet makes the inlet for the changes of one side.
func sideInlet[K, V, O any](
	change operator.TableSide[K, V, O], node *graph.Node, env graph.Env, out wire.TableOutlet[K, O],
) wire.TableOutlet[K, V] {
	site := wire.NewSite(node, env)
	return func(c wire.Change[K, V]) error {
		site.Enter()
		if c.Stale {
			site.Drop(graph.Stale)
			return nil
		}
		joined, ok, err := change(c)
		switch {
		case err != nil:
			return retry.IgnoreSkipped(err)
		case !ok:
			return nil
		}
		return out(joined)
	}
}

// both makes the inlet for the changes of a table that is joined with itself.
func (m *tableTableTask[K, L, R, O]) both(node *graph.Node, env graph.Env) wire.TableOutlet[K, L] {
	site := wire.NewSite(node, env)
	algorithm := any(m.algorithm).(*operator.TableTable[K, L, L, O]) // it is the same table, so L is R
	return func(change wire.Change[K, L]) error {
		site.Enter()
		if change.Stale {
			site.Drop(graph.Stale)
			return nil
		}
		// A change of the table is a change of the left side and then of the right side, each of which may
		// have a result.
		first, second, times := operator.SelfJoin(algorithm, change)
		if times > 0 {
			if err := m.out(first); err != nil {
				return err
			}
		}
		if times > 1 {
			return m.out(second)
		}
		return nil
	}
}
