package stream

import (
	"iter"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// FlatMapRecordValues is FlatMapValues for functions that see the whole record, including
// tombstones. A value yielded with false becomes a tombstone.
//
//	steps := stream.FlatMapRecordValues(users, func(r stream.Record[string, User]) iter.Seq2[string, bool] {
//		return func(yield func(string, bool) bool) {
//			_ = !r.Tombstone && yield(r.Value.Name, true) || yield("", false)
//		}
//	})
func FlatMapRecordValues[K, V, V2 any](s KStream[K, V], f func(Record[K, V]) iter.Seq2[V2, bool]) KStream[K, V2] {
	return result[K, V2](unary(s, "stream.FlatMapRecordValues", "flat-map-values", f,
		func(site wire.Site, out wire.Outlet[K, V2]) wire.Outlet[K, V] {
			emitter := &flatMapEmitter[K, V, K, V2]{site: site, out: out}
			yield := func(v V2, ok bool) bool {
				if !ok {
					return emitter.emit(tombstone[V2](emitter.record))
				}
				return emitter.emit(topology.WithValue(emitter.record, v))
			}
			return func(r Record[K, V]) error {
				site.Enter()
				if seq := f(r); seq != nil {
					emitter.begin(r)
					seq(yield)
				}
				return emitter.err
			}
		}))
}
