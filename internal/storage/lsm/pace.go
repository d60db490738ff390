package lsm

import (
	"sync"
	"sync/atomic"
	"time"
)

// Pace bounds how many bytes a second merges write, all together those of the stores that share it. Without it
// a merge writes as fast as the disk does, and flushes and syncs of other files wait behind it.
//
// A merge that has to keep up with flushes is not held up: see merger.hurry. Nor is any while one of those waits for
// its place in Options.MergeSlots, or a flush for it: a merge has its place for as long as it is held up.
type Pace struct {
	bytes  int64        // a second
	urgent atomic.Int32 // how many wait

	mu   sync.Mutex
	free time.Time // when what was granted has been written
}

// PaceBytes is the bound that stores of an App share, a second: a disk that writes less is held up by the
// flushes themselves.
const PaceBytes = 64 << 20

// NewPace returns a bound of so many bytes a second.
func NewPace(bytes int64) *Pace { return &Pace{bytes: bytes} }

// hurry has all merges hurry until done is called. p may be nil.
func (p *Pace) hurry() (done func()) {
	if p == nil {
		return func() {}
	}
	p.urgent.Add(1)
	return func() { p.urgent.Add(-1) }
}

// grant grants n bytes, and returns when the next may be written.
func (p *Pace) grant(n int64) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(n) / float64(p.bytes) * float64(time.Second)))
	return p.free
}

// longestNap is how long a merge waits at most before it looks whether it has to hurry.
const longestNap = 20 * time.Millisecond

// pace waits until a merge that has written n bytes may write more.
func (m *merger) pace(n int64) {
	m.last.written += n
	if m.hurry() {
		return
	}
	began := time.Now()
	until := m.l.o.Pace.grant(n)
	for nap := time.Until(until); nap > 0 && !m.hurry(); nap = time.Until(until) {
		if !pause(min(nap, longestNap), m.ending, nil) {
			break // Stopped says so
		}
	}
	m.l.paced.Add(int64(time.Since(began)))
}

// hurry reports whether flushes will wait for the merge unless it goes on at once. Of what it has to write, it is
// to have the part written that flushes have of the room for more runs: then it is at its end when half of
// MaxRuns are there. The other half is for what cannot be foreseen.
func (m *merger) hurry() bool {
	room := int64(m.l.room())
	if room <= 0 || m.l.o.Pace.urgent.Load() > 0 {
		return true
	}
	bytes, count := m.l.flushed.Load(), m.l.flushes.Load()
	since := bytes - m.last.flushed
	if since == 0 || count == 0 { // a flush adds its bytes before it counts itself
		return false
	}
	return float64(m.last.written) < float64(m.last.bytes)*float64(since)/float64(since+room*bytes/count)
}
