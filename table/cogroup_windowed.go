package table

import (
	"errors"

	"github.com/millstream-go/millstream/internal/dsl/plan"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/window"
)

// AggregateCogroupWindows returns a table with one value for each key and window, computed from the
// records of all streams of c. Each stream has its own stream time, which decides whether its
// records are late. Everything else is as in AggregateWindows and AggregateCogroup.
//
// Windows with OnClose are not available for cogroups, because their streams do not agree on when a
// window is closed. Use SuppressUntilClose.
//
// Options: InMemory, NoChangelog, TopicConfig, Retention, UntilCommit.
func AggregateCogroupWindows[K, A any](
	c Cogrouped[K, A], w window.Fixed, name string, zero func() A, opts ...store.Option,
) KTable[window.Key[K], A] {
	n := cogroupWindowedNode(c, "table.AggregateCogroupWindows", w, name, zero, nil, opts)
	return result[window.Key[K], A](n.CheckFuncs(zero))
}

// AggregateCogroupSessions returns a table with one value for each session of a key, computed from
// the records of all streams of c; records of several streams form one session. Each stream has its
// own stream time, which decides whether its records are late. Everything else is as in
// AggregateSessions and AggregateCogroup.
//
// Options: InMemory, NoChangelog, TopicConfig, Retention, UntilCommit.
func AggregateCogroupSessions[K, A any](
	c Cogrouped[K, A], w window.Session, name string, zero func() A, merge func(key K, a, b A) A, opts ...store.Option,
) KTable[window.Key[K], A] {
	n := cogroupWindowedNode(c, "table.AggregateCogroupSessions", w, name, zero, merge, opts)
	return result[window.Key[K], A](n.CheckFuncs(zero, merge))
}

func cogroupWindowedNode[K, A any](
	c Cogrouped[K, A], op string, w window.Any, name string, zero func() A, merge func(K, A, A) A, opts []store.Option,
) *plan.Node {
	windows := newWindowedTable[K, A](op, "cogroup-windows", w, name, opts, c.outs()...)
	if windows == nil {
		return nil
	}
	if windows.spec.OnClose {
		windows.AddError(errors.New("its windows are emitted on close, but the streams of a cogroup do not agree on when a " +
			"window is closed; use table.SuppressUntilClose on the result"))
	}
	windows.AddToGraph = func(compiler *plan.Compiler) error {
		from, err := c.partitioned(compiler, name)
		if err != nil {
			return err
		}
		if err := windows.declareStore(compiler, c.streams[0].keySerde); err != nil {
			return err
		}
		return addCogroup[window.Key[K], A](compiler, windows.Node, windows.Table.Stores, from,
			func(i int) wiring { return c.streams[i].windowedWiring(windows, zero, merge) }, windows.holdUntilCommit)
	}
	return windows.Node
}
