package join

import (
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// StreamTableLeft is StreamTable for all records of s: f is called with ok false if t has no row. A
// record without a key has no row and is joined as such; it also passes the repartition topic.
func StreamTableLeft[K, V, T, R any](
	s stream.KStream[K, V], t table.KTable[K, T], name string, f func(v V, row T, ok bool) R, opts ...TableOption,
) stream.KStream[K, R] {
	return result[K, R](lookupNode(s, t, "join.StreamTableLeft", name, true, opts, f).CheckFuncs(f))
}
