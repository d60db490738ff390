package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// MapKeys replaces each key by the one that f returns. Tombstones stay, with the new key; a record
// without a key stays without one. Steps that follow and need records in the partition of their key
// use a repartition topic.
//
//	lower := stream.MapKeys(users, strings.ToLower)
func MapKeys[K, V, K2 any](s KStream[K, V], f func(K) K2) KStream[K2, V] {
	return result[K2, V](changesKey(unary(s, "stream.MapKeys", "map-keys", f,
		func(site wire.Site, out wire.Outlet[K2, V]) wire.Outlet[K, V] {
			return func(r Record[K, V]) error {
				site.Enter()
				if r.NoKey {
					var none K2
					return out(topology.WithKey(r, none).Keyless())
				}
				return out(topology.WithKey(r, f(r.Key)))
			}
		})))
}
