package table

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/spec"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// windowOptions are the options that stores of windowed tables take.
var windowOptions = append([]string{spec.OptionRetention}, untilCommitOptions...)

// windowedFuncs are the functions of a windowed aggregation: zero and add are those of
// operator.Fold, merge is that of operator.Sessions. acceptsNull is true if add also takes records
// without a value.
type windowedFuncs[K, V, A any] struct {
	zero        func() A
	add         func(K, V, A, bool) A
	merge       func(K, A, A) A
	acceptsNull bool
}

// windowedTable is a windowed table while the program is built.
type windowedTable[K, A any] struct {
	*plan.Node
	window    window.Any
	spec      spec.Windows
	settings  spec.StoreSettings
	rowSerdes serdes[K, A]
}

// newWindowedTable makes the node of a windowed table with a store of the given name.
func newWindowedTable[K, A any](
	op, kind string, w window.Any, name string, opts []store.Option, inputs ...plan.Out,
) *windowedTable[K, A] {
	node, settings := storedNode[window.Key[K], A](nil, op, kind, name, opts, windowOptions, inputs...)
	if node == nil {
		return nil
	}
	node.KeyChanged = false // its records have been repartitioned, if they had to be
	windows := &windowedTable[K, A]{Node: node, window: w, settings: settings}
	var err error
	if windows.spec, err = windowsOf(w); err != nil {
		node.AddError(err)
		return windows
	}
	node.AddError(windows.spec.Check())
	if windows.spec.OnClose && settings.UntilCommit {
		node.Errorf("its windows are emitted on close, once each: leave store.UntilCommit out")
	}
	node.Table.CanDeleteWhen, node.Table.Windowed, node.Table.CloseAfter = true, true, windows.spec.CloseAfter()
	if windows.spec.Kind == spec.UnlimitedWindow {
		node.Table.CloseAfter = plan.Never
	}
	node.Table.EndInclusive = windows.spec.Kind == spec.SessionWindow || windows.spec.Kind == spec.SlidingWindow
	return windows
}

// declareStore declares the store and how its rows are read. key returns the serde of the keys that
// records are grouped by.
func (w *windowedTable[K, A]) declareStore(compiler *plan.Compiler, key func() (serde.Serde[K], error)) error {
	var errs [4]error
	w.rowSerdes.key, errs[0] = w.keySerde(key)
	w.rowSerdes.value, errs[1] = plan.ValueSerde[A](w.Node)
	def := graph.Store{Name: w.Table.Store, Kind: graph.Window, Size: w.spec.Span(), ByTime: w.spec.OnClose}
	if w.spec.Kind == spec.SessionWindow {
		def.Kind = graph.Session
	}
	def.Retention, errs[2] = w.spec.Retention(w.settings.Retention)
	errs[3] = compiler.AddStoreOfKind(def, w.settings)
	format := ""
	// The rows of sliding windows have the same form as those of other windows but another meaning. The
	// name makes the App refuse a state directory of the other kind.
	if w.spec.Kind == spec.SlidingWindow {
		format = "sliding window"
	}
	compiler.SetRowFormat(w.Table.Store, format, w.rowSerdes.key, w.rowSerdes.value)
	w.Table.Stores = []string{w.Table.Store}
	w.Table.Getter = w.getter
	return errors.Join(errs[:]...)
}

// keySerde returns the serde of the keys without their windows, and sets the table's serde of keys
// with windows. Users set one of the two with WithSerdes, or none.
func (w *windowedTable[K, A]) keySerde(key func() (serde.Serde[K], error)) (serde.Serde[K], error) {
	// A serde of package window, set by WithSerdes: the store has keys in the same inner format.
	if explicit, ok := w.ExplicitKeySerde().(interface{ Inner() serde.Serde[K] }); ok {
		return explicit.Inner(), nil
	}
	// A serde of the user's own for windowed keys cannot be taken apart; it serves topics, and the store
	// uses the serde of the grouping.
	inner, err := key()
	if err != nil || w.ExplicitKeySerde() != nil {
		return inner, err
	}
	w.SetSerdes(withWindow(inner, w.window), nil)
	return inner, nil
}

func withWindow[K any](key serde.Serde[K], w window.Any) serde.Serde[window.Key[K]] {
	if f, ok := w.(window.Fixed); ok {
		return window.TimeKey(key, f)
	}
	return window.SessionKey(key)
}

func (w *windowedTable[K, A]) getter(env graph.Env) (wire.Getter[window.Key[K], A], error) {
	if w.spec.Kind == spec.SessionWindow {
		rows, err := w.openSessions(env, wire.Reads(env))
		if err != nil {
			return nil, err
		}
		return rows.Get, nil
	}
	rows, err := w.openWindows(env, wire.Reads(env))
	if err != nil {
		return nil, err
	}
	return rows.Get, nil
}

func (w *windowedTable[K, A]) openWindows(env graph.Env, try retry.Func) (*operator.WindowRows[K, A], error) {
	h, err := env.Store(w.Table.Store)
	if err != nil {
		return nil, err
	}
	return operator.OpenWindows(w.Table.Store, h.Windows, w.rowSerdes.key, w.rowSerdes.value, try)
}

func (w *windowedTable[K, A]) openSessions(env graph.Env, try retry.Func) (*operator.SessionRows[K, A], error) {
	h, err := env.Store(w.Table.Store)
	if err != nil {
		return nil, err
	}
	return operator.OpenSessions(w.Table.Store, h.Sessions, w.rowSerdes.key, w.rowSerdes.value, try)
}

// windowedNode makes the table of one grouped stream.
func windowedNode[K, V, A any](
	g stream.Grouped[K, V], op, kind string, w window.Any, name string, opts []store.Option,
	functions windowedFuncs[K, V, A],
) *plan.Node {
	in := plan.Grouped[K, V](g).Handle()
	windows := newWindowedTable[K, A](op, kind, w, name, opts, in.Out())
	if windows == nil {
		return nil
	}
	windows.AddToGraph = func(compiler *plan.Compiler) error {
		from, err := plan.Partitioned(compiler, in, name)
		if err != nil {
			return err
		}
		keySerde := func() (serde.Serde[K], error) { return plan.KeySerde[K](in.Node()) }
		if err := windows.declareStore(compiler, keySerde); err != nil {
			return err
		}
		graphNode := &graph.Node{Stores: windows.Table.Stores, TracksTime: true,
			Wire: func(n *graph.Node, env graph.Env, outs []any) (any, error) {
				out, err := windows.holdUntilCommit(n, env, outs[0])
				if err != nil {
					return nil, err
				}
				return windowedWiring(windows, functions)(n, env, []any{out})
			}}
		if err := compiler.AddNode(name, graphNode, from); err != nil {
			return err
		}
		plan.SetTableOutput[window.Key[K], A](compiler, 0, graphNode, "")
		return nil
	}
	return windows.Node
}

// holdUntilCommit is the function holdUntilCommit for the changes of w.
func (w *windowedTable[K, A]) holdUntilCommit(node *graph.Node, env graph.Env, out any) (any, error) {
	if !w.settings.UntilCommit {
		return out, nil
	}
	key, err := plan.KeySerde[window.Key[K]](w.Node)
	if err != nil {
		return nil, err
	}
	rowSerdes := serdes[window.Key[K], A]{key, w.rowSerdes.value}
	return holdUntilCommit(env, node, w.settings, w.Table.Store, rowSerdes, w.Table.OldValues, nil,
		out.(wire.TableOutlet[window.Key[K], A]))
}

// windowedAggregate is an aggregation of package operator. Record adds a record. Advance only
// advances stream time to that of a record. WouldClose reports whether advancing to a time would
// send anything.
type windowedAggregate[K, V any] interface {
	Record(r topology.Record[K, V]) error
	AdvanceTime(r topology.Record[K, V]) error
	WouldClose(at int64) bool
}

// windowedWiring wires the records of one stream to a windowed table.
func windowedWiring[K, V, A any](windows *windowedTable[K, A], functions windowedFuncs[K, V, A]) wiring {
	return func(node *graph.Node, env graph.Env, outs []any) (any, error) {
		common := operator.Windowing[K, V, A]{
			Start: functions.zero, Add: functions.add, Old: windows.Table.OldValues, OnClose: windows.spec.OnClose,
			UntilCommit: windows.settings.UntilCommit, Grace: windows.spec.Grace.Milliseconds(),
			Time: &env.OperatorTime(node).Time, CountLate: func() { env.Drop(node, graph.Late) },
			Out: outs[0].(wire.TableOutlet[window.Key[K], A]),
		}
		common.Delete, _ = windows.Table.DeleteWhen.(func(window.Key[K], A) bool)
		aggregate, err := newWindowedAggregate(windows, node, env, functions, common)
		if err != nil {
			return nil, err
		}
		ignoreNullTime := windows.spec.Kind == spec.SlidingWindow
		in := windowInlet(node, env, aggregate, functions.acceptsNull && !ignoreNullTime, ignoreNullTime)
		if windows.spec.IdleSet {
			in = closeWhenIdle(node, env, aggregate, windows.spec.Idle, in)
		}
		return in, nil
	}
}

// newWindowedAggregate makes the aggregation of one stream.
func newWindowedAggregate[K, V, A any](
	windows *windowedTable[K, A], node *graph.Node, env graph.Env, functions windowedFuncs[K, V, A],
	common operator.Windowing[K, V, A],
) (windowedAggregate[K, V], error) {
	size := windows.spec.Size.Milliseconds()
	if windows.spec.Kind == spec.SessionWindow {
		rows, err := windows.openSessions(env, wire.NewSite(node, env).Stores(windows.Table.Store))
		if err != nil {
			return nil, err
		}
		windows.expireAfterSettle(node, env, rows)
		return &operator.Sessions[K, V, A]{Windowing: common, Rows: rows, Merge: functions.merge, Gap: size}, nil
	}
	rows, err := windows.openWindows(env, wire.NewSite(node, env).Stores(windows.Table.Store))
	if err != nil {
		return nil, err
	}
	windows.expireAfterSettle(node, env, rows)
	fixed := operator.Windows[K, V, A]{Windowing: common, Rows: rows, Size: size}
	if windows.spec.Kind == spec.SlidingWindow {
		return operator.NewSlidingWindows(fixed), nil
	}
	return &operator.FixedWindows[K, V, A]{
		Windows: fixed, Advance: windows.spec.Advance.Milliseconds(), Unlimited: windows.spec.Kind == spec.UnlimitedWindow,
		From: landmarkStart(windows.spec),
	}, nil
}

// expireAfterSettle lets a store of windows emitted on close expire rows only up to the stream time
// at the last settled commit. If rows expired by the greatest time put, a window could be deleted
// before its result is committed, and a crash would lose the result. OnCommit is called when a
// commit begins, and a commit begins only after the one before has settled: what was closed at the
// time of that one has been sent permanently.
func (w *windowedTable[K, A]) expireAfterSettle(node *graph.Node, env graph.Env, rows interface {
	ObservedTime() int64
	Settled(at int64) error
}) {
	if !w.spec.OnClose {
		return
	}
	timeAtCut := int64(-1)
	env.OnCommit(node, func() error {
		err := rows.Settled(timeAtCut)
		timeAtCut = rows.ObservedTime()
		return err
	})
}

func landmarkStart(s spec.Windows) int64 {
	if s.Kind != spec.UnlimitedWindow {
		return 0
	}
	return s.Start.UnixMilli()
}

// windowInlet makes the inlet of a windowed aggregation. Records without a value are added if
// acceptsNull is true. Otherwise they are dropped, but their time still advances stream time,
// unless ignoreNullTime is true: Kafka Streams ignores it for sliding windows.
func windowInlet[K, V any](
	node *graph.Node, env graph.Env, aggregate windowedAggregate[K, V], acceptsNull, ignoreNullTime bool,
) wire.Outlet[K, V] {
	site := wire.NewSite(node, env)
	return func(record topology.Record[K, V]) (err error) {
		site.Enter()
		switch {
		case record.NoKey:
			site.Drop(graph.NoKey)
			return nil
		case record.Time.UnixMilli() < 0: // only processors make such records; no window has that time
			site.Drop(graph.NoTime)
			return nil
		case !record.Tombstone || acceptsNull:
			err = aggregate.Record(record)
		default:
			site.Drop(graph.NoValue)
			if !ignoreNullTime {
				err = aggregate.AdvanceTime(record)
			}
		}
		return retry.IgnoreSkipped(err)
	}
}

// windowsOf returns what a window is. Package window does not tell users, so its types are
// converted here.
func windowsOf(w window.Any) (spec.Windows, error) {
	if v := reflect.ValueOf(w); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return spec.Windows{}, errors.New("its window is nil")
	} else if v.Kind() == reflect.Pointer {
		return windowsOf(v.Elem().Interface().(window.Any))
	}
	switch w := w.(type) {
	case window.Time:
		return spec.TimeHandle(w).Windows(), nil
	case window.Slide:
		return spec.SlideHandle(w).Windows(), nil
	case window.Session:
		return spec.SessionHandle(w).Windows(), nil
	case window.Landmark:
		return spec.LandmarkHandle(w).Windows(), nil
	}
	// The interface is sealed, but a type that embeds a window implements it.
	return spec.Windows{}, fmt.Errorf("its window is a %T; use one of package window itself, not a type that embeds it", w)
}
