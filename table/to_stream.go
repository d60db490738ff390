package table

import (
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/stream"
)

// ToStream returns the changes of t as a stream: the new value of a row, or a tombstone if the row
// is deleted.
func ToStream[K, V any](t KTable[K, V]) stream.KStream[K, V] {
	node := plan.New[K, V](nil, "table.ToStream", "to-stream", handle(t).Out())
	if node == nil {
		return stream.KStream[K, V]{}
	}
	node.AddToGraph = func(c *plan.Compiler) error {
		graphNode := &graph.Node{Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			site, out := wire.NewSite(node, env), outs[0].(wire.Outlet[K, V])
			return wire.TableOutlet[K, V](func(c wire.Change[K, V]) error {
				site.Enter()
				return out(c.Record)
			}), nil
		}}
		if err := c.AddNode(node.Name(), graphNode, node.Input(0)); err != nil {
			return err
		}
		plan.SetOutput[K, V](c, 0, graphNode, "")
		return nil
	}
	node.InheritKeySerde(0).InheritValueSerde(0)
	return stream.KStream[K, V](plan.NewStream(plan.Result[K, V](node)))
}
