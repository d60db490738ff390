package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
)

// FilterRecords passes on the records for which predicate is true. predicate also sees tombstones
// and records without a key.
//
//	rows := stream.FilterRecords(s, stream.HasValue[string, Order])
func FilterRecords[K, V any](s KStream[K, V], predicate func(Record[K, V]) bool) KStream[K, V] {
	return result[K, V](passThrough(unary(s, "stream.FilterRecords", "filter", predicate,
		func(site wire.Site, out wire.Outlet[K, V]) wire.Outlet[K, V] {
			return func(r Record[K, V]) error {
				site.Enter()
				if predicate(r) {
					return out(r)
				}
				return nil
			}
		})))
}
