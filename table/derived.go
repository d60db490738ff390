package table

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
)

// derived makes the node of a table that follows from t row by row and keeps no store.
func derived[K, V, V2 any](t KTable[K, V], opname, kind string, filter bool, row func(K, V, bool) (V2, bool)) *plan.Node {
	n := plan.New[K, V2](nil, opname, kind, handle(t).Out())
	if n == nil {
		return nil
	}
	of := n.Input(0)
	own := follows(of)
	own.Filtered = filter
	if filter { // it can tell what is no change, if old values cost nothing
		n.Demand = func() { own.AskOld(false) }
	}
	n.Table = own
	n.Emit = func(c *plan.Compile) error {
		g := &graph.Node{Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
			place := graph.PlaceOf(env)
			out := outs[0].(wire.TableOutlet[K, V2])
			d := &op.Derive[K, V, V2]{Row: row, Old: own.WantOld, Filter: filter && !own.Versioned}
			return wire.TableOutlet[K, V](func(c wire.Change[K, V]) error {
				place.Node = n
				if next, ok := d.Change(c); ok {
					return out(next)
				}
				return nil
			}), nil
		}}
		if getter, stores := plan.GetterOf[K, V](of); getter != nil {
			own.Getter, own.Stores = through(getter, row), stores
		}
		if asOf := plan.AsOfOf[K, V](of); asOf != nil {
			own.AsOf = throughAsOf(asOf, row)
		}
		if err := c.Add(n.Name(), g, of); err != nil {
			return err
		}
		plan.GivesTable[K, V2](c, 0, g, "")
		return nil
	}
	return n.KeepKey(0).KeepValue(0)
}

// follows is what a table knows that follows from another one row by row and keeps no store.
func follows(of plan.Out) *plan.Table {
	own := &plan.Table{}
	if up := plan.TableOf(of); up != nil {
		own.Versioned, own.History = up.Versioned, up.History
	}
	own.AskRows = func() { plan.TableOf(of).AskRows() }
	own.AskOld = func(force bool) bool {
		if plan.TableOf(of).AskOld(force) {
			own.WantOld = true
		}
		return own.WantOld
	}
	return own
}

// through says how the rows of a derived table are read: made from those of the table before it.
func through[K, V, V2 any](getter func(graph.Env) (wire.Getter[K, V], error), row func(K, V, bool) (V2, bool)) func(graph.Env) (wire.Getter[K, V2], error) {
	return func(env graph.Env) (wire.Getter[K, V2], error) {
		get, err := getter(env)
		if err != nil {
			return nil, err
		}
		d := &op.Derive[K, V, V2]{Row: row}
		return d.Getter(get), nil
	}
}

// throughAsOf is through for versions of rows.
func throughAsOf[K, V, V2 any](asOf func(graph.Env) (wire.AsOf[K, V], error), row func(K, V, bool) (V2, bool)) func(graph.Env) (wire.AsOf[K, V2], error) {
	return func(env graph.Env) (wire.AsOf[K, V2], error) {
		of, err := asOf(env)
		if err != nil {
			return nil, err
		}
		d := &op.Derive[K, V, V2]{Row: row}
		return d.AsOf(of), nil
	}
}
