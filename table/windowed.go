package table

import (
	"errors"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/op"
	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/internal/storespec"
	"github.com/millstream-go/millstream/internal/windowspec"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// windowOptions are the options that stores of windowed tables take.
var windowOptions = append([]string{storespec.Retention}, heldOptions...)

// folds are the functions of an aggregation: start and add are those of op.Fold, merge that of op.Sessions. bare says that add takes
// records without a value, too.
type folds[K, V, A any] struct {
	start func() A
	add   func(K, V, A, bool) A
	merge func(K, A, A) A
	bare  bool
}

// windowed is a windowed table that is being made.
type windowed[K, A any] struct {
	*plan.Node
	window   window.Any
	spec     windowspec.Spec
	settings storespec.Settings
	with     serdes[K, A]
}

// newWindowed makes the node of a windowed table that keeps its rows in a store of that name.
func newWindowed[K, A any](opname, kind string, w window.Any, name string, opts []store.Option, inputs ...plan.Out) *windowed[K, A] {
	n, s := stored[window.Key[K], A](nil, opname, kind, name, opts, windowOptions, inputs...)
	if n == nil {
		return nil
	}
	n.KeyChanged = false
	x := &windowed[K, A]{Node: n, window: w, settings: s}
	if w == nil {
		n.Errorf("its window is nil")
		return x
	}
	x.spec = w.Plan()
	n.Mistake(x.spec.Check())
	if x.spec.OnClose && s.UntilCommit {
		n.Errorf("its windows are emitted on close, once each: store.UntilCommit does not go with it")
	}
	n.Table.Aggregates, n.Table.Windowed, n.Table.CloseAfter = true, true, x.spec.CloseAfter()
	if x.spec.Kind == windowspec.Unlimited {
		n.Table.CloseAfter = plan.Never
	}
	n.Table.EndIncluded = x.spec.Kind == windowspec.Session || x.spec.Kind == windowspec.Sliding
	return x
}

// keep makes the store, given the serde of the keys that records are grouped by, and says how rows are read.
func (x *windowed[K, A]) keep(c *plan.Compile, key func() (serde.Serde[K], error)) error {
	var errs [4]error
	x.with.key, errs[0] = x.keys(key)
	x.with.value, errs[1] = plan.ValueSerde[A](x.Node)
	shape := graph.Store{Name: x.Table.Store, Kind: graph.Window, Size: x.spec.Span(), ByTime: x.spec.OnClose}
	if x.spec.Kind == windowspec.Session {
		shape.Kind = graph.Session
	}
	shape.Retention, errs[2] = x.spec.Retention(x.settings.Retention)
	errs[3] = c.AddStoreOf(shape, x.settings)
	x.Table.Stores = []string{x.Table.Store}
	x.Table.Getter = x.getter
	return errors.Join(errs[:]...)
}

// keys returns the serde of the keys without windows, and gives the table the one with windows: the user gives one of the two, or none.
func (x *windowed[K, A]) keys(key func() (serde.Serde[K], error)) (serde.Serde[K], error) {
	if given, ok := x.GivenKey().(interface{ Inner() serde.Serde[K] }); ok {
		return given.Inner(), nil
	}
	inner, err := key()
	if err != nil || x.GivenKey() != nil {
		return inner, err
	}
	x.SetSerdes(withWindow(inner, x.window), nil)
	return inner, nil
}

func withWindow[K any](key serde.Serde[K], w window.Any) serde.Serde[window.Key[K]] {
	if f, ok := w.(window.Fixed); ok {
		return window.TimeKey(key, f)
	}
	return window.SessionKey(key)
}

func (x *windowed[K, A]) getter(env graph.Env) (wire.Getter[window.Key[K], A], error) {
	if x.spec.Kind == windowspec.Session {
		rows, err := x.sessions(env)
		if err != nil {
			return nil, err
		}
		return rows.Get, nil
	}
	rows, err := x.windows(env)
	if err != nil {
		return nil, err
	}
	return rows.Get, nil
}

func (x *windowed[K, A]) windows(env graph.Env) (*op.WindowRows[K, A], error) {
	h, err := env.Store(x.Table.Store)
	if err != nil {
		return nil, err
	}
	return op.OpenWindows(x.Table.Store, h.Windows, x.with.key, x.with.value)
}

func (x *windowed[K, A]) sessions(env graph.Env) (*op.SessionRows[K, A], error) {
	h, err := env.Store(x.Table.Store)
	if err != nil {
		return nil, err
	}
	return op.OpenSessions(x.Table.Store, h.Sessions, x.with.key, x.with.value)
}

// aggregated makes the table of one grouped stream.
func aggregated[K, V, A any](g stream.Grouped[K, V], opname, kind string, w window.Any, name string, opts []store.Option, f folds[K, V, A]) *plan.Node {
	in := plan.Grouped[K, V](g).Handle()
	x := newWindowed[K, A](opname, kind, w, name, opts, in.Out())
	if x == nil {
		return nil
	}
	x.Emit = func(c *plan.Compile) error {
		from, err := plan.Partitioned(c, in, name)
		if err != nil {
			return err
		}
		if err := x.keep(c, func() (serde.Serde[K], error) { return plan.KeySerde[K](in.Node()) }); err != nil {
			return err
		}
		node := &graph.Node{Stores: x.Table.Stores, Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
			out, err := x.held(n, env, outs[0])
			if err != nil {
				return nil, err
			}
			return windowing(x, f)(n, env, []any{out})
		}}
		if err := c.Add(name, node, from); err != nil {
			return err
		}
		plan.GivesTable[window.Key[K], A](c, 0, node, "")
		return nil
	}
	return x.Node
}

// held is the outlet of x, or one that holds changes back until a commit.
func (x *windowed[K, A]) held(n *graph.Node, env graph.Env, out any) (any, error) {
	if !x.settings.UntilCommit {
		return out, nil
	}
	key, err := plan.KeySerde[window.Key[K]](x.Node)
	if err != nil {
		return nil, err
	}
	with := serdes[window.Key[K], A]{key, x.with.value}
	return held(env, n, x.settings, x.Table.Store, with, x.Table.WantOld, nil, out.(wire.TableOutlet[window.Key[K], A]))
}

// folder is an aggregation of package op: Record folds a record, See only looks at its time, and Closes says whether that would send
// anything.
type folder[K, V any] interface {
	Record(r topology.Record[K, V]) error
	See(r topology.Record[K, V]) error
	Closes(at int64) bool
}

// windowing wires the records of one stream to a windowed table.
func windowing[K, V, A any](x *windowed[K, A], f folds[K, V, A]) wiring {
	return func(n *graph.Node, env graph.Env, outs []any) (any, error) {
		with := op.Windowing[K, V, A]{
			Start: f.start, Add: f.add, Old: x.Table.WantOld, OnClose: x.spec.OnClose, Hold: x.settings.UntilCommit, Grace: x.spec.Grace.Milliseconds(),
			Time: &env.OperatorTime(n).Time, Late: func() { env.Drop(n, graph.Late) }, Out: outs[0].(wire.TableOutlet[window.Key[K], A]),
		}
		with.Delete, _ = x.Table.DeleteWhen.(func(window.Key[K], A) bool)
		agg, err := folding(x, n, env, f, with)
		if err != nil {
			return nil, err
		}
		blind := x.spec.Kind == windowspec.Sliding
		in := windowInlet(n, env, x.Table.Store, agg, f.bare && !blind, blind)
		if x.spec.AskIdle {
			in = idle(n, env, agg, x.spec.Idle, in)
		}
		return in, nil
	}
}

// folding makes the aggregation of one stream.
func folding[K, V, A any](x *windowed[K, A], n *graph.Node, env graph.Env, f folds[K, V, A], with op.Windowing[K, V, A]) (folder[K, V], error) {
	size := x.spec.Size.Milliseconds()
	if x.spec.Kind == windowspec.Session {
		rows, err := x.sessions(env)
		if err != nil {
			return nil, err
		}
		x.expire(n, env, rows)
		return &op.Sessions[K, V, A]{Windowing: with, Rows: rows, Merge: f.merge, Gap: size}, nil
	}
	rows, err := x.windows(env)
	if err != nil {
		return nil, err
	}
	x.expire(n, env, rows)
	w := op.Windows[K, V, A]{Windowing: with, Rows: rows, Size: size}
	if x.spec.Kind == windowspec.Sliding {
		return &op.SlidingWindows[K, V, A]{Windows: w}, nil
	}
	return &op.FixedWindows[K, V, A]{
		Windows: w, Advance: x.spec.Advance.Milliseconds(), Unlimited: x.spec.Kind == windowspec.Unlimited, From: startOf(x.spec),
	}, nil
}

// expire tells a store of windows emitted on close which rows may go: it does not go by what was put. A commit begins when the one before
// has settled, and then what was closed at that one has been sent for good.
func (x *windowed[K, A]) expire(n *graph.Node, env graph.Env, rows interface {
	ObservedTime() int64
	Settled(at int64) error
}) {
	if !x.spec.OnClose {
		return
	}
	cut := int64(-1)
	env.OnCommit(n, func() error {
		err := rows.Settled(cut)
		cut = rows.ObservedTime()
		return err
	})
}

func startOf(s windowspec.Spec) int64 {
	if s.Kind != windowspec.Unlimited {
		return 0
	}
	return s.Start.UnixMilli()
}

// windowInlet takes records to f. Those without a value are folded if bare says so; of the others f sees the time, unless blind, as
// Kafka Streams has it of sliding windows.
func windowInlet[K, V any](n *graph.Node, env graph.Env, store string, f folder[K, V], bare, blind bool) wire.Outlet[K, V] {
	place := graph.PlaceOf(env)
	return func(r topology.Record[K, V]) (err error) {
		place.Node = n
		switch {
		case r.NoKey:
			env.Drop(n, graph.NoKey)
			return nil
		case r.Time.UnixMilli() < 0: // a processor made it
			env.Drop(n, graph.NoTime)
			return nil
		case !r.Tombstone || bare:
			err = f.Record(r)
		default:
			env.Drop(n, graph.NoValue)
			if !blind {
				err = f.See(r)
			}
		}
		if err != nil {
			return refused(env, n, store, err)
		}
		return nil
	}
}
