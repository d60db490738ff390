package join

import (
	"errors"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/interchange"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/rowserde"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/topology"
)

// subscribe makes the step of the left table's changes.
func (x *foreignKey[K, L, FK, R, O]) subscribe(c *plan.Compile) (plan.Out, error) {
	g := &graph.Node{Op: "foreign-key-subscribe", Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
		topic := graph.FullName(env, x.registration())
		// The key comes back as that of the answer, so it is written as one.
		key, err := rowserde.ForTopic(x.with.key, graph.FullName(env, x.response()), true)
		value, err2 := rowserde.ForTopic(x.with.left, topic+"-vh", false)
		fk, err3 := rowserde.ForTopic(x.with.foreignKey, topic+"-fk", true)
		if err := errors.Join(err, err2, err3); err != nil {
			return nil, err
		}
		s := &op.Subscribe[K, L, FK]{
			ForeignKey: x.key, Left: x.left, Equal: fk.Equal, Key: key.Encode, Value: value.Encode, Partition: env.Task().Partition,
		}
		return subscribeInlet(s, n, env, outs[0].(wire.Outlet[FK, interchange.Subscription])), nil
	}}
	if err := c.Add(x.name+"-subscription-registration-processor", g, x.l); err != nil {
		return plan.Out{}, err
	}
	return x.cross(c, plan.Inner[FK, interchange.Subscription](c, g))
}

func subscribeInlet[K, L, FK any](s *op.Subscribe[K, L, FK], n *graph.Node, env graph.Env, out wire.Outlet[FK, interchange.Subscription]) wire.TableOutlet[K, L] {
	place := graph.PlaceOf(env)
	return func(c wire.Change[K, L]) error {
		if c.Stale {
			env.Drop(n, graph.Stale)
			return nil
		}
		place.Node = n
		m, err := s.Change(c)
		if err != nil {
			return refused(env, n, &op.RecordError{Err: err})
		}
		if m.Refused {
			env.Drop(n, graph.NoForeignKey)
		}
		for i := range m.N {
			if err := out(m.Messages[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// answer makes the steps in the tasks of the right table: one that keeps subscriptions, one that answers them, and one that answers them
// again when the right row changes.
func (x *foreignKey[K, L, FK, R, O]) answer(c *plan.Compile, subscribed plan.Out) (plan.Out, error) {
	receive := &graph.Node{Op: "foreign-key-receive", Stores: []string{x.store()}, Wire: x.wireReceive}
	if err := c.Add(x.name+"-subscription-receive", receive, subscribed); err != nil {
		return plan.Out{}, err
	}
	getter, stores := plan.GetterOf[FK, R](x.r)
	lookup := &graph.Node{Op: "foreign-key-lookup", Stores: stores, Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
		a, err := x.answering(env)
		if err != nil {
			return nil, err
		}
		if a.Get, err = getter(env); err != nil {
			return nil, err
		}
		return lookupForeign(a, n, env, outs[0].(wire.Outlet[[]byte, interchange.Response[[]byte]])), nil
	}}
	if err := c.Add(x.name+"-subscription-join-foreign", lookup, plan.Inner[FK, interchange.Subscription](c, receive)); err != nil {
		return plan.Out{}, err
	}
	changed := &graph.Node{Op: "foreign-key-change", Stores: []string{x.store()}, Wire: x.wireChanged}
	if err := c.Add(x.name+"-foreign-join-subscription", changed, x.r); err != nil {
		return plan.Out{}, err
	}
	return x.crossBack(c,
		plan.Inner[[]byte, interchange.Response[[]byte]](c, lookup), plan.Inner[[]byte, interchange.Response[[]byte]](c, changed))
}

func (x *foreignKey[K, L, FK, R, O]) answering(env graph.Env) (*op.Answer[FK, R], error) {
	value, err := rowserde.ForTopic(x.with.right, graph.FullName(env, x.response()), false)
	if err != nil {
		return nil, err
	}
	return &op.Answer[FK, R]{Value: value.Encode}, nil
}

func (x *foreignKey[K, L, FK, R, O]) subscriptions(env graph.Env) (*op.Subscriptions[FK], error) {
	h, err := env.Store(x.store())
	if err != nil {
		return nil, err
	}
	fk, err := rowserde.ForTopic(x.with.foreignKey, graph.FullName(env, x.registration())+"-fk", true)
	return &op.Subscriptions[FK]{Name: x.store(), Store: h.Bytes, ForeignKey: fk.Encode}, err
}

func (x *foreignKey[K, L, FK, R, O]) wireReceive(n *graph.Node, env graph.Env, outs []any) (any, error) {
	s, err := x.subscriptions(env)
	if err != nil {
		return nil, err
	}
	out, place := outs[0].(wire.Outlet[FK, interchange.Subscription]), graph.PlaceOf(env)
	return wire.Outlet[FK, interchange.Subscription](func(r topology.Record[FK, interchange.Subscription]) error {
		place.Node = n
		switch {
		case r.Tombstone: // another program has written to the topic
			env.Drop(n, graph.NoValue)
			return nil
		case r.NoKey && r.Value.Instruction != interchange.Answered:
			env.Drop(n, graph.NoKey)
			return nil
		case !r.NoKey:
			if err := s.Receive(r.Key, r.Value, r.Time.UnixMilli()); err != nil {
				return refused(env, n, err)
			}
		}
		return out(r)
	}), nil
}

func lookupForeign[FK, R any](a *op.Answer[FK, R], n *graph.Node, env graph.Env, out wire.Outlet[[]byte, interchange.Response[[]byte]]) wire.Outlet[FK, interchange.Subscription] {
	place := graph.PlaceOf(env)
	return func(r topology.Record[FK, interchange.Subscription]) error {
		place.Node = n
		m, ok, err := a.Subscription(r)
		switch {
		case err != nil:
			return refused(env, n, err)
		case !ok:
			return nil
		}
		return out(m)
	}
}

func (x *foreignKey[K, L, FK, R, O]) wireChanged(n *graph.Node, env graph.Env, outs []any) (any, error) {
	s, err := x.subscriptions(env)
	if err != nil {
		return nil, err
	}
	a, err := x.answering(env)
	if err != nil {
		return nil, err
	}
	out, place := outs[0].(wire.Outlet[[]byte, interchange.Response[[]byte]]), graph.PlaceOf(env)
	return wire.TableOutlet[FK, R](func(c wire.Change[FK, R]) error {
		if c.Stale {
			env.Drop(n, graph.Stale)
			return nil
		}
		place.Node = n
		if err := a.Change(c, s, out); err != nil {
			return refused(env, n, err)
		}
		return nil
	}), nil
}

// backToItsRow chooses the partition of an answer: that of the left row that asked.
func backToItsRow(r op.Responding, _ int) int {
	if r.Value.Partition < 0 {
		return int(graph.ByKey)
	}
	return int(r.Value.Partition)
}

// resolve makes the step of the answers, whose results are output 0 of the call.
func (x *foreignKey[K, L, FK, R, O]) resolve(c *plan.Compile, answered plan.Out) error {
	getter, stores := plan.GetterOf[K, L](x.l)
	g := &graph.Node{Op: "foreign-key-resolve", Stores: stores, Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
		get, err := getter(env)
		if err != nil {
			return nil, err
		}
		value, err := rowserde.ForTopic(x.with.left, graph.FullName(env, x.registration())+"-vh", false)
		if err != nil {
			return nil, err
		}
		resolve := &op.Resolve[K, L, R, O]{Get: get, Value: value.Encode, Left: x.left, Join: x.join}
		return resolveInlet(resolve, n, env, outs[0].(wire.Outlet[K, O])), nil
	}}
	if err := c.Add(x.name+"-subscription-response-resolver", g, answered); err != nil {
		return err
	}
	plan.Gives[K, O](c, 0, g, "")
	return nil
}

func resolveInlet[K, L, R, O any](x *op.Resolve[K, L, R, O], n *graph.Node, env graph.Env, out wire.Outlet[K, O]) wire.Outlet[K, interchange.Response[R]] {
	place := graph.PlaceOf(env)
	return func(r topology.Record[K, interchange.Response[R]]) error {
		place.Node = n
		switch { // another program has written to the topic
		case r.NoKey:
			env.Drop(n, graph.NoKey)
			return nil
		case r.Tombstone:
			env.Drop(n, graph.NoValue)
			return nil
		}
		joined, current, err := x.Response(r)
		switch {
		case err != nil:
			return refused(env, n, err)
		case !current:
			env.Drop(n, graph.StaleAnswer)
			return nil
		}
		return out(joined)
	}
}
