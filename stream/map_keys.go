package stream

import (
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// MapKeys changes each key with f. Tombstones are kept, under their new key; a record without a key stays without. What follows and
// needs records in their key's partition goes through a repartition topic.
//
//	lower := stream.MapKeys(users, strings.ToLower)
func MapKeys[K, V, K2 any](s KStream[K, V], f func(K) K2) KStream[K2, V] {
	return result[K2, V](rekeyed(step(s, "stream.MapKeys", "map-keys", f, func(at site, out wire.Outlet[K2, V]) wire.Outlet[K, V] {
		return func(r Record[K, V]) error {
			at.enter()
			if r.NoKey {
				var none K2
				return out(topology.WithKey(r, none).Keyless())
			}
			return out(topology.WithKey(r, f(r.Key)))
		}
	})))
}
