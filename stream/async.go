package stream

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
)

// Async lets up to inFlight calls of the function run concurrently in each task, on goroutines of
// their own. It is for functions that wait for a database or a service. The steps that follow still
// receive the results in the order of the records, on the task's goroutine. A commit waits for all
// calls in flight, so a crash loses none of them: they are made again.
//
// The function must be safe for concurrent use, and may be called for several records of one key at
// the same time. A failed call is retried when its result is due; records behind it wait. inFlight
// must be at least 2.
func Async(inFlight int) TryOption {
	return func(options *callOptions) {
		if inFlight < 2 {
			options.err = errors.Join(options.err, fmt.Errorf("stream.Async: %d in flight, want at least 2", inFlight))
		}
		options.inFlight = inFlight
	}
}

// tryInlet makes the inlet of a step whose function f can fail; emit passes its results on.
func tryInlet[K, V, R any](
	site wire.Site, opts *callOptions, f func(context.Context, Record[K, V]) (R, error), emit func(Record[K, V], R) error,
) wire.Outlet[K, V] {
	if opts.inFlight > 1 {
		return newAsyncStep(site, opts, f, emit).process
	}
	try := attempt(site, opts, f)
	return func(r Record[K, V]) error {
		site.Enter()
		v, ok, err := graph.Try(site.Env, site.Node, graph.Processing, try, r)
		if !ok {
			return err
		}
		return emit(r, v)
	}
}

// asyncStep is a step with concurrent calls in one task. Everything in it belongs to the task's
// goroutine, except what a running asyncCall writes.
//
// Invariants:
//
//  1. Results leave in the order of their records.
//  2. No call is in flight when the task is cut: an offset is committed only when all records before it are done.
//  3. No call outlives the task: closing cancels their context and waits for them.
type asyncStep[K, V, R any] struct {
	site    wire.Site
	options *callOptions
	fn      func(context.Context, Record[K, V]) (R, error)
	emit    func(Record[K, V], R) error
	ctx     context.Context
	calls   []*asyncCall[K, V, R] // the oldest first
	wg      sync.WaitGroup
}

// asyncCall is one call of the function. The fields below done belong to the call until done is
// closed, and to the task's goroutine after that.
type asyncCall[K, V, R any] struct {
	record Record[K, V]
	input  *graph.Input // nil: a punctuation made the record
	time   int64
	done   chan struct{}

	result   R
	err      error
	panicked any
	stack    []byte
}

func newAsyncStep[K, V, R any](
	site wire.Site, opts *callOptions, f func(context.Context, Record[K, V]) (R, error), emit func(Record[K, V], R) error,
) *asyncStep[K, V, R] {
	step := &asyncStep[K, V, R]{site: site, options: opts, fn: f, emit: emit}
	// The step has a context of its own, because the task's ends only when the App aborts. A task that
	// is closed while the App goes on, after a rebalance, must also end its calls.
	ctx, cancel := context.WithCancel(site.Env.Context())
	step.ctx = ctx
	site.Env.OnCommit(site.Node, step.drain) // keeps 2
	site.Env.OnClose(func() error {
		cancel()
		step.wg.Wait() // keeps 3
		return nil
	})
	return step
}

// process starts the call for a record once there is room for it, and passes on the results that
// are ready.
func (a *asyncStep[K, V, R]) process(r Record[K, V]) error {
	a.site.Enter()
	// Only the oldest call may pass its result on, however many newer ones are done. Results that are
	// ready leave here, without waiting for a commit.
	for len(a.calls) > 0 && (len(a.calls) == a.options.inFlight || a.calls[0].isDone()) {
		if err := a.finishOldest(); err != nil {
			return err
		}
	}
	a.site.Resume()
	begun := &asyncCall[K, V, R]{record: r, time: a.site.Env.RecordTime(), done: make(chan struct{})}
	// The task reuses its current input for the next record, so the call needs a copy.
	if current := a.site.Env.Current(); current != nil {
		input := *current
		begun.input = &input
	}
	a.calls = append(a.calls, begun)
	a.wg.Go(func() { begun.run(a) })
	return nil
}

func (c *asyncCall[K, V, R]) isDone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// run makes the call. It records a panic instead of raising it here: a panic of this goroutine
// would end the process, and only the task's goroutine knows which step and record to name.
func (c *asyncCall[K, V, R]) run(step *asyncStep[K, V, R]) {
	defer close(c.done)
	defer func() {
		if v := recover(); v != nil {
			c.panicked, c.stack = v, debug.Stack()
		}
	}()
	c.result, c.err = callWithTimeout(step.ctx, step.options.timeout, step.fn, c.record)
}

// drain waits for all calls in flight and passes their results on.
func (a *asyncStep[K, V, R]) drain() error {
	for len(a.calls) > 0 {
		if err := a.finishOldest(); err != nil {
			return err
		}
	}
	return nil
}

// finishOldest waits for the oldest call and passes its result on as if its record were processed
// now. keeps 1
func (a *asyncStep[K, V, R]) finishOldest() error {
	oldest := a.calls[0]
	a.calls[0] = nil // or the array below the slice would keep the record from the garbage collector
	a.calls = a.calls[1:]
	// The wait is inside WithRecord too: if the call does not return or has panicked, the error names
	// its record, not the one that the task has read since.
	return a.site.Env.WithRecord(oldest.input, oldest.time, func() error {
		a.site.Resume()
		<-oldest.done
		if oldest.panicked != nil {
			panic(fmt.Sprintf("%v\n\nin a call that was in flight:\n%s", oldest.panicked, oldest.stack))
		}
		return a.emitResult(oldest)
	})
}

// emitResult passes the result of a finished call on, or has the policy decide about its error.
func (a *asyncStep[K, V, R]) emitResult(oldest *asyncCall[K, V, R]) error {
	first := true
	v, ok, fatal := graph.Try(a.site.Env, a.site.Node, graph.Processing, func(r Record[K, V]) (R, error) {
		// The first attempt has been made on the call's goroutine. Retries are made here, on the task's
		// goroutine: while one waits, no later result may leave anyway.
		if first {
			first = false
			return oldest.result, oldest.err
		}
		a.site.Resume()
		return callWithTimeout(a.ctx, a.options.timeout, a.fn, r)
	}, oldest.record)
	if !ok {
		return fatal
	}
	return a.emit(oldest.record, v)
}
