package table

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// idling has the clock on the wall close windows while no records come.
type idling[K, V any] struct {
	node  *graph.Node
	env   graph.Env
	place *graph.Place
	f     folder[K, V]
	after int64
	since int64 // when the last record came, on the wall clock
}

// idle returns in with windows closed when it has had no record for that long. It looks four times in that time, so that they are closed
// a quarter late at most.
func idle[K, V any](n *graph.Node, env graph.Env, f folder[K, V], after time.Duration, in wire.Outlet[K, V]) wire.Outlet[K, V] {
	x := &idling[K, V]{node: n, env: env, place: graph.PlaceOf(env), f: f, after: after.Milliseconds(), since: env.Now().UnixMilli()}
	env.Schedule(n, graph.WallClock, max(after/4, time.Millisecond), x.look)
	return func(r topology.Record[K, V]) error {
		x.since = env.Now().UnixMilli()
		return in(r)
	}
}

// look moves the operator's stream time if that closes something. Moved for its own sake, it would be committed again and again.
func (x *idling[K, V]) look(now int64) error {
	if !x.env.CaughtUp() {
		x.since = now
		return nil
	}
	at := now - x.after
	if at < x.since || !x.f.Closes(at) {
		return nil
	}
	x.place.Node = x.node
	r := topology.Record[K, V]{Time: time.UnixMilli(at)}.From(topology.Source{Partition: -1, Offset: -1})
	return x.f.See(r)
}
