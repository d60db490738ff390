package table

import (
	"errors"

	"github.com/millstream-go/millstream/internal/plan"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/window"
)

// AggregateCogroupWindows returns the table in which the records of all streams of c are folded into one value for each key and window. Each
// stream has its own stream time, by which it is judged whether its records are late. It is AggregateWindows and
// AggregateCogroup otherwise.
//
// Windows emitted on close are not for cogroups, whose streams do not agree on when a window is closed: SuppressUntilClose is.
//
// Options: InMemory, NoChangelog, TopicConfig, Retention, UntilCommit.
func AggregateCogroupWindows[K, A any](c Cogrouped[K, A], w window.Fixed, name string, zero func() A, opts ...store.Option) KTable[window.Key[K], A] {
	n := cogroupWindowed(c, "table.AggregateCogroupWindows", w, name, zero, nil, opts)
	return result[window.Key[K], A](n.Funcs(zero))
}

// AggregateCogroupSessions returns the table in which the records of all streams of c are folded into one value for each session of a key;
// records of several streams make one session. Each stream has its own stream time, by which it is judged whether its records are
// late. It is AggregateSessions and AggregateCogroup otherwise.
//
// Options: InMemory, NoChangelog, TopicConfig, Retention, UntilCommit.
func AggregateCogroupSessions[K, A any](c Cogrouped[K, A], w window.Session, name string, zero func() A, merge func(key K, a, b A) A, opts ...store.Option) KTable[window.Key[K], A] {
	n := cogroupWindowed(c, "table.AggregateCogroupSessions", w, name, zero, merge, opts)
	return result[window.Key[K], A](n.Funcs(zero, merge))
}

func cogroupWindowed[K, A any](c Cogrouped[K, A], opname string, w window.Any, name string, zero func() A, merge func(K, A, A) A, opts []store.Option) *plan.Node {
	x := newWindowed[K, A](opname, "cogroup-windows", w, name, opts, c.inputs()...)
	if x == nil {
		return nil
	}
	if x.spec.OnClose {
		x.Mistake(errors.New("its windows are emitted on close, but the streams of a cogroup do not agree on when a window is closed; use table.SuppressUntilClose on the result"))
	}
	x.Emit = func(at *plan.Compile) error {
		from, err := c.partitioned(at, name)
		if err != nil {
			return err
		}
		if err := x.keep(at, c.parts[0].key); err != nil {
			return err
		}
		return emitCogroup[window.Key[K], A](at, x.Node, x.Table.Stores, from, func(i int) wiring { return c.parts[i].windowing(x, zero, merge) }, x.held)
	}
	return x.Node
}
