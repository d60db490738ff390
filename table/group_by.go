package table

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/interchange"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
)

// GroupBy groups the rows of t: f says which group a row belongs to and what it counts for there, and with ok false that it belongs to
// none. When a row changes, its old value is taken away from its group and its new one added to its own: aggregations of rows follow
// the table, unlike those of a stream, which only grow. f must depend on nothing but its arguments: it is called with the old row again.
//
// Groups lie in other partitions than their rows, so the changes go through the topic <application>-<name>-repartition, named after the
// aggregation or the grouping. A row that moves from one group to another is missing in both until the second has heard of it. t
// keeps its rows in a store.
//
//	byCity := table.GroupBy(people, func(id string, p Person) (string, Person, bool) { return p.City, p, p.City != "" })
//	table.CountRows(byCity, "people-by-city")
func GroupBy[K, V, K2, V2 any](t KTable[K, V], f func(K, V) (group K2, v V2, ok bool)) Grouped[K2, V2] {
	of := handle(t).Out()
	n := plan.New[K2, V2](nil, "table.GroupBy", "group-rows", of).Funcs(f)
	if n == nil {
		return Grouped[K2, V2]{}
	}
	n.CanFail = true
	n.Demand = func() {
		plan.TableOf(of).AskOld(true)
		plan.TableOf(of).Unsent = true
	}
	n.Emit = func(c *plan.Compile) error {
		key, err := plan.KeySerde[K2](n)
		if err != nil {
			return err
		}
		g := &graph.Node{Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
			regroup := &op.Regroup[K, V, K2, V2]{Group: f, Equal: plan.Equal(key)}
			return regroupInlet(regroup, n, env, outs[0].(wire.Outlet[K2, interchange.Change[V2]])), nil
		}}
		if err := c.Add(n.Name(), g, of); err != nil {
			return err
		}
		plan.Gives[K2, interchange.Change[V2]](c, 0, g, "")
		return nil
	}
	n.KeepKey(0).KeepValue(0)
	return Grouped[K2, V2](plan.NewTableGroups(plan.Result[K2, V2](n)))
}

func regroupInlet[K, V, K2, V2 any](regroup *op.Regroup[K, V, K2, V2], n *graph.Node, env graph.Env, out wire.Outlet[K2, interchange.Change[V2]]) wire.TableOutlet[K, V] {
	place := graph.PlaceOf(env)
	return func(c wire.Change[K, V]) error {
		if c.Stale {
			env.Drop(n, graph.StaleRow)
			return nil
		}
		place.Node = n
		messages, count, err := regroup.Change(c)
		if err != nil {
			_, err = graph.Failed(env, n, 1, err)
			return err
		}
		for i := range count {
			if err := out(messages[i]); err != nil {
				return err
			}
		}
		return nil
	}
}
