package join

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// StreamStream joins each record of l with each record of r that has its key and lies in its window: a result for each pair, made when
// the second of the two comes.
//
// A result has the greater time of the two and the headers of the record that came second. Partners are taken in the order of their times,
// those of one time as they came. Records without a key or a value are dropped and counted.
//
// The records of both sides are kept for as long as their windows are open: before, after and grace together. Stream time is the
// greatest time of both sides and survives a restart. A record that is too late for its window is still joined with what is there
// of the other side, as in Kafka Streams, and counted if it is too old to be kept itself.
//
// The stores are <name>-this-join-store and <name>-other-join-store, both with changelogs; store.Name gives another name for name,
// store.InMemory, store.NoChangelog and store.TopicConfig apply to both. A side whose keys have changed since it was read goes through
// <application>-<name>-left-repartition or <application>-<name>-right-repartition first. The topics of both sides must have the same number
// of partitions; that is checked at the start.
//
// The serdes are those of l and r. A stream may be joined with itself; each record is joined with itself then, too.
func StreamStream[K, L, R, O any](l stream.KStream[K, L], r stream.KStream[K, R], w window.Join, name string, f func(l L, r R) O, opts ...store.Option) stream.KStream[K, O] {
	j := windowed[K, L, R, O]{opname: "join.StreamStream", name: name, window: w, options: opts,
		pair: func(l L, r R) O { return f(l, r) }}
	return result[K, O](j.node(l, r).Funcs(f))
}
