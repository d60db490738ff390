package stream

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/wire"
)

// Async lets up to inFlight calls of the function run at once in each task, on goroutines of their own: for functions that wait, for a
// database or a service. What follows still sees the records in their order, on the task's goroutine. A commit waits for the calls in
// flight, so nothing is lost that was not done; after a crash they are made again.
//
// The function must be safe for several goroutines, and sees records of the same key at the same time. When a call fails and is
// to be tried again, that is done when its turn has come, and what comes after waits. It must be at least 2.
func Async(inFlight int) TryOption {
	return func(t *tries) {
		if inFlight < 2 {
			t.err = errors.Join(t.err, fmt.Errorf("stream.Async: %d in flight, want at least 2", inFlight))
		}
		t.inFlight = inFlight
	}
}

// trying makes the inlet of a step whose function f can fail; emit takes its results.
func trying[K, V, R any](at site, t *tries, f func(context.Context, Record[K, V]) (R, error), emit func(Record[K, V], R) error) wire.Outlet[K, V] {
	if t.inFlight > 1 {
		return newFlight(at, t, f, emit).send
	}
	return func(r Record[K, V]) error {
		v, ok, err := try(at, t, f, r)
		if !ok {
			return err
		}
		return emit(r, v)
	}
}

// flight is the calls of one step in one task that have begun and not come to an end. All but the calls belongs to the task's
// goroutine.
//
// Invariants:
//
//  1. Results leave in the order in which their records came.
//  2. Nothing is in flight when the task is cut: an offset is committed only when what came before it is done.
//  3. No call outlives the task: closing ends their context and waits for them.
type flight[K, V, R any] struct {
	at    site
	t     *tries
	f     func(context.Context, Record[K, V]) (R, error)
	emit  func(Record[K, V], R) error
	ctx   context.Context
	calls []*flying[K, V, R] // the oldest first
	wg    sync.WaitGroup
}

// flying is one call. The fields after done are the call's until done is closed.
type flying[K, V, R any] struct {
	of   Record[K, V]
	in   *graph.Input // nil: a punctuation made the record
	time int64
	done chan struct{}

	v        R
	err      error
	panicked any
	stack    []byte
}

func newFlight[K, V, R any](at site, t *tries, f func(context.Context, Record[K, V]) (R, error), emit func(Record[K, V], R) error) *flight[K, V, R] {
	x := &flight[K, V, R]{at: at, t: t, f: f, emit: emit}
	ctx, cancel := context.WithCancel(at.env.Context())
	x.ctx = ctx
	at.env.OnCommit(at.node, x.land) // keeps 2
	at.env.OnClose(func() error {
		cancel()
		x.wg.Wait() // keeps 3
		return nil
	})
	return x
}

// send begins the call for a record, once there is room, and passes on what is done.
func (x *flight[K, V, R]) send(r Record[K, V]) error {
	for len(x.calls) > 0 && (len(x.calls) == x.t.inFlight || x.calls[0].isDone()) {
		if err := x.next(); err != nil {
			return err
		}
	}
	x.at.enter()
	c := &flying[K, V, R]{of: r, time: x.at.env.RecordTime(), done: make(chan struct{})}
	if in := x.at.env.Current(); in != nil {
		kept := *in
		c.in = &kept
	}
	x.calls = append(x.calls, c)
	x.wg.Go(func() { c.run(x) })
	return nil
}

func (c *flying[K, V, R]) isDone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// run makes the call. A panic is kept for the task's goroutine, which knows whose it is.
func (c *flying[K, V, R]) run(x *flight[K, V, R]) {
	defer close(c.done)
	defer func() {
		if v := recover(); v != nil {
			c.panicked, c.stack = v, debug.Stack()
		}
	}()
	c.v, c.err = call(x.ctx, x.t.timeout, x.f, c.of)
}

// land waits for all calls and passes their results on.
func (x *flight[K, V, R]) land() error {
	for len(x.calls) > 0 {
		if err := x.next(); err != nil {
			return err
		}
	}
	return nil
}

// next waits for the oldest call and passes its result on, as if its record were being processed now. keeps 1
func (x *flight[K, V, R]) next() error {
	c := x.calls[0]
	x.at.enter()
	<-c.done
	x.calls[0] = nil
	x.calls = x.calls[1:]
	if c.panicked != nil {
		panic(fmt.Sprintf("%v\n\nin a call that was in flight:\n%s", c.panicked, c.stack))
	}
	return x.at.env.Resume(c.in, c.time, func() error { return x.finish(c) })
}

func (x *flight[K, V, R]) finish(c *flying[K, V, R]) error {
	v, err := c.v, c.err
	for attempt := 1; err != nil; attempt++ {
		if again, err := x.at.failed(attempt, err); !again {
			return err
		}
		x.at.enter()
		v, err = call(x.ctx, x.t.timeout, x.f, c.of)
	}
	return x.emit(c.of, v)
}
