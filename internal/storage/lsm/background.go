package lsm

import (
	"sync"

	"github.com/millstream-go/millstream/internal/crashpoint"
)

// A background is a goroutine of a store that runs while there is work for it: that of the flusher, and
// that of the merger. l and kick never change, ending only while the goroutine does not run. The other
// fields belong to the holder of mu, who waits for nothing.
type background struct {
	l      *levels
	kick   chan struct{} // ends the pause after a failure
	ending chan struct{} // closed by end; replaced by reset

	mu       sync.Mutex
	done     chan struct{} // closed when the goroutine has ended; nil: it does not run
	attempt  chan struct{} // closed at the end of each attempt
	err      error         // of the last attempt
	died     bool          // at a crash point
	stopping bool
}

func newBackground(l *levels) background {
	return background{l: l, kick: make(chan struct{}, 1), ending: make(chan struct{}), attempt: make(chan struct{})}
}

// launch starts the goroutine with run unless it runs. The caller has the lock.
func (b *background) launch(run func(done chan struct{})) {
	if b.done == nil && !b.died && !b.stopping {
		b.done = make(chan struct{})
		go run(b.done)
	}
}

// wake ends the pause after a failure.
func (b *background) wake() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// attemptEnded notes how an attempt has ended. The caller has the lock.
func (b *background) attemptEnded(err error) {
	b.err = err
	close(b.attempt)
	b.attempt = make(chan struct{})
}

// die is called when a crash point killed the goroutine: nothing is written any more.
func (b *background) die() {
	first := !b.l.dead.Swap(true)
	b.mu.Lock()
	b.died = true
	b.attemptEnded(crashpoint.Dead)
	b.mu.Unlock()
	if first && b.l.o.Crashed != nil {
		b.l.o.Crashed()
	}
}

// healthy returns nil, or why the last attempt has failed.
func (b *background) healthy() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// end ends the goroutine and waits for that. A file that is being written is given up.
func (b *background) end() {
	b.mu.Lock()
	done := b.done
	if !b.stopping {
		b.stopping = true
		close(b.ending)
	}
	b.mu.Unlock()
	if done != nil {
		<-done
	}
}

func (b *background) isEnding() bool {
	select {
	case <-b.ending:
		return true
	default:
		return false
	}
}

// reset makes a background that was ended ready for an empty store. The caller has the lock.
func (b *background) reset() {
	b.stopping, b.ending, b.done, b.err = false, make(chan struct{}), nil, nil
}
