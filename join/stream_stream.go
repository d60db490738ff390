package join

import (
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/window"
)

// StreamStream joins each record of left with each record of right that has its key and lies in its
// window. Each pair has one result, made when the second of the two records arrives.
//
// A result has the greater of the two times, and the headers of the record that arrived second. The
// partners of a record are joined in the order of their times; of partners with equal times, the
// one that arrived first is joined first. Records without a key or a value are dropped and counted.
//
// The records of both sides are stored as long as their windows are open: before, after and grace
// added up. Stream time is the greatest time of both sides and survives a restart. A record that is
// too late for its window is still joined with the stored records of the other side, as in Kafka
// Streams; it is counted if it is too old to be stored itself.
//
// The stores are <name>-this-join-store and <name>-other-join-store, both with changelogs.
// store.Name replaces name in these; store.InMemory, store.NoChangelog and store.TopicConfig apply
// to both. A side whose keys have changed since it was read first goes through
// <application>-<name>-left-repartition or <application>-<name>-right-repartition. The topics of
// both sides must have the same number of partitions; the start checks it.
//
// The serdes are those of left and right. A stream may be joined with itself; each record is then
// joined with itself, too.
func StreamStream[K, L, R, O any](
	left stream.KStream[K, L], right stream.KStream[K, R], w window.Join, name string, f func(left L, right R) O,
	opts ...store.Option,
) stream.KStream[K, O] {
	join := streamStream[K, L, R, O]{opname: "join.StreamStream", name: name, window: w, options: opts,
		pair: func(left L, right R) O { return f(left, right) }}
	return result[K, O](join.node(left, right).CheckFuncs(f))
}
