package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// MapValuesWithKey is MapValues for functions that also see the key.
//
//	lines := stream.MapValuesWithKey(prices,
//		func(item string, cents int64) string { return fmt.Sprint(item, " ", cents) })
func MapValuesWithKey[K, V, V2 any](s KStream[K, V], f func(K, V) V2) KStream[K, V2] {
	return result[K, V2](unary(s, "stream.MapValuesWithKey", "map-values", f,
		func(site wire.Site, out wire.Outlet[K, V2]) wire.Outlet[K, V] {
			return func(r Record[K, V]) error {
				site.Enter()
				if r.Tombstone {
					return out(tombstone[V2](r))
				}
				return out(topology.WithValue(r, f(r.Key, r.Value)))
			}
		}))
}
