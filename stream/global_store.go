package stream

import (
	"errors"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// GlobalStore fills stores from topic t on every instance. Every instance reads all partitions, so
// each processor of the program can look up any key, whatever the number of partitions is; it lists
// the reference in what it uses. start makes the function that is called for each record and writes
// the stores; no other step can write them. If the rows are simply the topic's values, table.Global
// is simpler.
//
//	rates := store.NewKeyValue("rates", serde.String, serde.Float64)
//	stream.GlobalStore(b, quotes, "keep-rates",
//		func(t *topology.Task) (func(stream.Record[string, Quote]) error, error) {
//			rates := rates.In(t)
//			return func(r stream.Record[string, Quote]) error { return rates.Put(r.Key, r.Value.Mid) }, nil
//		}, rates)
//
// The topic is the changelog of the stores. An instance that starts first passes the records that
// its stores have not seen through the function, and processes nothing else until that is done.
// After a crash some records come a second time, so what the function writes must depend on the
// record alone and not on how often it came. Nothing is written to Kafka. With the policy
// DeadLetter a failed record is skipped, because every instance would write the dead letter.
// Punctuations are not available.
func GlobalStore[K, V any](
	b *Builder, t Topic[K, V], name string, start func(*topology.Task) (func(Record[K, V]) error, error),
	refs ...store.Dependency,
) Step {
	node := plan.New[K, V]((*plan.Program)(b).Builder(), "stream.GlobalStore", "global-store").CheckFuncs(start)
	if node == nil {
		return Step{}
	}
	node.FixName(name)
	node.CanFail = true
	if len(refs) == 0 {
		node.Errorf("it has no store; list the references of the stores that it writes")
	}
	node.AddToGraph = func(compiler *plan.Compiler) error {
		in := plan.Out{Node: node, Port: 1}
		if err := errors.Join(planTopic(t).Check(), planTopic(t).CheckEarliest("a global store")); err != nil {
			return err
		}
		topics := []plan.Topic[K, V]{planTopic(t)}
		if err := plan.SourceAs(compiler, in.Port, name+"-source", plan.AsGlobal, topics, ""); err != nil {
			return err
		}
		stores, err := bindStores(compiler, name, refs, graph.Store{SourceTopic: planTopic(t).Name, Global: true})
		if err != nil {
			return err
		}
		return compiler.AddNode(name,
			&graph.Node{Stores: stores, Wire: func(node *graph.Node, env graph.Env, _ []any) (any, error) {
				user, site := &topology.Task{}, wire.NewSite(node, env)
				task := initTask(user, site)
				task.ForbidPunctuations()
				return processorInit[K, V]{task, func() (func(Record[K, V]) error, error) { return start(user) }}.inlet(site)
			}}, in)
	}
	return Step(plan.NewStep(node))
}

// bindStores makes the stores of refs ones that only the named step writes.
func bindStores(
	compiler *plan.Compiler, name string, refs []store.Dependency, shape graph.Store,
) (stores []string, err error) {
	var errs []error
	for _, ref := range refs {
		typed, ok := ref.(spec.Reference)
		if !ok {
			errs = append(errs, errors.New("it can use stores only, by references of package store"))
			continue
		}
		storeName, err := compiler.BindTopicStore(typed.StoreSpec(), name, shape)
		if errs = append(errs, err); err == nil {
			stores = append(stores, storeName)
		}
	}
	return stores, errors.Join(errs...)
}
