package join

import (
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

// lookupNode makes the node of a join of a stream with a table.
func lookupNode[K, V, T, R any](
	s stream.KStream[K, V], t table.KTable[K, T], opname, name string, left bool, opts []TableOption,
	join func(V, T, bool) R,
) *plan.Node {
	in, rows := plan.Stream[K, V](s).Handle(), plan.KTable[K, T](t).Handle().Out()
	node := plan.New[K, R](nil, opname, "join", in.Out(), rows)
	if node == nil {
		return nil
	}
	node.FixName(name)
	node.KeyChanged, node.CanFail, node.JoinsNoKey = false, true, left
	settings, err := readTableOptions(opts)
	node.AddError(err)
	node.Require = func() { plan.TableOf(rows).RequireRows() }
	node.AddToGraph = func(compiler *plan.Compiler) error {
		if err := settings.check(plan.TableOf(rows)); err != nil {
			return err
		}
		// A left join has results for records without a key, too: they go through the repartition topic, to
		// some partition.
		from, err := plan.PartitionedBy(compiler, in, plan.Repartition[K, V]{Name: name, IncludeNoKey: left})
		if err != nil {
			return err
		}
		grace, err := newGraceBuffer(compiler, in, name, settings)
		if err != nil {
			return err
		}
		getter, stores := plan.GetterOf[K, T](rows)
		asOf := plan.VersionsOf[K, T](rows)
		if grace != nil {
			stores = append([]string{grace.store}, stores...)
		}
		graphNode := &graph.Node{Stores: stores, TracksTime: grace != nil,
			Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
				get, err := getter(env)
				if err != nil {
					return nil, err
				}
				joiner := &operator.Lookup[K, V, T, R]{Get: get, Left: left, Join: join}
				if asOf != nil {
					if joiner.AsOf, err = asOf(env); err != nil {
						return nil, err
					}
				}
				site, out := wire.NewSite(node, env), outs[0].(wire.Outlet[K, R])
				// The row is looked up when a record leaves the buffer, not when it enters: that is what the grace
				// period is for.
				if grace != nil {
					return grace.delay(lookupInlet(joiner, site.Uncounted(), out), node, env)
				}
				return lookupInlet(joiner, site, out), nil
			}}
		if err := compiler.AddNode(name, graphNode, from); err != nil {
			return err
		}
		compiler.CoPartition(from, rows)
		plan.SetOutput[K, R](compiler, 0, graphNode, "")
		return nil
	}
	return node.InheritKeySerde(0)
}

func lookupInlet[K, V, T, R any](
	joiner *operator.Lookup[K, V, T, R], site wire.Site, out wire.Outlet[K, R],
) wire.Outlet[K, V] {
	return func(r topology.Record[K, V]) error {
		site.Enter()
		joined, outcome, err := joiner.Record(r)
		if err != nil || outcome != operator.Joined {
			return endRecord(site, outcome, err)
		}
		return out(joined)
	}
}

// result makes the KStream of a node.
func result[K, V any](n *plan.Node) stream.KStream[K, V] {
	return stream.KStream[K, V](plan.NewStream(plan.Result[K, V](n)))
}
