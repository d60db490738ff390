package stream

import (
	"iter"

	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// FlatMapRecordValues is FlatMapValues for functions that see the whole record, tombstones too, and may make tombstones: what is
// yielded with false is one.
//
//	steps := stream.FlatMapRecordValues(users, func(r stream.Record[string, User]) iter.Seq2[string, bool] {
//		return func(yield func(string, bool) bool) {
//			_ = !r.Tombstone && yield(r.Value.Name, true) || yield("", false)
//		}
//	})
func FlatMapRecordValues[K, V, V2 any](s KStream[K, V], f func(Record[K, V]) iter.Seq2[V2, bool]) KStream[K, V2] {
	return result[K, V2](step(s, "stream.FlatMapRecordValues", "flat-map-values", f, func(at site, out wire.Outlet[K, V2]) wire.Outlet[K, V] {
		x := &spread[K, V, K, V2]{at: at, out: out}
		yield := func(v V2, ok bool) bool {
			if !ok {
				return x.send(tombstone[V2](x.of))
			}
			return x.send(topology.WithValue(x.of, v))
		}
		return func(r Record[K, V]) error {
			at.enter()
			if seq := f(r); seq != nil {
				x.begin(r)
				seq(yield)
			}
			return x.err
		}
	}))
}
