package stream

import (
	"errors"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// GlobalStore keeps stores of which every instance has all, from topic t, whose partitions every instance reads all of: whatever their number
// is, each processor of the program can look up any key, by the reference in what it uses. start makes the step's function, which
// is called for each record and writes the stores; no other step can write them. A table whose rows are the topic's values is simpler:
// table.Global.
//
//	rates := store.NewKeyValue("rates", serde.String, serde.Float64)
//	stream.GlobalStore(b, quotes, "keep-rates", func(t *topology.Task) (func(stream.Record[string, Quote]) error, error) {
//		rates := rates.In(t)
//		return func(r stream.Record[string, Quote]) error { return rates.Put(r.Key, r.Value.Mid) }, nil
//	}, rates)
//
// The topic is the stores' changelog: an instance that starts runs the records that its stores have not seen through the function, before
// it processes anything else. After a crash that may be records which they have seen, so what the function writes should follow from
// the record and not from how often it came. Nothing is written to Kafka. A record that fails under the policy DeadLetter is skipped: each
// instance would write it. There are no punctuations.
func GlobalStore[K, V any](b *Builder, t Topic[K, V], name string, start func(*topology.Task) (func(Record[K, V]) error, error), keeps ...store.Dep) Step {
	n := plan.New[K, V](b.Plan(), "stream.GlobalStore", "global-store").Funcs(start)
	if n == nil {
		return Step{}
	}
	n.GiveName(name)
	n.CanFail = true
	if len(keeps) == 0 {
		n.Errorf("it keeps no store; list the references of those that it writes")
	}
	n.Emit = func(c *plan.Compile) error {
		in := plan.Out{Node: n, Port: 1}
		if err := errors.Join(t.t.Check(), t.t.Earliest("a global store")); err != nil {
			return err
		}
		if err := plan.SourceAs(c, in.Port, name+"-source", plan.AsGlobal, []plan.Topic[K, V]{t.t}, ""); err != nil {
			return err
		}
		stores, err := feed(c, name, keeps, graph.Store{Topic: t.t.Name, Global: true})
		if err != nil {
			return err
		}
		return c.Add(name, &graph.Node{Stores: stores, Wire: func(n *graph.Node, env graph.Env, _ []any) (any, error) {
			x, p := topology.NewGlobalTask(env, n)
			return starting[K, V]{p, func() (func(Record[K, V]) error, error) { return start(x) }}.inlet(newSite(n, env))
		}}, in)
	}
	return Step(plan.NewStep(n))
}

// feed makes the stores of references ones that the step of that name keeps.
func feed(c *plan.Compile, name string, keeps []store.Dep, shape graph.Store) (stores []string, err error) {
	var errs []error
	for _, d := range keeps {
		r, ok := d.(interface{ Spec() *storespec.Spec })
		if !ok {
			errs = append(errs, errors.New("it can keep stores only, by references of package store"))
			continue
		}
		s, err := c.Feed(r.Spec(), name, shape)
		if errs = append(errs, err); err == nil {
			stores = append(stores, s)
		}
	}
	return stores, errors.Join(errs...)
}
