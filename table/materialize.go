package table

import (
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/store"
)

// Materialize keeps t in a store of that name, so that it can be queried and read without computing its rows again. Its changes
// are those of t.
//
// Options: InMemory, NoChangelog, TopicConfig, UntilCommit, Versions.
func Materialize[K, V any](t KTable[K, V], name string, opts ...store.Option) KTable[K, V] {
	n, s := stored[K, V](nil, "table.Materialize", "materialize", name, opts, versionOptions, handle(t).Out())
	if n == nil {
		return KTable[K, V]{}
	}
	n.Demand = func() {
		up := plan.TableOf(n.Input(0))
		n.Table.Filtered = up.Filtered && !up.Versioned
	}
	n.Emit = func(c *plan.Compile) error {
		g := &graph.Node{}
		if err := upserts[K, V](c, n, s, g, func(_ graph.Env, _ *graph.Node, out wire.TableOutlet[K, V]) any { return out }); err != nil {
			return err
		}
		if err := c.Add(n.Name(), g, n.Input(0)); err != nil {
			return err
		}
		plan.GivesTable[K, V](c, 0, g, "")
		return nil
	}
	return result[K, V](n.KeepKey(0).KeepValue(0))
}
