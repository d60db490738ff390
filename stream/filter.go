package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
)

// Filter passes on the records for which predicate is true. Tombstones always pass; predicate does
// not see them. (Kafka Streams calls its predicate with null there: FilterRecords does the same.)
//
//	big := stream.Filter(orders, func(_ string, o Order) bool { return o.Cents > 10_000 })
func Filter[K, V any](s KStream[K, V], predicate func(K, V) bool) KStream[K, V] {
	return result[K, V](passThrough(unary(s, "stream.Filter", "filter", predicate,
		func(site wire.Site, out wire.Outlet[K, V]) wire.Outlet[K, V] {
			return func(r Record[K, V]) error {
				site.Enter()
				if r.Tombstone || predicate(r.Key, r.Value) {
					return out(r)
				}
				return nil
			}
		})))
}
