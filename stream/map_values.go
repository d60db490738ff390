package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// MapValues replaces each value by the one that f returns. The key does not change, so nothing is
// repartitioned. Tombstones pass without a call of f.
//
//	totals := stream.MapValues(orders, func(o Order) int64 { return o.Cents })
func MapValues[K, V, V2 any](s KStream[K, V], f func(V) V2) KStream[K, V2] {
	return result[K, V2](unary(s, "stream.MapValues", "map-values", f,
		func(site wire.Site, out wire.Outlet[K, V2]) wire.Outlet[K, V] {
			return func(r Record[K, V]) error {
				site.Enter()
				if r.Tombstone {
					return out(tombstone[V2](r))
				}
				return out(topology.WithValue(r, f(r.Value)))
			}
		}))
}
