package join

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// StreamStreamOuter is StreamStreamLeft for both sides: a record of r that finds no partner has a result, too. Its window has closed when
// stream time is greater than its time, before and grace together. One of l and r is there in each result.
//
// The stores are <name>-outer-this-join-store, <name>-outer-other-join-store and, for those that wait,
// <name>-outer-shared-join-store.
func StreamStreamOuter[K, L, R, O any](l stream.KStream[K, L], r stream.KStream[K, R], w window.Join, name string, f func(l Maybe[L], r Maybe[R]) O, opts ...store.Option) stream.KStream[K, O] {
	j := windowed[K, L, R, O]{opname: "join.StreamStreamOuter", name: name, window: w, options: opts,
		pair:  func(l L, r R) O { return f(Maybe[L]{l, true}, Maybe[R]{r, true}) },
		left:  func(l L) O { return f(Maybe[L]{l, true}, Maybe[R]{}) },
		right: func(r R) O { return f(Maybe[L]{}, Maybe[R]{r, true}) }}
	return result[K, O](j.node(l, r).Funcs(f))
}
