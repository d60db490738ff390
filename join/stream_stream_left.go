package join

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// StreamStreamLeft is StreamStream with a result also for each record of left without a partner,
// for which f is called with ok false.
//
// Such a record waits until its window has closed: until stream time is greater than the sum of its
// time, after and grace. The next record of either side that is not late then causes its result,
// which has the time of the waiting record and the headers of that next one. If no more records
// arrive, the result is not sent. A record whose window, without grace, has already passed when it
// arrives has its result at once, and may still get a partner later, as in Kafka Streams. When one
// record of a key and time gets a partner, all records of that key and time stop waiting.
//
// Records of left without a key have their results at once; they also pass the repartition topic.
//
// The stores are <name>-this-join-store, <name>-outer-other-join-store and, for waiting records,
// <name>-left-shared-join-store.
func StreamStreamLeft[K, L, R, O any](
	left stream.KStream[K, L], right stream.KStream[K, R], w window.Join, name string,
	f func(left L, right R, ok bool) O, opts ...store.Option,
) stream.KStream[K, O] {
	var none R
	join := streamStream[K, L, R, O]{opname: "join.StreamStreamLeft", name: name, window: w, options: opts,
		pair:      func(left L, right R) O { return f(left, right, true) },
		leftAlone: func(left L) O { return f(left, none, false) }}
	return result[K, O](join.node(left, right).CheckFuncs(f))
}
