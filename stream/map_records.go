package stream

import (
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
)

// MapRecords replaces each record by the one that f returns. f sees tombstones and records without
// a key, and may make both. A record that f makes from scratch, rather than from the given one, has
// no headers; if its time is zero it gets the time of the given record. Steps that follow and need
// records in the partition of their key use a repartition topic.
//
//	byPhone := stream.MapRecords(users, func(r stream.Record[string, User]) stream.Record[string, User] {
//		if r.Tombstone {
//			return r
//		}
//		return stream.WithKey(r, r.Value.Phone)
//	})
func MapRecords[K, V, K2, V2 any](s KStream[K, V], f func(Record[K, V]) Record[K2, V2]) KStream[K2, V2] {
	return result[K2, V2](changesKey(canFail(unary(s, "stream.MapRecords", "map", f,
		func(site wire.Site, out wire.Outlet[K2, V2]) wire.Outlet[K, V] {
			derived := func(r Record[K, V]) (Record[K2, V2], error) {
				site.Resume()
				return derive(r, f(r))
			}
			return func(r Record[K, V]) error {
				site.Enter()
				o, ok, err := graph.Try(site.Env, site.Node, graph.Processing, derived, r)
				if !ok {
					return err
				}
				return out(o)
			}
		}))))
}
