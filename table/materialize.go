package table

import (
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/store"
)

// Materialize puts t in a store of the given name. Queries can read the store, and joins read it
// instead of computing rows again. The changes are those of t.
//
// Options: InMemory, NoChangelog, TopicConfig, UntilCommit, Versions.
func Materialize[K, V any](t KTable[K, V], name string, opts ...store.Option) KTable[K, V] {
	node, settings := storedNode[K, V](nil, "table.Materialize", "materialize", name, opts, versionOptions,
		handle(t).Out())
	if node == nil {
		return KTable[K, V]{}
	}
	from := node.Input(0)
	node.Require = func() {
		upstream := plan.TableOf(from)
		node.Table.Filtered = upstream.Filtered && !upstream.Versioned
		if node.Table.Filtered && upstream.UnfilteredOutput != nil {
			// A filter of a table with a store sends no tombstone for a row that was not in its result. The
			// rows of that table may differ from those stored here, for example by the value that an
			// aggregation starts with. So take all changes, and compare with the rows stored here.
			node.Table.OldValues, from = upstream.OldValues, upstream.UnfilteredOutput()
		}
	}
	node.AddToGraph = func(compiler *plan.Compiler) error {
		graphNode := &graph.Node{}
		inlet := func(env graph.Env, node *graph.Node, out wire.TableOutlet[K, V]) any {
			return wire.CountedTable(wire.NewSite(node, env), out)
		}
		if err := wireUpserts[K, V](compiler, node, settings, graphNode, inlet); err != nil {
			return err
		}
		if err := compiler.AddNode(node.Name(), graphNode, from); err != nil {
			return err
		}
		plan.SetTableOutput[K, V](compiler, 0, graphNode, "")
		return nil
	}
	return result[K, V](node.InheritKeySerde(0).InheritValueSerde(0))
}
