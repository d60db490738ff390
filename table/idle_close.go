package table

import (
	"time"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/topology"
)

// idleCloser closes windows by the wall clock while no records arrive.
type idleCloser[K, V any] struct {
	site        wire.Site
	aggregation windowedAggregate[K, V]
	after       int64
	lastRecord  int64 // when the last record came, on the wall clock
}

// closeWhenIdle returns the inlet in, extended so that windows are closed when no record has
// arrived for the given time. It checks four times in that time, so windows are closed at most a
// quarter of it too late.
func closeWhenIdle[K, V any](
	n *graph.Node, env graph.Env, f windowedAggregate[K, V], after time.Duration, in wire.Outlet[K, V],
) wire.Outlet[K, V] {
	closer := &idleCloser[K, V]{site: wire.NewSite(n, env), aggregation: f, after: after.Milliseconds(),
		lastRecord: env.Now().UnixMilli()}
	env.Schedule(n, graph.WallClock, max(after/4, time.Millisecond), closer.check)
	return func(r topology.Record[K, V]) error {
		closer.lastRecord = env.Now().UnixMilli()
		return in(r)
	}
}

// check advances the operator's stream time if that closes a window. It must not advance it for
// nothing: each new stream time is committed, so an idle task would commit for ever.
func (c *idleCloser[K, V]) check(now int64) error {
	// Records that wait on the broker may belong to the windows: after a long stop, closing them now
	// would make all of these records late.
	if !c.site.Env.CaughtUp() {
		c.lastRecord = now
		return nil
	}
	streamTime := now - c.after
	if streamTime < c.lastRecord || !c.aggregation.WouldClose(streamTime) {
		return nil
	}
	c.site.Resume()
	// Results that are sent on close are made from an input record. Here there is none, so they get an
	// empty source.
	r := topology.Record[K, V]{Time: time.UnixMilli(streamTime)}.From(topology.Source{Partition: -1, Offset: -1})
	return c.aggregation.AdvanceTime(r)
}
