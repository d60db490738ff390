package table

import (
	"errors"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/processor"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// ProcessValues is MapRows with a function that is made for each task, may read and write the
// stores listed in uses, and can fail. It is also called for tombstones, with row false, and
// deletes a row by returning ok false. Its error goes to the step's policy; an error of start fails
// the task, which stops the App, unless Config.OnTaskError restarts the task.
//
// f should depend on nothing but its arguments and the content of the stores: it is called again
// with the old row if a following step needs that. A join that reads rows of the result makes
// another f with start, because the result has no store. See Materialize.
//
//	rates := store.NewKeyValue("rates", serde.String, serde.Float64)
//	inEuro := table.ProcessValues(prices, "in-euro",
//		func(t *topology.Task) (func(string, Price, bool) (float64, bool, error), error) {
//			rates := rates.In(t)
//			return func(_ string, p Price, row bool) (float64, bool, error) {
//				rate, ok, err := rates.Get(p.Currency)
//				return p.Amount * rate, row && ok, err
//			}, nil
//		}, rates)
func ProcessValues[K, V, V2 any](
	t KTable[K, V], name string,
	start func(*topology.Task) (f func(k K, v V, row bool) (v2 V2, ok bool, err error), err error),
	uses ...store.Dependency,
) KTable[K, V2] {
	node := plan.New[K, V2](nil, "table.ProcessValues", "process-values", handle(t).Out()).CheckFuncs(start)
	if node == nil {
		return KTable[K, V2]{}
	}
	node.FixName(name)
	node.CanFail = true
	for i, use := range uses {
		if _, ok := use.(spec.Reference); !ok {
			node.Errorf("number %d of what it uses is a %T, which is not a reference of package store", i+1, use)
		}
	}
	tableOut := node.Input(0)
	planTable := followTable(tableOut)
	node.Table = planTable
	node.AddToGraph = func(compiler *plan.Compiler) error {
		stores, err := compiler.UseStores(uses)
		if err != nil {
			return err
		}
		graphNode := &graph.Node{Stores: stores, Wire: func(node *graph.Node, env graph.Env, outs []any) (any, error) {
			processor, err := newValueProcessor(env, node, start)
			if err != nil {
				return nil, err
			}
			processor.oldValues = planTable.OldValues
			return processor.inlet(outs[0].(wire.TableOutlet[K, V2])), nil
		}}
		// The result has no store of its own. Whoever reads a row computes it, and needs the stores
		// that f uses as well as those of the table.
		if getter, from := plan.GetterOf[K, V](tableOut); getter != nil {
			planTable.Stores = append(append([]string{}, from...), stores...)
			planTable.Getter = processedGetter(getter, graphNode, start)
		}
		if asOf := plan.VersionsOf[K, V](tableOut); asOf != nil {
			planTable.AsOf = processedAsOf(asOf, graphNode, start)
		}
		if err := compiler.AddNode(name, graphNode, tableOut); err != nil {
			return err
		}
		plan.SetTableOutput[K, V2](compiler, 0, graphNode, "")
		return nil
	}
	return result[K, V2](node.InheritKeySerde(0).InheritValueSerde(0))
}

// valueProcessor is the function of ProcessValues in one task.
type valueProcessor[K, V, V2 any] struct {
	fn        func(K, V, bool) (V2, bool, error)
	task      *processor.Task
	site      wire.Site
	oldValues bool
}

func newValueProcessor[K, V, V2 any](
	env graph.Env, node *graph.Node, start func(*topology.Task) (func(K, V, bool) (V2, bool, error), error),
) (*valueProcessor[K, V, V2], error) {
	user := &topology.Task{}
	task := (*processor.Task)(user)
	task.Init(env, node)
	fn, err := start(user)
	if err = errors.Join(err, task.Start()); err != nil {
		return nil, err
	}
	if fn == nil {
		return nil, errors.New("its constructor returned neither a function nor an error")
	}
	return &valueProcessor[K, V, V2]{fn: fn, task: task, site: wire.NewSite(node, env)}, nil
}

// inlet makes the inlet for the changes of the table.
func (p *valueProcessor[K, V, V2]) inlet(out wire.TableOutlet[K, V2]) wire.TableOutlet[K, V] {
	change := p.change // a method value in the function below would be allocated for each change
	return func(c wire.Change[K, V]) error {
		p.site.Enter()
		next, ok, fatal := graph.Try(p.site.Env, p.site.Node, graph.Processing, change, c)
		if !ok {
			return fatal
		}
		return out(next)
	}
}

func (p *valueProcessor[K, V, V2]) change(change wire.Change[K, V]) (out wire.Change[K, V2], err error) {
	v, row, err := p.call(change.Key, change.Value, !change.Tombstone)
	if err != nil {
		return out, err
	}
	if p.oldValues {
		if out.Old, out.HasOld, err = p.call(change.Key, change.Old, change.HasOld); err != nil {
			return out, err
		}
	}
	out.Record, out.Stale = topology.WithValue(change.Record, v), change.Stale
	if !row {
		out.Record = out.Record.Deleted()
	}
	return out, nil
}

// call calls the function; what it has noticed of the task ends the task, whatever it returned.
func (p *valueProcessor[K, V, V2]) call(k K, v V, row bool) (v2 V2, ok bool, err error) {
	p.task.Enter()
	v2, ok, err = p.fn(k, v, row)
	if !ok { // functions of the steps behind must get the zero value, not what fn returned with ok false
		var none V2
		v2 = none
	}
	return v2, ok, p.task.Result(err)
}

// read computes a row for another step that reads it. The policy of that step decides about an
// error.
func (p *valueProcessor[K, V, V2]) read(k K, v V, row bool) (v2 V2, ok bool, err error) {
	// A panic of fn names this step. After the call the reader is at work again.
	reader := p.site.Current()
	v2, ok, err = p.call(k, v, row)
	p.site.Return(reader)
	if err != nil {
		return p.retryRead(k, v, row, err)
	}
	return v2, ok, nil
}

// retryRead is a function of its own, because its closure would be allocated for each read in read.
func (p *valueProcessor[K, V, V2]) retryRead(k K, v V, row bool, err error) (v2 V2, ok bool, _ error) {
	reader := p.site.Current()
	err = wire.Reads(p.site.Env)(err, func() (err error) {
		v2, ok, err = p.call(k, v, row)
		p.site.Return(reader)
		return err
	})
	return v2, ok, err
}

func processedGetter[K, V, V2 any](
	getter func(graph.Env) (wire.Getter[K, V], error), node *graph.Node,
	start func(*topology.Task) (func(K, V, bool) (V2, bool, error), error),
) func(graph.Env) (wire.Getter[K, V2], error) {
	return func(env graph.Env) (wire.Getter[K, V2], error) {
		before, err := getter(env)
		if err != nil {
			return nil, err
		}
		processor, err := newValueProcessor(env, node, start)
		return func(k K) (v2 V2, at int64, ok bool, err error) {
			v, at, ok, err := before(k)
			if err != nil {
				return v2, 0, false, err
			}
			v2, ok, err = processor.read(k, v, ok)
			return v2, at, ok, err
		}, err
	}
}

func processedAsOf[K, V, V2 any](
	asOf func(graph.Env) (wire.AsOf[K, V], error), node *graph.Node,
	start func(*topology.Task) (func(K, V, bool) (V2, bool, error), error),
) func(graph.Env) (wire.AsOf[K, V2], error) {
	return func(env graph.Env) (wire.AsOf[K, V2], error) {
		before, err := asOf(env)
		if err != nil {
			return nil, err
		}
		processor, err := newValueProcessor(env, node, start)
		return func(k K, at int64) (v2 V2, from int64, ok bool, err error) {
			v, from, ok, err := before(k, at)
			if err != nil {
				return v2, 0, false, err
			}
			v2, ok, err = processor.read(k, v, ok)
			return v2, from, ok, err
		}, err
	}
}
