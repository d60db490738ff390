// Package join has every join.
package join

import (
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// StreamTable joins each record of s with the row that t has of its key at that moment, and drops it, uncounted, when there is none.
// Only records of s give results: with the record's key, time and headers, even where the row is newer. If keys have changed since s
// was read, s goes through the topic <application>-<name>-repartition first. Records without a key or a value are dropped and
// counted.
//
// The topics of both sides must have the same number of partitions; that is checked at the start. Within a task the record with
// the lower time comes first, as far as both are there.
func StreamTable[K, V, T, R any](s stream.KStream[K, V], t table.KTable[K, T], name string, f func(v V, row T) R, opts ...TableOption) stream.KStream[K, R] {
	n := lookup(s, t, "join.StreamTable", name, false, opts, func(v V, row T, _ bool) R { return f(v, row) })
	return result[K, R](n.Funcs(f))
}
