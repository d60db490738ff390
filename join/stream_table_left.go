package join

import (
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// StreamTableLeft is StreamTable for all records of s: ok tells whether t has a row. A record without a key has none, and is joined so;
// it passes the repartition topic too.
func StreamTableLeft[K, V, T, R any](s stream.KStream[K, V], t table.KTable[K, T], name string, f func(v V, row T, ok bool) R, opts ...TableOption) stream.KStream[K, R] {
	return result[K, R](lookup(s, t, "join.StreamTableLeft", name, true, opts, f).Funcs(f))
}
