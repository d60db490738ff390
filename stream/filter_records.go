package stream

import (
	"github.com/millstream-go/millstream/internal/wire"
)

// FilterRecords passes on the records for which keep is true; keep sees tombstones and records without a key.
//
//	rows := stream.FilterRecords(s, stream.HasValue[string, Order])
func FilterRecords[K, V any](s KStream[K, V], keep func(Record[K, V]) bool) KStream[K, V] {
	return result[K, V](passes(step(s, "stream.FilterRecords", "filter", keep, func(at site, out wire.Outlet[K, V]) wire.Outlet[K, V] {
		return func(r Record[K, V]) error {
			at.enter()
			if keep(r) {
				return out(r)
			}
			return nil
		}
	})))
}
