package join

import (
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

// StreamGlobal joins each record of s with the row of t under the key that key returns for the
// record, and drops the record, uncounted, if there is none. Only records of s have results, with
// their own key, time and headers. Topics and keys of the two need not match, and s is not
// repartitioned.
//
// A record for which key returns ok false is dropped and counted. So is a record without a value,
// for which key is not called. A record without a key is joined like any other.
func StreamGlobal[K, V, GK, T, R any](
	s stream.KStream[K, V], t table.GlobalKTable[GK, T], key func(r stream.Record[K, V]) (k GK, ok bool),
	f func(v V, row T) R,
) stream.KStream[K, R] {
	n := globalLookupNode(s, t, "join.StreamGlobal", false, key, func(v V, row T, _ bool) R { return f(v, row) })
	return result[K, R](n.CheckFuncs(key, f))
}

// StreamGlobalLeft is StreamGlobal for all records of s that have a value: f is called with ok
// false if t has no row, or if key returned ok false.
func StreamGlobalLeft[K, V, GK, T, R any](
	s stream.KStream[K, V], t table.GlobalKTable[GK, T], key func(r stream.Record[K, V]) (k GK, ok bool),
	f func(v V, row T, ok bool) R,
) stream.KStream[K, R] {
	return result[K, R](globalLookupNode(s, t, "join.StreamGlobalLeft", true, key, f).CheckFuncs(key, f))
}

// globalLookupNode makes the node of a join of a stream with a global table.
func globalLookupNode[K, V, GK, T, R any](
	s stream.KStream[K, V], t table.GlobalKTable[GK, T], opname string, left bool,
	key func(stream.Record[K, V]) (GK, bool), join func(V, T, bool) R,
) *plan.Node {
	in, rows := plan.Stream[K, V](s).Handle(), plan.Global[GK, T](t).Handle().Out()
	node := plan.New[K, R](nil, opname, "global-join", in.Out(), rows)
	if node == nil {
		return nil
	}
	// A global table has all rows in every task, so the keys of s may have changed: nothing is
	// repartitioned, and steps behind must still know.
	node.KeyChanged = in.Node() != nil && in.Node().KeyChanged
	node.CanFail, node.JoinsNoKey = true, left
	node.AddToGraph = func(compiler *plan.Compiler) error {
		getter, stores := plan.GetterOf[GK, T](rows)
		graphNode := &graph.Node{Stores: stores, Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			get, err := getter(env)
			if err != nil {
				return nil, err
			}
			joiner := &operator.LookupBy[K, V, GK, T, R]{Get: get, Key: key, Left: left, Join: join}
			return globalLookupInlet(joiner, node, env, outs[0].(wire.Outlet[K, R])), nil
		}}
		if err := compiler.AddNode(node.Name(), graphNode, in.Out()); err != nil {
			return err
		}
		plan.SetOutput[K, R](compiler, 0, graphNode, "")
		return nil
	}
	return node.InheritKeySerde(0)
}

func globalLookupInlet[K, V, GK, T, R any](
	joiner *operator.LookupBy[K, V, GK, T, R], node *graph.Node, env graph.Env, out wire.Outlet[K, R],
) wire.Outlet[K, V] {
	site := wire.NewSite(node, env)
	return func(r topology.Record[K, V]) error {
		site.Enter()
		joined, outcome, err := joiner.Record(r)
		switch {
		case err != nil:
			return retry.IgnoreSkipped(err)
		case outcome == operator.Joined:
			return out(joined)
		case outcome == operator.NoKey: // it may have a key, but none to look up
			site.Drop(graph.NoLookupKey)
			return nil
		}
		return endRecord(site, outcome, nil)
	}
}
