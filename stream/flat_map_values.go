package stream

import (
	"iter"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/topology"
)

// FlatMapValues replaces each record by one record for each value that f yields, with the same key,
// time and headers. Tombstones pass without a call of f.
//
//	words := stream.FlatMapValues(lines, strings.FieldsSeq)
func FlatMapValues[K, V, V2 any](s KStream[K, V], f func(V) iter.Seq[V2]) KStream[K, V2] {
	return result[K, V2](unary(s, "stream.FlatMapValues", "flat-map-values", f,
		func(site wire.Site, out wire.Outlet[K, V2]) wire.Outlet[K, V] {
			emitter := &flatMapEmitter[K, V, K, V2]{site: site, out: out}
			yield := func(v V2) bool { return emitter.emit(topology.WithValue(emitter.record, v)) }
			return func(r Record[K, V]) error {
				site.Enter()
				if r.Tombstone {
					return out(tombstone[V2](r))
				}
				if seq := f(r.Value); seq != nil {
					emitter.begin(r)
					seq(yield)
				}
				return emitter.err
			}
		}))
}
