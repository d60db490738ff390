package join

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// StreamStreamOuter is StreamStreamLeft for both sides: a record of right without a partner has a
// result, too. Its window has closed when stream time is greater than the sum of its time, before
// and grace. At least one of left and right is present in each result.
//
// The stores are <name>-outer-this-join-store, <name>-outer-other-join-store and, for waiting
// records, <name>-outer-shared-join-store.
func StreamStreamOuter[K, L, R, O any](
	left stream.KStream[K, L], right stream.KStream[K, R], w window.Join, name string,
	f func(left Maybe[L], right Maybe[R]) O, opts ...store.Option,
) stream.KStream[K, O] {
	join := streamStream[K, L, R, O]{opname: "join.StreamStreamOuter", name: name, window: w, options: opts,
		pair:       func(left L, right R) O { return f(Maybe[L]{left, true}, Maybe[R]{right, true}) },
		leftAlone:  func(left L) O { return f(Maybe[L]{left, true}, Maybe[R]{}) },
		rightAlone: func(right R) O { return f(Maybe[L]{}, Maybe[R]{right, true}) }}
	return result[K, O](join.node(left, right).CheckFuncs(f))
}
