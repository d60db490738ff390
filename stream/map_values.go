package stream

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// MapValues changes each value with f. Keys stay, and so does the partition. Tombstones pass by f.
func MapValues[K, V, V2 any](s KStream[K, V], f func(V) V2) KStream[K, V2] {
	n := step(s, "stream.MapValues", "map-values", func(_ *graph.Node, _ graph.Env, out wire.Outlet[K, V2]) wire.Outlet[K, V] {
		return func(r Record[K, V]) error {
			var v2 V2
			if !r.Tombstone {
				v2 = f(r.Value)
			}
			o := topology.WithValue(r, v2)
			o.Tombstone = r.Tombstone
			return out(o)
		}
	})
	return result[K, V2](n.KeepKey(0).KeepValue(0))
}
