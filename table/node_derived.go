package table

import (
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
)

// derivedNode makes the node of a table whose rows are computed from those of t one by one. It has
// no store. row computes a row; isFilter tells that row only keeps or deletes rows.
func derivedNode[K, V, V2 any](
	t KTable[K, V], opname, kind string, isFilter bool, row func(K, V, bool) (V2, bool),
) *plan.Node {
	node := plan.New[K, V2](nil, opname, kind, handle(t).Out())
	if node == nil {
		return nil
	}
	of := node.Input(0)
	planTable := followTable(of)
	planTable.Filtered = isFilter
	wantUnfiltered := false
	if isFilter {
		planTable.UnfilteredOutput = func() plan.Out {
			wantUnfiltered = true
			return plan.Out{Node: node, Port: 1}
		}
		// With old values a filter need not send a tombstone for a row that was not in its result. It uses
		// them only if the table before it has a store anyway, as in Kafka Streams.
		node.Require = func() { planTable.RequireOldValues(false) }
	}
	node.Table = planTable
	node.AddToGraph = func(compiler *plan.Compiler) error {
		graphNode := &graph.Node{Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			site := wire.NewSite(node, env)
			out := outs[0].(wire.TableOutlet[K, V2])
			var unfilteredOut wire.TableOutlet[K, V2]
			if wantUnfiltered {
				unfilteredOut = outs[1].(wire.TableOutlet[K, V2])
			}
			derive := &operator.Derive[K, V, V2]{Row: row, Old: planTable.OldValues, Filter: isFilter && !planTable.Versioned}
			return wire.TableOutlet[K, V](func(c wire.Change[K, V]) error {
				site.Enter()
				next, unchanged := derive.Change(c)
				// A step that keeps the result in a store compares with its own rows, so it must see also what
				// is no change by the rows of the table before.
				if unfilteredOut != nil {
					if err := unfilteredOut(next); err != nil {
						return err
					}
				}
				if unchanged {
					return nil
				}
				return out(next)
			}), nil
		}}
		if getter, stores := plan.GetterOf[K, V](of); getter != nil {
			planTable.Getter, planTable.Stores = derivedGetter(getter, row), stores
		}
		if asOf := plan.VersionsOf[K, V](of); asOf != nil {
			planTable.AsOf = derivedAsOf(asOf, row)
		}
		if err := compiler.AddNode(node.Name(), graphNode, of); err != nil {
			return err
		}
		plan.SetTableOutput[K, V2](compiler, 0, graphNode, "")
		if wantUnfiltered {
			plan.SetTableOutput[K, V2](compiler, 1, graphNode, "")
		}
		return nil
	}
	return node.InheritKeySerde(0).InheritValueSerde(0)
}

// followTable returns the properties of a table whose rows are computed from those of another
// table. Requirements for rows and old values go on to that table.
func followTable(of plan.Out) *plan.Table {
	planTable := &plan.Table{}
	if upstream := plan.TableOf(of); upstream != nil {
		planTable.Versioned, planTable.History = upstream.Versioned, upstream.History
	}
	planTable.RequireRows = func() { plan.TableOf(of).RequireRows() }
	planTable.RequireOldValues = func(force bool) bool {
		if plan.TableOf(of).RequireOldValues(force) {
			planTable.OldValues = true
		}
		return planTable.OldValues
	}
	return planTable
}

// derivedGetter returns how rows of a derived table are read: computed from the rows of the table
// before it.
func derivedGetter[K, V, V2 any](
	getter func(graph.Env) (wire.Getter[K, V], error), row func(K, V, bool) (V2, bool),
) func(graph.Env) (wire.Getter[K, V2], error) {
	return func(env graph.Env) (wire.Getter[K, V2], error) {
		get, err := getter(env)
		if err != nil {
			return nil, err
		}
		derive := &operator.Derive[K, V, V2]{Row: row}
		return derive.Getter(get), nil
	}
}

// derivedAsOf is derivedGetter for versions of rows.
func derivedAsOf[K, V, V2 any](
	asOf func(graph.Env) (wire.AsOf[K, V], error), row func(K, V, bool) (V2, bool),
) func(graph.Env) (wire.AsOf[K, V2], error) {
	return func(env graph.Env) (wire.AsOf[K, V2], error) {
		before, err := asOf(env)
		if err != nil {
			return nil, err
		}
		derive := &operator.Derive[K, V, V2]{Row: row}
		return derive.AsOf(before), nil
	}
}
