package task

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/layout"
	"github.com/millstream-go/millstream/store"
)

var _ graph.Env = (*Task)(nil)

// Task implements graph.Env.
func (t *Task) Task() graph.TaskID { return t.cfg.ID }

// Context implements graph.Env.
func (t *Task) Context() context.Context { return t.cfg.Context }

// StreamTime implements graph.Env.
func (t *Task) StreamTime() int64 { return t.cfg.Clock.time }

// Now implements graph.Env.
func (t *Task) Now() time.Time { return t.cfg.Now() }

// Current implements graph.Env.
func (t *Task) Current() *graph.Input { return t.current }

// RecordTime implements graph.Env.
func (t *Task) RecordTime() int64 { return t.recordTime }

// RecordAt implements graph.Env.
func (t *Task) RecordAt(time int64) (was int64) {
	was, t.recordTime = t.recordTime, time
	return was
}

// Resume implements graph.Env. Where f fails the record stays the current one, for the error to name.
func (t *Task) Resume(in *graph.Input, at int64, f func() error) error {
	current, recordTime := t.current, t.recordTime
	t.current, t.recordTime = in, at
	if err := f(); err != nil {
		return err
	}
	t.current, t.recordTime = current, recordTime
	return nil
}

// RequestCommit implements graph.Env.
func (t *Task) RequestCommit() { t.wanted = true }

// Place implements graph.PlaceOf.
func (t *Task) Place() *graph.Place { return &t.place }

// FullName is the name of an internal topic in Kafka. graph.FullName finds it.
func (t *Task) FullName(name string) string { return graph.InternalTopic(t.cfg.Application, name) }

// Store implements graph.Env.
func (t *Task) Store(name string) (store.Handle, error) {
	i, ok := t.byName[name]
	if !ok {
		return t.global(name)
	}
	e := t.engines[i]
	h, err := layout.Handle(e.Store, e.Engine, t.RecordTime)
	h.Headers = t.recordHeaders
	return t.guarded(h, e.Store), err
}

// recordHeaders are those of the input record being processed.
func (t *Task) recordHeaders() store.Headers {
	if t.current == nil || len(t.current.Headers) == 0 {
		return nil
	}
	h := make(store.Headers, len(t.current.Headers))
	for i, x := range t.current.Headers {
		h[i] = store.Header(x)
	}
	return h
}

func (t *Task) storeNames() string {
	if len(t.engines) == 0 {
		return "it has none"
	}
	names := make([]string, len(t.engines))
	for i, e := range t.engines {
		names[i] = e.Store.Name
	}
	return "it has " + strings.Join(names, ", ")
}

// CaughtUp implements graph.Env.
func (t *Task) CaughtUp() bool {
	for _, q := range t.queues {
		if len(q.batches) > 0 || t.cfg.Lag != nil && t.cfg.Lag(q.tp) {
			return false
		}
	}
	return true
}

// OperatorTime implements graph.Env. SetCommitted moves what it returned.
func (t *Task) OperatorTime(n *graph.Node) *graph.OperatorTime {
	if t.times[n] == nil {
		t.times[n] = &graph.OperatorTime{Time: -1}
	}
	return t.times[n]
}

// drop is a number of records dropped at a step for one reason, not yet reported.
type drop struct {
	node   *graph.Node
	reason string
	n      int64
}

// Drop implements graph.Env. Drops are counted here and reported at the end of the round: a skewed input can drop every record.
func (t *Task) Drop(n *graph.Node, reason string) {
	for i := range t.drops {
		if d := &t.drops[i]; d.node == n && d.reason == reason {
			d.n++
			return
		}
	}
	t.drops = append(t.drops, drop{n, reason, 1})
}

func (t *Task) report() {
	for i := range t.drops {
		if d := &t.drops[i]; d.n > 0 {
			t.cfg.Dropped(d.node, d.reason, d.n)
			d.n = 0
		}
	}
}

// closing is a function of OnClose and the step that registered it.
type closing struct {
	node *graph.Node
	f    func() error
}

// OnClose implements graph.Env.
func (t *Task) OnClose(f func() error) { t.onClose = append(t.onClose, closing{t.place.Node, f}) }

// Close runs what OnClose registered, last first, all of it whatever one returns, and returns their errors where clean says that
// nothing has gone wrong before; otherwise they are logged. The stores can still be read meanwhile and stay open. Nothing is processed afterwards.
func (t *Task) Close(clean bool) error {
	if t.closed {
		return nil
	}
	t.closed = true
	var errs []error
	for i := len(t.onClose) - 1; i >= 0; i-- {
		if err := t.closeOne(t.onClose[i]); err != nil {
			errs = append(errs, err)
		}
	}
	t.report()
	if t.err == nil {
		t.err = fmt.Errorf("task %s: %w", t.cfg.ID, ErrClosed)
	}
	err := errors.Join(errs...)
	if !clean && err != nil {
		t.cfg.Logger.Warn("a step failed to close", "task", t.cfg.ID, "error", err)
		return nil
	}
	return err
}

func (t *Task) closeOne(c closing) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Panic{Value: v, Stack: debug.Stack()}
		}
		if err != nil {
			err = t.closeError(c.node, err)
		}
	}()
	t.current, t.place.Node, t.recordTime = nil, c.node, max(t.cfg.Clock.time, 0)
	return c.f()
}

func (t *Task) closeError(n *graph.Node, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return &Error{Task: t.cfg.ID, Node: n, Err: fmt.Errorf("close: %w", err)}
}
