package bolt

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/store"
)

const (
	transactionBytes = 16 << 20
	firstBackoff     = 100 * time.Millisecond
	longestBackoff   = 10 * time.Second
)

// FlushInfo says what a flush did.
type FlushInfo struct {
	Path         string
	Rows         int
	Transactions int
	Took         time.Duration
	Err          error // the memtable is kept and the flush tried again
}

// A flusher writes sealed memtables to the file, oldest first. Its goroutine runs while there are any. Fields above mu are the
// goroutine's or never change; those below belong to whoever has mu, which nobody holds while waiting.
type flusher struct {
	e       *Engine
	file    *file
	hasFile atomic.Bool // the file may have rows
	kick    chan struct{}
	ending  chan struct{} // closed by stop
	seek    []byte

	mu       sync.Mutex
	queue    []*table
	current  *table        // being written
	done     chan struct{} // closed when the goroutine has ended; nil: it does not run
	attempt  chan struct{} // closed at the end of each attempt
	on       store.Checkpoint
	has      bool
	err      error
	died     bool
	stopping bool
}

func newFlusher(e *Engine) *flusher {
	f := &flusher{
		e: e, file: e.file, kick: make(chan struct{}, 1), ending: make(chan struct{}), attempt: make(chan struct{}),
		on: e.settled, has: e.has,
	}
	f.hasFile.Store(e.file.db != nil)
	return f
}

// add queues a table and sees that the goroutine runs.
func (f *flusher) add(t *table) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, t)
	if f.done == nil && !f.died && !f.stopping {
		f.done = make(chan struct{})
		go f.run(f.done)
	}
}

// run flushes until the queue is empty. An attempt that fails is repeated after a while, longer each time.
func (f *flusher) run(done chan struct{}) {
	defer close(done)
	defer crashpoint.Catch(f.die)
	backoff := firstBackoff
	for t := f.next(); t != nil; t = f.next() {
		err := f.flush(t)
		if errors.Is(err, errEnding) {
			return
		}
		f.finish(t, err)
		if err == nil {
			backoff = firstBackoff
		} else if !f.pause(backoff) {
			return
		} else {
			backoff = min(2*backoff, longestBackoff)
		}
	}
}

// next returns the oldest table; nil, and the goroutine's end, when there is none.
func (f *flusher) next() *table {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == 0 || f.stopping {
		f.done = nil
		return nil
	}
	f.current = f.queue[0]
	return f.current
}

// finish says how an attempt ended.
func (f *flusher) finish(t *table, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err, f.current = err, nil
	if err == nil {
		f.queue = f.queue[1:]
	}
	if err == nil {
		if t.has {
			f.on, f.has = t.c, true
		}
		close(t.flushed)
		f.e.account.Drain(-t.drained)
	}
	close(f.attempt)
	f.attempt = make(chan struct{})
}

func (f *flusher) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.kick:
	case <-f.ending:
		return false
	}
	return true
}

// die is called when a crash point killed the flusher: nothing is written any more.
func (f *flusher) die() {
	f.mu.Lock()
	f.died, f.err = true, crashpoint.Dead
	close(f.attempt)
	f.attempt = make(chan struct{})
	f.mu.Unlock()
	if f.e.o.Died != nil {
		f.e.o.Died()
	}
}

func isDeath(err error) bool { return errors.Is(err, crashpoint.Dead) }

func (f *flusher) dead() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.died
}

func (f *flusher) healthy() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// checkpoint returns what the file holds.
func (f *flusher) checkpoint() (store.Checkpoint, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.on, f.has
}

// newest returns what the file will hold when the queue is empty.
func (f *flusher) newest() (store.Checkpoint, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.queue) - 1; i >= 0; i-- {
		if f.queue[i].has {
			return f.queue[i].c, true
		}
	}
	return f.on, f.has
}

// waitOnce waits for the end of the attempt under way, unless flushes are failing.
func (f *flusher) waitOnce() {
	f.mu.Lock()
	attempt, wait := f.attempt, len(f.queue) > 0 && f.err == nil
	f.mu.Unlock()
	if wait {
		<-attempt
	}
}

// waitAll waits until the queue is empty or an attempt that began or went on after the call has failed.
func (f *flusher) waitAll() error {
	for {
		f.mu.Lock()
		attempt, left, died := f.attempt, len(f.queue), f.died
		f.mu.Unlock()
		switch {
		case left == 0:
			return nil
		case died:
			return crashpoint.Dead
		}
		select {
		case f.kick <- struct{}{}:
		default:
		}
		<-attempt
		if err := f.healthy(); err != nil {
			return err
		}
	}
}

// withdraw takes views out of the queue, since their owner stops waiting: from here on it writes what they show.
func (f *flusher) withdraw() {
	for {
		f.mu.Lock()
		attempt, busy := f.attempt, f.current != nil && f.current.view && !f.died
		if !busy {
			f.queue = slices.DeleteFunc(f.queue, func(t *table) bool { return t.view })
		}
		f.mu.Unlock()
		if !busy {
			return
		}
		<-attempt
	}
}

// stop ends the goroutine, between two transactions, and waits for its end.
func (f *flusher) stop() error {
	f.mu.Lock()
	done := f.done
	if !f.stopping {
		f.stopping = true
		close(f.ending)
	}
	f.mu.Unlock()
	if done != nil {
		<-done
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.queue {
		f.e.account.Drain(-t.drained)
	}
	f.queue = nil
	return nil
}

// errEnding ends an attempt because the store is being closed.
var errEnding = errors.New("closing")

// flush writes a table, and makes it visible to the owner.
func (f *flusher) flush(t *table) (err error) {
	if err := f.enter(); err != nil {
		return err
	}
	defer f.leave()
	start := time.Now()
	w := &write{f: f, t: t, cursor: t.Cursor()}
	f.e.o.Hook.At(crashpoint.FlushBegin)
	err = w.run()
	if err == nil {
		f.e.o.Hook.At(crashpoint.FlushDone)
	}
	if f.e.o.OnFlush != nil && !errors.Is(err, errEnding) {
		f.e.o.OnFlush(FlushInfo{
			Path: f.file.path, Rows: w.rows, Transactions: w.transactions, Took: time.Since(start), Err: err,
		})
	}
	return err
}

func (f *flusher) isEnding() bool {
	select {
	case <-f.ending:
		return true
	default:
		return false
	}
}

// enter takes a slot.
func (f *flusher) enter() error {
	if f.e.o.Slots == nil {
		return nil
	}
	select {
	case f.e.o.Slots <- struct{}{}:
		return nil
	case <-f.ending:
		return errEnding
	}
}

func (f *flusher) leave() {
	if f.e.o.Slots != nil {
		<-f.e.o.Slots
	}
}
