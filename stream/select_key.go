package stream

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// SelectKey gives each record the key that f makes. A tombstone has no value to make a key from: it is dropped and counted; use MapKeys
// or MapRecords to keep it. What follows and needs records in their key's partition goes through a repartition topic.
//
//	byCity := stream.SelectKey(orders, func(_ string, o Order) string { return o.City })
func SelectKey[K, V, K2 any](s KStream[K, V], f func(K, V) K2) KStream[K2, V] {
	return result[K2, V](rekeyed(step(s, "stream.SelectKey", "select-key", f, selectKey(f))))
}

func selectKey[K, V, K2 any](f func(K, V) K2) wiring[K, V, K2, V] {
	return func(at site, out wire.Outlet[K2, V]) wire.Outlet[K, V] {
		return func(r Record[K, V]) error {
			at.enter()
			if r.Tombstone {
				at.drop(graph.NoNewKey)
				return nil
			}
			return out(topology.WithKey(r, f(r.Key, r.Value)))
		}
	}
}
