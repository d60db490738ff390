package stream

import (
	"errors"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// Process passes each record to a processor, which forwards any number of records, of any keys. start makes the processor, once for each
// task: it opens the stores and outputs listed in uses, schedules punctuations, and returns the function that is called for each
// record. Its error stops the App; an error of the function, or of a punctuation, goes to the step's policy. What was forwarded
// and written to stores before an error stays. What follows and needs records in their key's partition goes through a repartition topic.
//
//	seen := store.NewKeyValue("seen", serde.String, serde.Int64)
//	firsts := stream.Process(clicks, "firsts", func(c *stream.Context[string, Click]) (func(stream.Record[string, Click]) error, error) {
//		seen := seen.In(c)
//		return func(r stream.Record[string, Click]) error {
//			_, again, err := seen.PutIfAbsent(r.Key, 1)
//			if !again && err == nil {
//				c.Forward(r)
//			}
//			return err
//		}, nil
//	}, seen)
func Process[K, V, K2, V2 any](s KStream[K, V], name string, start func(*Context[K2, V2]) (func(Record[K, V]) error, error), uses ...store.Dep) KStream[K2, V2] {
	n := process[K2, V2](s, "stream.Process", name, start, uses, func(at site, out wire.Outlet[K2, V2]) starting[K, V] {
		c, p := topology.NewContext(at.env, at.node, out)
		return starting[K, V]{p, func() (func(Record[K, V]) error, error) { return start(c) }}
	})
	return result[K2, V2](rekeyed(n))
}

// starting is a processor that is to be started.
type starting[K, V any] struct {
	p     *topology.Processor
	start func() (func(Record[K, V]) error, error)
}

// process makes the node of a processor. open makes its context for one task.
func process[K2, V2, K, V any](s KStream[K, V], op, name string, f any, uses []store.Dep, open func(site, wire.Outlet[K2, V2]) starting[K, V]) *plan.Node {
	n := plan.New[K2, V2](nil, op, "process", handle(s).Out()).Funcs(f)
	if n == nil {
		return nil
	}
	n.GiveName(name)
	n.CanFail = true
	outputs := outputsOf(n, uses)
	n.Emit = func(c *plan.Compile) error {
		stores, err := c.Uses(uses)
		if err != nil {
			return err
		}
		g := &graph.Node{Stores: stores, Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
			at := newSite(n, env)
			x := open(at, outs[0].(wire.Outlet[K2, V2]))
			for i, o := range outputs {
				o.open(x.p, outs[i+1])
			}
			return x.inlet(at)
		}}
		if err := c.Add(n.Name(), g, n.Input(0)); err != nil {
			return err
		}
		plan.Gives[K2, V2](c, 0, g, "")
		for i, o := range outputs {
			o.give(c, i+1, g)
		}
		return nil
	}
	return n.KeepKey(0).KeepValue(0)
}

// inlet starts the processor.
func (x starting[K, V]) inlet(at site) (any, error) {
	f, err := x.start()
	if err = errors.Join(err, x.p.Start()); err != nil {
		return nil, err
	}
	if f == nil {
		return nil, errors.New("its constructor returned neither a function nor an error")
	}
	p := x.p
	return wire.Outlet[K, V](func(r Record[K, V]) error {
		for attempt := 1; ; attempt++ {
			p.Enter()
			err := f(r)
			if p.Err() != nil {
				return p.Err()
			}
			if err == nil {
				return nil
			}
			if again, err := at.failed(attempt, err); !again {
				return err
			}
		}
	}), nil
}
