package table

import (
	"time"

	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/store"
)

// Throttle returns t with at most one change of each key in every interval of the wall clock. At
// the end of an interval it sends the newest change of each key that has changed, with the time and
// headers of its own record, in the order of the times at which the keys first changed. Unlike
// SuppressFor it needs no later records to send: a change waits for one interval at most,
// even if the input falls silent. A row that is created and deleted within one interval is not
// sent. When changes are sent depends on the clock, and so do results computed from them.
//
// Waiting changes are in a store of the given name and survive a crash. A join that
// reads a row of the result gets what has been sent.
//
// Options: InMemory, NoChangelog, TopicConfig.
func Throttle[K, V any](t KTable[K, V], every time.Duration, name string, opts ...store.Option) KTable[K, V] {
	node, settings := suppressNode(t, "table.Throttle", name, opts)
	if node == nil {
		return KTable[K, V]{}
	}
	if every < time.Millisecond {
		node.Errorf("it sends every %v; the shortest interval is 1ms", every)
	}
	// A grouping of the result removes the value that was sent. The other output exists to remove
	// what Kafka Streams removes behind its suppress, and it has no step like this one.
	node.Table.UnsentOutput = nil
	node.AddToGraph = func(c *plan.Compiler) error {
		flushEvery := func(
			suppress *operator.Suppress[K, V], node *graph.Node, env graph.Env, send wire.TableOutlet[K, V],
		) wire.TableOutlet[K, V] {
			suppress.DropTransient = true
			env.Schedule(node, graph.WallClock, every, func(int64) error { return suppress.Flush(send) })
			return suppress.Add
		}
		return addBuffered(c, node, settings, flushEvery)
	}
	return result[K, V](node)
}
