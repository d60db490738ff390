package stream

import (
	"github.com/millstream-go/millstream/internal/wire"
)

// MapRecords changes each record with f, which sees tombstones and records without a key and may make both. A record made afresh, not
// from the one given, has no headers, and its zero time stands for that of the one given. What follows and needs records in their
// key's partition goes through a repartition topic.
//
//	byPhone := stream.MapRecords(users, func(r stream.Record[string, User]) stream.Record[string, User] {
//		if r.Tombstone {
//			return r
//		}
//		return stream.WithKey(r, r.Value.Phone)
//	})
func MapRecords[K, V, K2, V2 any](s KStream[K, V], f func(Record[K, V]) Record[K2, V2]) KStream[K2, V2] {
	return result[K2, V2](rekeyed(step(s, "stream.MapRecords", "map", f, func(at site, out wire.Outlet[K2, V2]) wire.Outlet[K, V] {
		return func(r Record[K, V]) error {
			at.enter()
			return out(derive(r, f(r)))
		}
	})))
}
