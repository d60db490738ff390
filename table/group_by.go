package table

import (
	"github.com/millstream-go/millstream/internal/dsl/kswire"
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
)

// GroupBy groups the rows of t. f returns the group of a row and the value that the row counts with
// in that group; with ok false the row is in no group. When a row changes, its old value is removed
// from its old group and its new value is added to its new one, so aggregations of rows follow the
// table; those of a stream only grow. f must depend on its arguments alone: it is called again for
// old rows.
//
// The rows of a group are in several partitions, so the changes go through the topic
// <application>-<name>-repartition, named after the aggregation or the grouping. A row that moves
// from one group to another is in neither of them until the second one has received it. t keeps its
// rows in a store.
//
//	byCity := table.GroupBy(people, func(id string, p Person) (string, Person, bool) { return p.City, p, p.City != "" })
//	table.CountRows(byCity, "people-by-city")
func GroupBy[K, V, K2, V2 any](t KTable[K, V], f func(K, V) (group K2, v V2, ok bool)) Grouped[K2, V2] {
	tableOut := handle(t).Out()
	from := tableOut
	node := plan.New[K2, V2](nil, "table.GroupBy", "group-rows", tableOut).CheckFuncs(f)
	if node == nil {
		return Grouped[K2, V2]{}
	}
	node.CanFail = true
	node.Require = func() {
		// Without the old value of a row it could not be removed from its old group.
		plan.TableOf(tableOut).RequireOldValues(true)
		// Of a suppressed table Kafka Streams removes the value before the newest change, even if it was
		// never sent.
		if unsent := plan.TableOf(tableOut).UnsentOutput; unsent != nil {
			from = unsent()
		}
	}
	node.AddToGraph = func(compiler *plan.Compiler) error {
		key, err := plan.KeySerde[K2](node)
		if err != nil {
			return err
		}
		graphNode := &graph.Node{Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			regroup := &operator.Regroup[K, V, K2, V2]{Group: f, Equal: plan.EqualKeys(key)}
			return regroupInlet(regroup, node, env, outs[0].(wire.Outlet[K2, kswire.Change[V2]])), nil
		}}
		if err := compiler.AddNode(node.Name(), graphNode, from); err != nil {
			return err
		}
		plan.SetOutput[K2, kswire.Change[V2]](compiler, 0, graphNode, "")
		return nil
	}
	node.InheritKeySerde(0).InheritValueSerde(0)
	return Grouped[K2, V2](plan.NewTableGroups(plan.Result[K2, V2](node)))
}

func regroupInlet[K, V, K2, V2 any](
	regroup *operator.Regroup[K, V, K2, V2], node *graph.Node, env graph.Env, out wire.Outlet[K2, kswire.Change[V2]],
) wire.TableOutlet[K, V] {
	site := wire.NewSite(node, env)
	change := regroup.Change // a method value in the function below would be allocated for each change
	return func(c wire.Change[K, V]) error {
		site.Enter()
		// The newest version of the row is in its group already. An older one must not replace it.
		if c.Stale {
			site.Drop(graph.StaleRow)
			return nil
		}
		messages, ok, fatal := graph.Try(env, node, graph.Processing, change, c)
		if !ok {
			return fatal
		}
		for i := range messages.Count {
			if err := out(messages.Messages[i]); err != nil {
				return err
			}
		}
		return nil
	}
}
