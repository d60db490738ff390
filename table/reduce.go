package table

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
)

// Reduce returns a table with one value for each key, which f computes from the key's values. The
// first value becomes the row unchanged. The rows are in a store of the given name. Everything else
// is as in Count.
//
// f may change agg and return it if values are pointers, maps or slices: nothing else refers to it.
// It must not change v, which other steps may share.
func Reduce[K, V any](g stream.Grouped[K, V], name string, f func(agg, v V) V, opts ...store.Option) KTable[K, V] {
	node := aggregateNode(g, "table.Reduce", "reduce", name, opts, nil, func(_ K, v, agg V, row bool) V {
		if !row {
			return v
		}
		return f(agg, v)
	})
	return result[K, V](node.InheritValueSerde(0).CheckFuncs(f))
}
