package join

import (
	"errors"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/dsl/kswire"
	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/topology"
)

// addSubscribe adds the step that turns changes of the left table into subscriptions.
func (j *foreignKeyJoin[K, L, FK, R, O]) addSubscribe(compiler *plan.Compiler) (plan.Out, error) {
	graphNode := &graph.Node{Op: "foreign-key-subscribe",
		Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			site, topic := wire.NewSite(node, env), graph.FullName(env, j.registrationTopic())
			// The right side sends the left key back as the key of its response without decoding it, so it is
			// encoded for the topic of responses here. The suffixes are those of Kafka Streams, under which a
			// schema registry knows the serdes.
			key, err := codec.ForTopic(j.serdes.key, graph.FullName(env, j.responseTopic()), true,
				site.Produces(j.responseTopic()))
			value, err2 := codec.ForTopic(j.serdes.left, topic+"-vh", false, site.Produces(j.registrationTopic()))
			fk, err3 := codec.ForTopic(j.serdes.foreignKey, topic+"-fk", true, site.Produces(j.registrationTopic()))
			if err := errors.Join(err, err2, err3); err != nil {
				return nil, err
			}
			subscribe := &operator.Subscribe[K, L, FK]{
				ForeignKey: j.key, Left: j.keepLeft, Equal: fk.Equal, Key: key.Encode, Value: value.Encode,
				Partition: env.Task().Partition,
			}
			return subscribeInlet(subscribe, node, env, outs[0].(wire.Outlet[FK, kswire.Subscription])), nil
		}}
	if err := compiler.AddNode(j.name+"-subscription-registration-processor", graphNode, j.leftOut); err != nil {
		return plan.Out{}, err
	}
	return j.addRegistrationTopic(compiler, plan.AddInnerStream[FK, kswire.Subscription](compiler, graphNode))
}

func subscribeInlet[K, L, FK any](
	subscribe *operator.Subscribe[K, L, FK], node *graph.Node, env graph.Env, out wire.Outlet[FK, kswire.Subscription],
) wire.TableOutlet[K, L] {
	site := wire.NewSite(node, env)
	return func(change wire.Change[K, L]) error {
		site.Enter()
		// The row has a later version, which has subscribed already: the subscription of an older
		// one would replace it.
		if change.Stale {
			site.Drop(graph.Stale)
			return nil
		}
		messages, err := subscribe.Change(change)
		if err != nil {
			return retry.IgnoreSkipped(err)
		}
		if messages.NoForeignKey {
			site.Drop(graph.NoForeignKey)
		}
		for i := range messages.Count {
			if err := out(messages.Messages[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// addRespond adds the steps in the tasks of the right table: one stores subscriptions, one responds
// to them, and one responds to them again when the right row changes.
func (j *foreignKeyJoin[K, L, FK, R, O]) addRespond(compiler *plan.Compiler, subscriptions plan.Out) (plan.Out, error) {
	receive := &graph.Node{Op: "foreign-key-receive", Stores: []string{j.storeName()}, Wire: j.wireReceive}
	if err := compiler.AddNode(j.name+"-subscription-receive", receive, subscriptions); err != nil {
		return plan.Out{}, err
	}
	getter, stores := plan.GetterOf[FK, R](j.rightOut)
	lookup := &graph.Node{Op: "foreign-key-lookup", Stores: stores,
		Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			respond, err := j.newResponder(node, env)
			if err != nil {
				return nil, err
			}
			if respond.Get, err = getter(env); err != nil {
				return nil, err
			}
			return respondInlet(respond, node, env, outs[0].(wire.Outlet[[]byte, kswire.Response[[]byte]])), nil
		}}
	if err := compiler.AddNode(j.name+"-subscription-join-foreign", lookup,
		plan.AddInnerStream[FK, kswire.Subscription](compiler, receive)); err != nil {
		return plan.Out{}, err
	}
	// A change brings the right row with it: this step needs the subscriptions, and not the store
	// of the right table.
	changed := &graph.Node{Op: "foreign-key-change", Stores: []string{j.storeName()}, Wire: j.wireChanged}
	if err := compiler.AddNode(j.name+"-foreign-join-subscription", changed, j.rightOut); err != nil {
		return plan.Out{}, err
	}
	return j.addResponseTopic(compiler,
		plan.AddInnerStream[[]byte, kswire.Response[[]byte]](compiler, lookup),
		plan.AddInnerStream[[]byte, kswire.Response[[]byte]](compiler, changed))
}

func (j *foreignKeyJoin[K, L, FK, R, O]) newResponder(n *graph.Node, env graph.Env) (*operator.Answer[FK, R], error) {
	value, err := codec.ForTopic(j.serdes.right, graph.FullName(env, j.responseTopic()), false,
		wire.NewSite(n, env).Produces(j.responseTopic()))
	if err != nil {
		return nil, err
	}
	return &operator.Answer[FK, R]{Value: value.Encode}, nil
}

func (j *foreignKeyJoin[K, L, FK, R, O]) openSubscriptions(
	node *graph.Node, env graph.Env,
) (*operator.Subscriptions[FK], error) {
	handle, err := env.Store(j.storeName())
	if err != nil {
		return nil, err
	}
	site := wire.NewSite(node, env)
	fk, err := codec.ForTopic(j.serdes.foreignKey, graph.FullName(env, j.registrationTopic())+"-fk", true,
		site.Produces(j.registrationTopic()))
	return &operator.Subscriptions[FK]{Name: j.storeName(), Store: handle.Bytes, ForeignKey: fk.Encode,
		Try: site.Stores(j.storeName())}, err
}

func (j *foreignKeyJoin[K, L, FK, R, O]) wireReceive(node *graph.Node, env graph.Env, outs []any) (any, error) {
	subscriptions, err := j.openSubscriptions(node, env)
	if err != nil {
		return nil, err
	}
	out := outs[0].(wire.Outlet[FK, kswire.Subscription])
	site := wire.NewSite(node, env)
	return wire.Outlet[FK, kswire.Subscription](func(record topology.Record[FK, kswire.Subscription]) error {
		site.Enter()
		switch {
		case record.Tombstone: // another program has written to the topic
			site.Drop(graph.NoValue)
			return nil
		// A left row that refers to nothing subscribes to nothing, but in a left join it gets a response.
		case record.NoKey && record.Value.Instruction != kswire.SubscribeAndRespond:
			site.Drop(graph.NoKey)
			return nil
		case !record.NoKey:
			if err := subscriptions.Apply(record.Key, record.Value, record.Time.UnixMilli()); err != nil {
				return retry.IgnoreSkipped(err)
			}
		}
		return out(record)
	}), nil
}

func respondInlet[FK, R any](
	respond *operator.Answer[FK, R], n *graph.Node, env graph.Env, out wire.Outlet[[]byte, kswire.Response[[]byte]],
) wire.Outlet[FK, kswire.Subscription] {
	site := wire.NewSite(n, env)
	return func(r topology.Record[FK, kswire.Subscription]) error {
		site.Enter()
		response, ok, err := respond.Subscription(r)
		switch {
		case err != nil:
			return retry.IgnoreSkipped(err)
		case !ok:
			return nil
		}
		return out(response)
	}
}

func (j *foreignKeyJoin[K, L, FK, R, O]) wireChanged(node *graph.Node, env graph.Env, outs []any) (any, error) {
	subscriptions, err := j.openSubscriptions(node, env)
	if err != nil {
		return nil, err
	}
	respond, err := j.newResponder(node, env)
	if err != nil {
		return nil, err
	}
	out := outs[0].(wire.Outlet[[]byte, kswire.Response[[]byte]])
	site := wire.NewSite(node, env)
	return wire.TableOutlet[FK, R](func(change wire.Change[FK, R]) error {
		site.Enter()
		if change.Stale {
			site.Drop(graph.Stale)
			return nil
		}
		return retry.IgnoreSkipped(respond.Change(change, subscriptions, out))
	}), nil
}

// toPartitionOfRow chooses the partition of a response: that of the left row which subscribed.
func toPartitionOfRow(r operator.ResponseRecord, _ int) int {
	if r.Value.Partition < 0 {
		return int(graph.ByKey)
	}
	return int(r.Value.Partition)
}

// addResolve adds the step that joins responses with left rows. Its results are output 0 of the
// call.
func (j *foreignKeyJoin[K, L, FK, R, O]) addResolve(compiler *plan.Compiler, responses plan.Out) error {
	getter, stores := plan.GetterOf[K, L](j.leftOut)
	graphNode := &graph.Node{Op: "foreign-key-resolve", Stores: stores,
		Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			get, err := getter(env)
			if err != nil {
				return nil, err
			}
			value, err := codec.ForTopic(j.serdes.left, graph.FullName(env, j.registrationTopic())+"-vh", false,
				wire.NewSite(node, env).Produces(j.registrationTopic()))
			if err != nil {
				return nil, err
			}
			resolve := &operator.Resolve[K, L, R, O]{Get: get, Value: value.Encode, Left: j.keepLeft, Join: j.join}
			return resolveInlet(resolve, node, env, outs[0].(wire.Outlet[K, O])), nil
		}}
	if err := compiler.AddNode(j.name+"-subscription-response-resolver", graphNode, responses); err != nil {
		return err
	}
	plan.SetOutput[K, O](compiler, 0, graphNode, "")
	return nil
}

// resolveInlet makes the inlet for responses. One that belongs to an earlier state of the left row is
// dropped: the change of the row has caused another response, which is still on its way.
func resolveInlet[K, L, R, O any](
	resolve *operator.Resolve[K, L, R, O], node *graph.Node, env graph.Env, out wire.Outlet[K, O],
) wire.Outlet[K, kswire.Response[R]] {
	site := wire.NewSite(node, env)
	return func(record topology.Record[K, kswire.Response[R]]) error {
		site.Enter()
		switch { // this program writes no such records: another one has written to the topic
		case record.NoKey:
			site.Drop(graph.NoKey)
			return nil
		case record.Tombstone:
			site.Drop(graph.NoValue)
			return nil
		}
		joined, current, err := resolve.Response(record)
		switch {
		case err != nil:
			return retry.IgnoreSkipped(err)
		case !current:
			site.Drop(graph.StaleResponse)
			return nil
		}
		return out(joined)
	}
}
