package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// MapRecordValues is MapValues for functions that see the whole record, including tombstones. If f
// returns ok false, the result is a tombstone.
//
//	live := stream.MapRecordValues(users, func(r stream.Record[string, User]) (name string, ok bool) {
//		return r.Value.Name, !r.Tombstone && !r.Value.Deleted
//	})
func MapRecordValues[K, V, V2 any](s KStream[K, V], f func(Record[K, V]) (v V2, ok bool)) KStream[K, V2] {
	return result[K, V2](unary(s, "stream.MapRecordValues", "map-values", f,
		func(site wire.Site, out wire.Outlet[K, V2]) wire.Outlet[K, V] {
			return func(r Record[K, V]) error {
				site.Enter()
				v, ok := f(r)
				if !ok {
					return out(tombstone[V2](r))
				}
				return out(topology.WithValue(r, v))
			}
		}))
}
