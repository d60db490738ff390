package join

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

// StreamGlobal joins each record of s with the row of t under the key that key makes of the record, and drops it, uncounted, when there is
// none. Only records of s give results: with the record's key, time and headers. Neither topics nor keys have to fit each other, and s
// is not repartitioned.
//
// A record for which key returns ok false is dropped and counted, and so is one without a value, for which key is not called. One
// without a key is joined like any other.
func StreamGlobal[K, V, GK, T, R any](s stream.KStream[K, V], t table.GlobalKTable[GK, T], key func(r stream.Record[K, V]) (k GK, ok bool), f func(v V, row T) R) stream.KStream[K, R] {
	n := lookupBy(s, t, "join.StreamGlobal", false, key, func(v V, row T, _ bool) R { return f(v, row) })
	return result[K, R](n.Funcs(key, f))
}

// StreamGlobalLeft is StreamGlobal for all records of s that have a value: ok tells f whether t has a row. A record for which key returns
// ok false has none.
func StreamGlobalLeft[K, V, GK, T, R any](s stream.KStream[K, V], t table.GlobalKTable[GK, T], key func(r stream.Record[K, V]) (k GK, ok bool), f func(v V, row T, ok bool) R) stream.KStream[K, R] {
	return result[K, R](lookupBy(s, t, "join.StreamGlobalLeft", true, key, f).Funcs(key, f))
}

// lookupBy makes the node of a join of a stream with a global table.
func lookupBy[K, V, GK, T, R any](s stream.KStream[K, V], t table.GlobalKTable[GK, T], opname string, left bool, key func(stream.Record[K, V]) (GK, bool), f func(V, T, bool) R) *plan.Node {
	in, rows := plan.Stream[K, V](s).Handle(), plan.Global[GK, T](t).Handle().Out()
	n := plan.New[K, R](nil, opname, "global-join", in.Out(), rows)
	if n == nil {
		return nil
	}
	n.KeyChanged = in.Node() != nil && in.Node().KeyChanged
	n.CanFail = true
	n.Emit = func(c *plan.Compile) error {
		getter, stores := plan.GetterOf[GK, T](rows)
		g := &graph.Node{Stores: stores, Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
			get, err := getter(env)
			if err != nil {
				return nil, err
			}
			l := &op.LookupBy[K, V, GK, T, R]{Get: get, Key: key, Left: left, Join: f}
			return lookupByInlet(l, n, env, outs[0].(wire.Outlet[K, R])), nil
		}}
		if err := c.Add(n.Name(), g, in.Out()); err != nil {
			return err
		}
		plan.Gives[K, R](c, 0, g, "")
		return nil
	}
	return n.KeepKey(0)
}

func lookupByInlet[K, V, GK, T, R any](l *op.LookupBy[K, V, GK, T, R], n *graph.Node, env graph.Env, out wire.Outlet[K, R]) wire.Outlet[K, V] {
	place := graph.PlaceOf(env)
	return func(r topology.Record[K, V]) error {
		place.Node = n
		joined, dropped, err := l.Record(r)
		if err != nil {
			return refused(env, n, err)
		}
		switch dropped {
		case op.NoKey:
			env.Drop(n, graph.NoLookupKey)
		case op.NoValue:
			env.Drop(n, graph.NoValue)
		case op.Joined:
			return out(joined)
		}
		return nil
	}
}
