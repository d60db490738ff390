package stream

import (
	"github.com/millstream-go/millstream/internal/wire"
)

// Filter passes on the records for which keep is true. Tombstones pass: keep does not see them. (Kafka Streams calls its predicate
// with null there: use FilterRecords.)
//
//	big := stream.Filter(orders, func(_ string, o Order) bool { return o.Cents > 10_000 })
func Filter[K, V any](s KStream[K, V], keep func(K, V) bool) KStream[K, V] {
	return result[K, V](passes(step(s, "stream.Filter", "filter", keep, func(at site, out wire.Outlet[K, V]) wire.Outlet[K, V] {
		return func(r Record[K, V]) error {
			at.enter()
			if r.Tombstone || keep(r.Key, r.Value) {
				return out(r)
			}
			return nil
		}
	})))
}
