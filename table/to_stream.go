package table

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/stream"
)

// ToStream returns the changes of t as a stream: the new value of a row, or a tombstone when the row is gone.
func ToStream[K, V any](t KTable[K, V]) stream.KStream[K, V] {
	n := plan.New[K, V](nil, "table.ToStream", "to-stream", handle(t).Out())
	if n == nil {
		return stream.KStream[K, V]{}
	}
	n.Emit = func(c *plan.Compile) error {
		g := &graph.Node{Wire: func(_ *graph.Node, _ graph.Env, outs []any) (any, error) {
			out := outs[0].(wire.Outlet[K, V])
			return wire.TableOutlet[K, V](func(c wire.Change[K, V]) error { return out(c.Record) }), nil
		}}
		if err := c.Add(n.Name(), g, n.Input(0)); err != nil {
			return err
		}
		plan.Gives[K, V](c, 0, g, "")
		return nil
	}
	n.KeepKey(0).KeepValue(0)
	return stream.KStream[K, V](plan.NewStream(plan.Result[K, V](n)))
}
