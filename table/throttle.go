package table

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/store"
)

// Throttle returns t with at most one change of each key in every interval of the wall clock: what has changed in an interval is sent at its end, of each
// key the newest change with the time and the headers of its own record, in the order of the times at which keys changed first. Unlike
// SuppressFor it needs no later records to send: what it holds back comes out at most every later, also when the input falls silent. A
// row that comes and goes in one interval is not sent. What comes when depends on the clock, so results computed from it do, too.
//
// What is held back lies in a store of that name and survives a crash. A join that reads a row of the result gets what has been sent.
//
// Options: InMemory, NoChangelog, TopicConfig.
func Throttle[K, V any](t KTable[K, V], every time.Duration, name string, opts ...store.Option) KTable[K, V] {
	n, s := suppressed(t, "table.Throttle", name, opts)
	if n == nil {
		return KTable[K, V]{}
	}
	if every < time.Millisecond {
		n.Errorf("it sends every %v; the shortest interval is 1ms", every)
	}
	n.Emit = func(c *plan.Compile) error {
		return emitBuffered(c, n, s, func(x *op.Suppress[K, V], n *graph.Node, env graph.Env, send wire.TableOutlet[K, V]) wire.TableOutlet[K, V] {
			x.Net, x.Unsent = true, false
			env.Schedule(n, graph.WallClock, every, func(int64) error { return x.Flush(send) })
			return x.Keep
		})
	}
	return result[K, V](n)
}
