package stream

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// Map changes key and value of each record with f. A tombstone has no value to make a key from: it is dropped and counted; use MapKeys
// or MapRecords to keep it. What follows and needs records in their key's partition goes through a repartition topic.
//
//	byCity := stream.Map(orders, func(id string, o Order) (string, int64) { return o.City, o.Cents })
func Map[K, V, K2, V2 any](s KStream[K, V], f func(K, V) (K2, V2)) KStream[K2, V2] {
	return result[K2, V2](rekeyed(step(s, "stream.Map", "map", f, func(at site, out wire.Outlet[K2, V2]) wire.Outlet[K, V] {
		return func(r Record[K, V]) error {
			at.enter()
			if r.Tombstone {
				at.drop(graph.NoNewKey)
				return nil
			}
			k, v := f(r.Key, r.Value)
			return out(topology.WithKey(topology.WithValue(r, v), k))
		}
	})))
}
