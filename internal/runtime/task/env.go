package task

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/invariant"
	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/segmented"
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

// SetRecordTime implements graph.Env.
func (t *Task) SetRecordTime(time int64) (was int64) {
	was, t.recordTime = t.recordTime, time
	return was
}

// WithRecord implements graph.Env. When f fails, the record stays current, so that the error names
// it.
func (t *Task) WithRecord(in *graph.Input, at int64, f func() error) error {
	current, recordTime := t.current, t.recordTime
	t.current, t.recordTime = in, at
	if err := f(); err != nil {
		return err
	}
	t.current, t.recordTime = current, recordTime
	return nil
}

// RequestCommit implements graph.Env.
func (t *Task) RequestCommit() { t.commitRequested = true }

// CurrentStep returns the step whose code runs. graph.CurrentStepOf finds it.
func (t *Task) CurrentStep() *graph.CurrentStep { return &t.currentStep }

// StepCount returns where a step counts its records. graph.StepCountOf finds it.
func (t *Task) StepCount(n *graph.Node) *int64 { return t.cfg.StepCount(n) }

// FullName is the name of an internal topic in Kafka. graph.FullName finds it.
func (t *Task) FullName(name string) string { return graph.InternalTopic(t.cfg.Application, name) }

// Store implements graph.Env.
func (t *Task) Store(name string) (storage.Handle, error) {
	index, ok := t.engineIndex[name]
	if !ok {
		return t.openGlobal(name)
	}
	engine := t.engines[index]
	handle, err := segmented.Handle(engine.Store, engine.Engine, t.RecordTime)
	handle.Headers = t.recordHeaders
	return t.restrictWrites(handle, engine.Store), err
}

// recordHeaders returns the headers of the current record.
func (t *Task) recordHeaders() storage.Headers {
	if t.current == nil || len(t.current.Headers) == 0 {
		return nil
	}
	headers := make(storage.Headers, len(t.current.Headers))
	for i, header := range t.current.Headers {
		headers[i] = storage.Header(header)
	}
	return headers
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
		if len(q.batches) > 0 || t.cfg.HasLag != nil && t.cfg.HasLag(q.tp) {
			return false
		}
	}
	return true
}

// OperatorTime implements graph.Env. SetCommitted, which comes later, sets the time in what it
// returned.
func (t *Task) OperatorTime(n *graph.Node) *graph.OperatorTime {
	if !n.TracksTime {
		invariant.Fail("step %q keeps a stream time, and Build did not plan to commit it with the offsets", n.Name)
	}
	if t.operatorTimes[n] == nil {
		t.operatorTimes[n] = &graph.OperatorTime{Time: -1}
	}
	return t.operatorTimes[n]
}

// drop counts records that were dropped at a step for one reason and not reported yet.
type drop struct {
	node   *graph.Node
	reason string
	count  int64
}

// Drop implements graph.Env. Drops are counted here and reported at the end of a round, because a
// skewed input can drop every record.
func (t *Task) Drop(n *graph.Node, reason string) { t.drop(n, reason, 1) }

func (t *Task) drop(n *graph.Node, reason string, count int64) {
	for i := range t.drops {
		if d := &t.drops[i]; d.node == n && d.reason == reason {
			d.count += count
			return
		}
	}
	t.drops = append(t.drops, drop{n, reason, count})
}

func (t *Task) reportDrops() {
	for i := range t.drops {
		if d := &t.drops[i]; d.count > 0 {
			t.cfg.Dropped(d.node, d.reason, d.count)
			d.count = 0
		}
	}
}

// stepHook is a function of OnClose and the step that registered it.
type stepHook struct {
	node *graph.Node
	run  func() error
}

// OnClose implements graph.Env.
func (t *Task) OnClose(f func() error) {
	t.onClose = append(t.onClose, stepHook{t.currentStep.Node, f})
}

// Close runs all functions that OnClose registered, the last first, also after one has failed.
// Steps can still read the stores, which stay open. Nothing is processed afterwards. Close returns
// the errors of the functions if clean is set. Otherwise something failed before, which is the
// error that counts, and they are only logged.
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
	t.reportDrops()
	// An earlier error stays: it is the one that ended the task.
	if t.err == nil {
		t.err = fmt.Errorf("task %s: %w", t.cfg.ID, ErrClosed)
	}
	err := errors.Join(errs...)
	if !clean && err != nil {
		t.cfg.Logger.Warn("millstream: a step failed to close", "task", t.cfg.ID.String(), "error", quote.Text(err.Error()))
		return nil
	}
	return err
}

func (t *Task) closeOne(hook stepHook) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Panic{Value: v, Stack: debug.Stack()}
		}
		if err != nil {
			err = t.closeError(hook.node, err)
		}
	}()
	t.current, t.currentStep.Node, t.recordTime = nil, hook.node, max(t.cfg.Clock.time, 0)
	return hook.run()
}

func (t *Task) closeError(n *graph.Node, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return &Error{Task: t.cfg.ID, Node: n, Err: fmt.Errorf("close: %w", err)}
}
