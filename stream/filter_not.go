package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
)

// FilterNot passes on the records for which predicate is false. Tombstones always pass, as in
// Filter.
//
//	people := stream.FilterNot(visits, func(_ string, v Visit) bool { return v.Bot })
func FilterNot[K, V any](s KStream[K, V], predicate func(K, V) bool) KStream[K, V] {
	return result[K, V](passThrough(unary(s, "stream.FilterNot", "filter", predicate,
		func(site wire.Site, out wire.Outlet[K, V]) wire.Outlet[K, V] {
			return func(r Record[K, V]) error {
				site.Enter()
				if r.Tombstone || !predicate(r.Key, r.Value) {
					return out(r)
				}
				return nil
			}
		})))
}
