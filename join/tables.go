package join

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/table"
)

// pairing says how two tables are joined: which of them have results for rows that the other has none for, and by what.
type pairing[L, R, O any] struct {
	left, right bool
	join        func(l L, left bool, r R, right bool) O
}

// tables makes the node of a join of two tables by key.
func tables[K, L, R, O any](lt table.KTable[K, L], rt table.KTable[K, R], opname string, p pairing[L, R, O], f any) table.KTable[K, O] {
	l, r := plan.KTable[K, L](lt).Handle().Out(), plan.KTable[K, R](rt).Handle().Out()
	n := plan.New[K, O](nil, opname, "table-join", l, r).Funcs(f)
	if n == nil {
		return table.KTable[K, O]{}
	}
	n.CanFail = true
	x := &tableTable[K, L, R, O]{pairing: p, own: &plan.Table{}, l: l, r: r, same: l == r, related: plan.Related(l, r)}
	n.Table = x.own
	n.Demand = x.demand
	n.Emit = x.emit
	n.KeepKey(0)
	return table.KTable[K, O](plan.NewKTable(plan.Result[K, O](n)))
}

// tableTable is a join of two tables in the plan: a step for each side's changes, and one at which they meet.
type tableTable[K, L, R, O any] struct {
	pairing[L, R, O]
	own           *plan.Table
	l, r          plan.Out
	same, related bool
}

// demand asks for what the join needs: the rows of both sides, and old values where it cannot know otherwise whether a row is gone.
func (x *tableTable[K, L, R, O]) demand() {
	l, r := plan.TableOf(x.l), plan.TableOf(x.r)
	l.AskRows()
	r.AskRows()
	pairs := x.related && !x.left && !x.right
	if x.left || pairs {
		l.AskOld(true)
	}
	if x.right || pairs {
		r.AskOld(true)
	}
	x.own.AskRows = func() {}
	x.own.AskOld = func(bool) bool {
		l.AskOld(true)
		r.AskOld(true)
		x.own.WantOld = true
		return true
	}
}

func (x *tableTable[K, L, R, O]) emit(c *plan.Compile) error {
	left, leftStores := plan.GetterOf[K, L](x.l)
	right, rightStores := plan.GetterOf[K, R](x.r)
	open := func(env graph.Env) (*op.TableTable[K, L, R, O], error) {
		l, err := left(env)
		if err != nil {
			return nil, err
		}
		r, err := right(env)
		return &op.TableTable[K, L, R, O]{
			Left: l, Right: r, Join: x.join, KeepLeft: x.left, KeepRight: x.right, Old: x.own.WantOld, Related: x.related && !x.same,
		}, err
	}
	x.describe(open, leftStores, rightStores)
	name := c.NameOf()
	this := &graph.Node{Op: "table-join-this", Stores: rightStores, Wire: x.wireThis}
	other := &graph.Node{Op: "table-join-other", Stores: leftStores, Wire: x.wireOther}
	merge := &graph.Node{Wire: func(_ *graph.Node, env graph.Env, outs []any) (any, error) {
		t, err := open(env)
		if err != nil {
			return nil, err
		}
		m := &meeting[K, L, R, O]{table: t, out: outs[0].(wire.TableOutlet[K, O])}
		m.left, m.right = t.Sides()
		return m, nil
	}}
	if err := c.Add(name+"-join-this", this, x.l); err != nil {
		return err
	}
	if err := c.Add(name+"-join-other", other, x.r); err != nil {
		return err
	}
	if err := c.Add(name, merge, c.Link(1, this), c.Link(2, other)); err != nil {
		return err
	}
	c.Together(x.l, x.r)
	plan.GivesTable[K, O](c, 0, merge, "")
	return nil
}

func (x *tableTable[K, L, R, O]) wireThis(n *graph.Node, env graph.Env, outs []any) (any, error) {
	m := outs[0].(*meeting[K, L, R, O])
	if x.same {
		return m.both(n, env), nil
	}
	return sideInlet(m.left, n, env, m.out), nil
}

func (x *tableTable[K, L, R, O]) wireOther(n *graph.Node, env graph.Env, outs []any) (any, error) {
	m := outs[0].(*meeting[K, L, R, O])
	if x.same { // the step before it has dealt with both sides
		return wire.TableOutlet[K, R](func(wire.Change[K, R]) error { return nil }), nil
	}
	return sideInlet(m.right, n, env, m.out), nil
}

// describe says of the result what steps that follow may ask: its rows are computed from those of both sides.
func (x *tableTable[K, L, R, O]) describe(open func(graph.Env) (*op.TableTable[K, L, R, O], error), stores ...[]string) {
	for _, s := range stores {
		x.own.Stores = append(x.own.Stores, s...)
	}
	x.own.Getter = func(env graph.Env) (wire.Getter[K, O], error) {
		t, err := open(env)
		if err != nil {
			return nil, err
		}
		return t.Get, nil
	}
}

// meeting is a join in one task.
type meeting[K, L, R, O any] struct {
	table *op.TableTable[K, L, R, O]
	left  op.TableSide[K, L, O]
	right op.TableSide[K, R, O]
	out   wire.TableOutlet[K, O]
}

// sideInlet takes the changes of one side.
func sideInlet[K, V, O any](change op.TableSide[K, V, O], n *graph.Node, env graph.Env, out wire.TableOutlet[K, O]) wire.TableOutlet[K, V] {
	place := graph.PlaceOf(env)
	return func(c wire.Change[K, V]) error {
		if c.Stale {
			env.Drop(n, graph.Stale)
			return nil
		}
		place.Node = n
		joined, ok, err := change(c)
		switch {
		case err != nil:
			return refused(env, n, err)
		case !ok:
			return nil
		}
		return out(joined)
	}
}

// both takes the changes of a table that is joined with itself.
func (m *meeting[K, L, R, O]) both(n *graph.Node, env graph.Env) wire.TableOutlet[K, L] {
	place := graph.PlaceOf(env)
	t := any(m.table).(*op.TableTable[K, L, L, O]) // it is the same table, so L is R
	return func(c wire.Change[K, L]) error {
		if c.Stale {
			env.Drop(n, graph.Stale)
			return nil
		}
		place.Node = n
		first, second, times := op.Both(t, c)
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
