package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/topology"
)

// Map replaces the key and the value of each record by those that f returns. A tombstone has no
// value to make a key from: it is dropped and counted. MapKeys and MapRecords can preserve it.
// Steps that follow and need records in the partition of their key use a repartition topic.
//
//	byCity := stream.Map(orders, func(id string, o Order) (string, int64) { return o.City, o.Cents })
func Map[K, V, K2, V2 any](s KStream[K, V], f func(K, V) (K2, V2)) KStream[K2, V2] {
	return result[K2, V2](changesKey(unary(s, "stream.Map", "map", f,
		func(site wire.Site, out wire.Outlet[K2, V2]) wire.Outlet[K, V] {
			return func(r Record[K, V]) error {
				site.Enter()
				if r.Tombstone {
					site.Drop(graph.NoNewKey)
					return nil
				}
				k, v := f(r.Key, r.Value)
				return out(topology.WithKey(topology.WithValue(r, v), k))
			}
		})))
}
