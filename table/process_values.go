package table

import (
	"errors"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// ProcessValues is MapRows with a function that is made for each task, may read and write the stores listed in uses, and can fail. It is
// called for deletions too, with row false, and deletes with ok false. Its error goes to the step's policy; one of start stops the App.
//
// f should depend on nothing but its arguments and what the stores hold: it is called again with the old row when a step that follows wants
// that. A join that reads rows of the result makes an f of its own, with start, since the result keeps no store; see Materialize.
//
//	rates := store.NewKeyValue("rates", serde.String, serde.Float64)
//	inEuro := table.ProcessValues(prices, "in-euro", func(t *topology.Task) (func(string, Price, bool) (float64, bool, error), error) {
//		rates := rates.In(t)
//		return func(_ string, p Price, row bool) (float64, bool, error) {
//			rate, ok, err := rates.Get(p.Currency)
//			return p.Amount * rate, row && ok, err
//		}, nil
//	}, rates)
func ProcessValues[K, V, V2 any](t KTable[K, V], name string, start func(*topology.Task) (f func(k K, v V, row bool) (v2 V2, ok bool, err error), err error), uses ...store.Dep) KTable[K, V2] {
	n := plan.New[K, V2](nil, "table.ProcessValues", "process-values", handle(t).Out()).Funcs(start)
	if n == nil {
		return KTable[K, V2]{}
	}
	n.GiveName(name)
	n.CanFail = true
	for i, u := range uses {
		if _, ok := u.(interface{ Spec() *storespec.Spec }); !ok {
			n.Errorf("number %d of what it uses is %T, no reference of package store", i+1, u)
		}
	}
	of := n.Input(0)
	own := follows(of)
	n.Table = own
	n.Emit = func(c *plan.Compile) error {
		stores, err := c.Uses(uses)
		if err != nil {
			return err
		}
		g := &graph.Node{Stores: stores, Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
			p, err := startValues(env, n, start)
			if err != nil {
				return nil, err
			}
			p.old = own.WantOld
			return p.inlet(outs[0].(wire.TableOutlet[K, V2])), nil
		}}
		if getter, from := plan.GetterOf[K, V](of); getter != nil {
			own.Stores = append(append([]string{}, from...), stores...)
			own.Getter = processedGetter(getter, g, start)
		}
		if asOf := plan.AsOfOf[K, V](of); asOf != nil {
			own.AsOf = processedAsOf(asOf, g, start)
		}
		if err := c.Add(name, g, of); err != nil {
			return err
		}
		plan.GivesTable[K, V2](c, 0, g, "")
		return nil
	}
	return result[K, V2](n.KeepKey(0).KeepValue(0))
}

// valueProcessor is the function of ProcessValues in one task.
type valueProcessor[K, V, V2 any] struct {
	f    func(K, V, bool) (V2, bool, error)
	p    *topology.Processor
	node *graph.Node
	env  graph.Env
	old  bool
}

func startValues[K, V, V2 any](env graph.Env, n *graph.Node, start func(*topology.Task) (func(K, V, bool) (V2, bool, error), error)) (*valueProcessor[K, V, V2], error) {
	t, p := topology.NewTask(env, n)
	f, err := start(t)
	if err = errors.Join(err, p.Start()); err != nil {
		return nil, err
	}
	if f == nil {
		return nil, errors.New("its constructor returned neither a function nor an error")
	}
	return &valueProcessor[K, V, V2]{f: f, p: p, node: n, env: env}, nil
}

// inlet takes the changes of the table.
func (x *valueProcessor[K, V, V2]) inlet(out wire.TableOutlet[K, V2]) wire.TableOutlet[K, V] {
	return func(c wire.Change[K, V]) error {
		for attempt := 1; ; attempt++ {
			next, err := x.change(c)
			if fatal := x.p.Err(); fatal != nil {
				return fatal
			}
			if err == nil {
				return out(next)
			}
			if again, err := graph.Failed(x.env, x.node, attempt, err); !again {
				return err
			}
		}
	}
}

func (x *valueProcessor[K, V, V2]) change(c wire.Change[K, V]) (out wire.Change[K, V2], err error) {
	x.p.Enter()
	v, row, err := x.f(c.Key, c.Value, !c.Tombstone)
	if err != nil {
		return out, err
	}
	if x.old {
		if out.Old, out.HasOld, err = x.f(c.Key, c.Old, c.HasOld); err != nil {
			return out, err
		}
	}
	out.Record, out.Stale = topology.WithValue(c.Record, v), c.Stale
	if !row {
		out.Record = out.Record.Deleted()
	}
	return out, nil
}

// read makes the row that follows from one, for a step that reads it.
func (x *valueProcessor[K, V, V2]) read(k K, v V, row bool) (v2 V2, ok bool, err error) {
	place := graph.PlaceOf(x.env)
	reader := place.Node
	x.p.Enter()
	v2, ok, err = x.f(k, v, row)
	place.Node = reader
	if fatal := x.p.Err(); fatal != nil {
		return v2, false, fatal
	}
	if err != nil {
		return v2, false, &op.RecordError{Err: err}
	}
	return v2, ok, nil
}

func processedGetter[K, V, V2 any](getter func(graph.Env) (wire.Getter[K, V], error), n *graph.Node, start func(*topology.Task) (func(K, V, bool) (V2, bool, error), error)) func(graph.Env) (wire.Getter[K, V2], error) {
	return func(env graph.Env) (wire.Getter[K, V2], error) {
		of, err := getter(env)
		if err != nil {
			return nil, err
		}
		x, err := startValues(env, n, start)
		return func(k K) (v2 V2, at int64, ok bool, err error) {
			v, at, ok, err := of(k)
			if err != nil {
				return v2, 0, false, err
			}
			v2, ok, err = x.read(k, v, ok)
			return v2, at, ok, err
		}, err
	}
}

func processedAsOf[K, V, V2 any](asOf func(graph.Env) (wire.AsOf[K, V], error), n *graph.Node, start func(*topology.Task) (func(K, V, bool) (V2, bool, error), error)) func(graph.Env) (wire.AsOf[K, V2], error) {
	return func(env graph.Env) (wire.AsOf[K, V2], error) {
		of, err := asOf(env)
		if err != nil {
			return nil, err
		}
		x, err := startValues(env, n, start)
		return func(k K, at int64) (v2 V2, from int64, ok bool, err error) {
			v, from, ok, err := of(k, at)
			if err != nil {
				return v2, 0, false, err
			}
			v2, ok, err = x.read(k, v, ok)
			return v2, from, ok, err
		}, err
	}
}
