// Package join has every join.
package join

import (
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
)

// StreamTable joins each record of s with the row that t has for its key at that moment, and drops
// the record, uncounted, if there is none. Only records of s have results, with their own key, time
// and headers, even if the row is newer. If keys have changed since s was read, s first goes
// through the topic <application>-<name>-repartition. Records without a key or a value are dropped
// and counted.
//
// The topics of both sides must have the same number of partitions; the start checks it. Within a
// task, the record with the lower time is processed first, as far as records of both sides have
// arrived.
func StreamTable[K, V, T, R any](
	s stream.KStream[K, V], t table.KTable[K, T], name string, f func(v V, row T) R, opts ...TableOption,
) stream.KStream[K, R] {
	n := lookupNode(s, t, "join.StreamTable", name, false, opts, func(v V, row T, _ bool) R { return f(v, row) })
	return result[K, R](n.CheckFuncs(f))
}
