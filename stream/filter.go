package stream

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
)

// Filter passes on the records for which keep is true. Tombstones and records without a key pass: keep does not see them. (Kafka
// Streams calls its predicate with null there: use FilterRecords.)
func Filter[K, V any](s KStream[K, V], keep func(K, V) bool) KStream[K, V] {
	return filter(s, "stream.Filter", func(r Record[K, V]) bool { return r.NoKey || r.Tombstone || keep(r.Key, r.Value) })
}

// FilterNot passes on the records for which drop is false, and like Filter those that it cannot see.
func FilterNot[K, V any](s KStream[K, V], drop func(K, V) bool) KStream[K, V] {
	return filter(s, "stream.FilterNot", func(r Record[K, V]) bool { return r.NoKey || r.Tombstone || !drop(r.Key, r.Value) })
}

// FilterRecords passes on the records for which keep is true; keep sees tombstones and records without a key.
func FilterRecords[K, V any](s KStream[K, V], keep func(Record[K, V]) bool) KStream[K, V] {
	return filter(s, "stream.FilterRecords", keep)
}

func filter[K, V any](s KStream[K, V], op string, keep func(Record[K, V]) bool) KStream[K, V] {
	n := step[K, V](s, op, "filter", func(n *graph.Node, env graph.Env, out wire.Outlet[K, V]) wire.Outlet[K, V] {
		return func(r Record[K, V]) error {
			if !keep(r) {
				return nil
			}
			return out(r)
		}
	})
	return result[K, V](n.KeepKey(0).KeepValue(0))
}

// step makes the node of an operator with one input and one output. start makes its inlet for one task.
func step[K2, V2, K, V any](s KStream[K, V], op, kind string, start func(*graph.Node, graph.Env, wire.Outlet[K2, V2]) wire.Outlet[K, V]) *plan.Node {
	n := plan.New[K2, V2](nil, op, kind, handle(s).Out())
	if n == nil {
		return nil
	}
	n.Emit = func(c *plan.Compile) error {
		g := &graph.Node{Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
			return start(n, env, outs[0].(wire.Outlet[K2, V2])), nil
		}}
		if err := c.Add(n.Name(), g, n.Input(0)); err != nil {
			return err
		}
		plan.Gives[K2, V2](c, 0, g, "")
		return nil
	}
	return n
}
