package join

import (
	"errors"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/topology"
)

// lookup makes the node of a join of a stream with a table.
func lookup[K, V, T, R any](s stream.KStream[K, V], t table.KTable[K, T], opname, name string, left bool, opts []TableOption, f func(V, T, bool) R) *plan.Node {
	in, rows := plan.Stream[K, V](s).Handle(), plan.KTable[K, T](t).Handle().Out()
	n := plan.New[K, R](nil, opname, "join", in.Out(), rows)
	if n == nil {
		return nil
	}
	n.GiveName(name)
	n.KeyChanged, n.CanFail = false, true
	settings, err := readTableOptions(opts)
	n.Mistake(err)
	n.Demand = func() { plan.TableOf(rows).AskRows() }
	n.Emit = func(c *plan.Compile) error {
		if err := settings.check(plan.TableOf(rows)); err != nil {
			return err
		}
		// A left join wants records without a key too: they go through the repartition topic to any partition.
		from, err := plan.PartitionedBy(c, in, plan.Repartition[K, V]{Name: name, KeepNoKey: left})
		if err != nil {
			return err
		}
		wait, err := newPatience(c, in, name, settings)
		if err != nil {
			return err
		}
		getter, stores := plan.GetterOf[K, T](rows)
		asOf := plan.AsOfOf[K, T](rows)
		if wait != nil {
			stores = append([]string{wait.store}, stores...)
		}
		g := &graph.Node{Stores: stores, Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
			get, err := getter(env)
			if err != nil {
				return nil, err
			}
			l := &op.Lookup[K, V, T, R]{Get: get, Left: left, Join: f}
			if asOf != nil {
				if l.AsOf, err = asOf(env); err != nil {
					return nil, err
				}
			}
			inlet := lookupInlet(l, n, env, outs[0].(wire.Outlet[K, R]))
			if wait != nil {
				return wait.before(inlet, n, env)
			}
			return inlet, nil
		}}
		if err := c.Add(name, g, from); err != nil {
			return err
		}
		c.Together(from, rows)
		plan.Gives[K, R](c, 0, g, "")
		return nil
	}
	return n.KeepKey(0)
}

func lookupInlet[K, V, T, R any](l *op.Lookup[K, V, T, R], n *graph.Node, env graph.Env, out wire.Outlet[K, R]) wire.Outlet[K, V] {
	place := graph.PlaceOf(env)
	return func(r topology.Record[K, V]) error {
		place.Node = n
		joined, dropped, err := l.Record(r)
		if err != nil {
			return refused(env, n, err)
		}
		switch dropped {
		case op.NoKey:
			env.Drop(n, graph.NoKey)
		case op.NoValue:
			env.Drop(n, graph.NoValue)
		case op.Joined:
			return out(joined)
		}
		return nil
	}
}

// refused deals with a row that could not be read: a key that cannot be encoded is the record's failure, the rest is fatal.
func refused(env graph.Env, n *graph.Node, err error) error {
	if r := (*op.RecordError)(nil); errors.As(err, &r) {
		_, err = graph.Failed(env, n, 1, r.Err)
	}
	return err
}

// result makes the KStream of a node.
func result[K, V any](n *plan.Node) stream.KStream[K, V] {
	return stream.KStream[K, V](plan.NewStream(plan.Result[K, V](n)))
}
