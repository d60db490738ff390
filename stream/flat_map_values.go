package stream

import (
	"iter"

	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// FlatMapValues makes each value into any number of values with f: records that share its key, time and headers. Tombstones pass by f.
//
//	words := stream.FlatMapValues(lines, strings.FieldsSeq)
func FlatMapValues[K, V, V2 any](s KStream[K, V], f func(V) iter.Seq[V2]) KStream[K, V2] {
	return result[K, V2](step(s, "stream.FlatMapValues", "flat-map-values", f, func(at site, out wire.Outlet[K, V2]) wire.Outlet[K, V] {
		x := &spread[K, V, K, V2]{at: at, out: out}
		yield := func(v V2) bool { return x.send(topology.WithValue(x.of, v)) }
		return func(r Record[K, V]) error {
			at.enter()
			if r.Tombstone {
				return out(tombstone[V2](r))
			}
			if seq := f(r.Value); seq != nil {
				x.begin(r)
				seq(yield)
			}
			return x.err
		}
	}))
}
