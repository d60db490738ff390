package stream

import (
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// MapValues changes each value with f. Keys stay, and so does the partition. Tombstones pass by f.
//
//	totals := stream.MapValues(orders, func(o Order) int64 { return o.Cents })
func MapValues[K, V, V2 any](s KStream[K, V], f func(V) V2) KStream[K, V2] {
	return result[K, V2](step(s, "stream.MapValues", "map-values", f, func(at site, out wire.Outlet[K, V2]) wire.Outlet[K, V] {
		return func(r Record[K, V]) error {
			at.enter()
			if r.Tombstone {
				return out(tombstone[V2](r))
			}
			return out(topology.WithValue(r, f(r.Value)))
		}
	}))
}
