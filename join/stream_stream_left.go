package join

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// StreamStreamLeft is StreamStream with a result for each record of l that finds no partner, too: ok tells whether there is one.
//
// Such a record waits until its window has closed, which it has when stream time is greater than its time, after and grace
// together; the next record of either side that is not late sends it on, with its own time and the headers of that record. One that
// comes when its window has passed already, grace not counted, is sent on at once, and may still get a partner: so it is in Kafka Streams.
// Waiting ends for all records of one key and time when one of them gets a partner. If no more records come, nothing is sent on.
//
// Records of l without a key are sent on at once; they pass the repartition topic, too.
//
// The stores are <name>-this-join-store, <name>-outer-other-join-store and, for those that wait, <name>-left-shared-join-store.
func StreamStreamLeft[K, L, R, O any](l stream.KStream[K, L], r stream.KStream[K, R], w window.Join, name string, f func(l L, r R, ok bool) O, opts ...store.Option) stream.KStream[K, O] {
	var none R
	j := windowed[K, L, R, O]{opname: "join.StreamStreamLeft", name: name, window: w, options: opts,
		pair: func(l L, r R) O { return f(l, r, true) },
		left: func(l L) O { return f(l, none, false) }}
	return result[K, O](j.node(l, r).Funcs(f))
}
