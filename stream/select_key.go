package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/topology"
)

// SelectKey gives each record the key that f returns. A tombstone has no value to make a key from:
// it is dropped and counted. MapKeys and MapRecords can preserve it. Steps that follow and need
// records in the partition of their key use a repartition topic.
//
//	byCity := stream.SelectKey(orders, func(_ string, o Order) string { return o.City })
func SelectKey[K, V, K2 any](s KStream[K, V], f func(K, V) K2) KStream[K2, V] {
	return result[K2, V](changesKey(unary(s, "stream.SelectKey", "select-key", f, selectKey(f))))
}

func selectKey[K, V, K2 any](f func(K, V) K2) wiring[K, V, K2, V] {
	return func(site wire.Site, out wire.Outlet[K2, V]) wire.Outlet[K, V] {
		return func(r Record[K, V]) error {
			site.Enter()
			if r.Tombstone {
				site.Drop(graph.NoNewKey)
				return nil
			}
			return out(topology.WithKey(r, f(r.Key, r.Value)))
		}
	}
}
