package stream

import (
	"github.com/millstream-go/millstream/internal/wire"
)

// FilterNot passes on the records for which drop is false, and like Filter tombstones.
//
//	people := stream.FilterNot(visits, func(_ string, v Visit) bool { return v.Bot })
func FilterNot[K, V any](s KStream[K, V], drop func(K, V) bool) KStream[K, V] {
	return result[K, V](passes(step(s, "stream.FilterNot", "filter", drop, func(at site, out wire.Outlet[K, V]) wire.Outlet[K, V] {
		return func(r Record[K, V]) error {
			at.enter()
			if r.Tombstone || !drop(r.Key, r.Value) {
				return out(r)
			}
			return nil
		}
	})))
}
