package memtable

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/millstream-go/millstream/internal/storage"
)

// Snapshots are what lets any goroutine read a store's tables while their owner writes: a lock, and
// the list of the snapshots that are open.
//
// The undo logs are the older versions. A snapshot of epoch E walks from an entry back through them
// to the version that E had. So while it is open, the logs of later epochs are kept when they settle
// (epochLog), and nothing else is different. With no snapshot open the owner's changes cost the lock,
// which nobody else wants: two atomic instructions.
//
// The owner has the lock for each change, since readers of other goroutines must not see half of
// one. Its own reads take none: readers change nothing that it reads. A reader has it for one
// look-up, or for some rows of a scan, and leaves early when the owner waits. What was considered
// instead: a table whose rows are never changed in place needs no lock, but a copy of each value that
// is replaced, and the collection of those; and a lock that the owner takes only once somebody reads
// needs either a reader that waits for the owner's next commit, or a fence in each change, which costs
// what the lock does.
type Snapshots struct {
	mu     sync.Mutex
	wanted atomic.Bool // the owner waits for mu: readers leave it

	// Guarded by mu.
	open    []*Snapshot // the oldest epoch first
	refusal error       // why none can be opened; nil: one can
	steps   int         // under way, those of snapshots that have ended too
	idle    *sync.Cond  // steps is 0; nil until the owner waits for that
}

// Lock is for the owner: no reader is in the tables until Unlock.
func (s *Snapshots) Lock() {
	if !s.mu.TryLock() {
		s.wanted.Store(true)
		s.mu.Lock()
		s.wanted.Store(false)
	}
}

// Unlock lets readers in.
func (s *Snapshots) Unlock() { s.mu.Unlock() }

// enter is Lock for readers. They stand back for an owner that waits: a reader that comes again at
// once would get the lock before a goroutine that has to be woken, for up to a millisecond.
func (s *Snapshots) enter() {
	for s.wanted.Load() {
		runtime.Gosched()
	}
	s.mu.Lock()
}

// Snapshot is tables as of one settled epoch. It belongs to one goroutine at a time.
type Snapshot struct {
	all     *Snapshots
	epoch   uint64
	tables  []*Table // the newest first
	release func()   // called once, when the snapshot has ended and no step is under way

	// Guarded by all.mu.
	steps int
	ended error // why nothing can be read any more; nil: it can
}

// Open opens a snapshot. state is called with the lock. It returns the newest settled epoch, the
// tables, newest first, and what is to be called when the snapshot has ended; it may be nil.
func (s *Snapshots) Open(state func() (epoch uint64, tables []*Table, release func())) (*Snapshot, error) {
	s.enter()
	defer s.mu.Unlock()
	if s.refusal != nil {
		return nil, s.refusal
	}
	x := &Snapshot{all: s}
	x.epoch, x.tables, x.release = state()
	for _, t := range x.tables {
		t.readers++
		t.endPile(false) // the owner loads nothing while it is open
	}
	s.open = append(s.open, x)
	return x, nil
}

// Close ends the snapshot. A second Close does nothing.
func (x *Snapshot) Close() {
	x.all.enter()
	x.end(storage.ErrUnavailable)
	x.leave()
}

// end ends the snapshot. The caller has the lock.
func (x *Snapshot) end(err error) {
	if x.ended != nil {
		return
	}
	x.ended = err
	for _, t := range x.tables {
		t.readers--
		if t.building != nil && t.building.of == x {
			t.building = nil // x does not touch the table any more
		}
	}
	x.all.open = slices.DeleteFunc(x.all.open, func(o *Snapshot) bool { return o == x })
}

// Begin begins a step, in which the goroutine uses what the snapshot's release gives up.
func (x *Snapshot) Begin() error {
	x.all.enter()
	defer x.all.mu.Unlock()
	if x.ended != nil {
		return x.ended
	}
	x.steps++
	x.all.steps++
	return nil
}

// Done ends a step.
func (x *Snapshot) Done() {
	x.all.enter()
	x.steps--
	x.all.stepDone()
	x.leave()
}

// leave gives up the lock, and then what the snapshot has kept, if it has ended and no step of it is
// under way. That is a step too: the owner, which may remove files next, waits for it.
func (x *Snapshot) leave() {
	release := x.released()
	if release == nil {
		x.all.mu.Unlock()
		return
	}
	x.all.steps++
	x.all.mu.Unlock()
	release()
	x.all.enter()
	x.all.stepDone()
	x.all.mu.Unlock()
}

// released returns what is to be called now that nobody uses the snapshot any more, once; nil when
// somebody does. The caller has the lock.
func (x *Snapshot) released() (release func()) {
	if x.ended != nil && x.steps == 0 {
		release, x.release = x.release, nil
	}
	return release
}

func (s *Snapshots) stepDone() {
	if s.steps--; s.steps == 0 && s.idle != nil {
		s.idle.Broadcast()
	}
}

// Any reports whether a snapshot is open. The owner calls it.
func (s *Snapshots) Any() bool {
	s.Lock()
	defer s.Unlock()
	return len(s.open) > 0
}

// Oldest returns the oldest epoch of which a snapshot is open; without one, settled. The owner calls
// it: a snapshot that is opened later is not older.
func (s *Snapshots) Oldest(settled uint64) uint64 {
	s.Lock()
	defer s.Unlock()
	if len(s.open) == 0 {
		return settled
	}
	return min(s.open[0].epoch, settled)
}

// oldest returns the oldest epoch of which a snapshot of a table is open. The caller has the lock.
func (s *Snapshots) oldest(t *Table) (epoch uint64, ok bool) {
	for _, x := range s.open {
		if slices.Contains(x.tables, t) {
			return x.epoch, true
		}
	}
	return 0, false
}

// EndReaders ends the snapshots of a table, since they keep too much memory. From then on nobody reads
// the table. The owner calls it.
func (s *Snapshots) EndReaders(t *Table) {
	s.Lock()
	released := s.end(storage.ErrSnapshotEnded, func(x *Snapshot) bool { return slices.Contains(x.tables, t) })
	s.Unlock()
	callAll(released)
}

// end ends some snapshots. It returns what is to be called without the lock.
func (s *Snapshots) end(err error, which func(*Snapshot) bool) (released []func()) {
	for _, x := range slices.Clone(s.open) {
		if which(x) {
			x.end(err)
			if release := x.released(); release != nil {
				released = append(released, release)
			}
		}
	}
	return released
}

func callAll(all []func()) {
	for _, f := range all {
		f()
	}
}

// Refuse ends all snapshots, refuses new ones until Allow, and waits until nobody is in a step: the
// owner, who calls it, may release tables and files then. A step waits for a disk at most.
func (s *Snapshots) Refuse() {
	s.Lock()
	s.refusal = storage.ErrUnavailable
	released := s.end(storage.ErrUnavailable, func(*Snapshot) bool { return true })
	if s.idle == nil {
		s.idle = sync.NewCond(&s.mu)
	}
	for s.steps > 0 {
		s.idle.Wait()
	}
	s.Unlock()
	callAll(released)
}

// Allow allows snapshots again.
func (s *Snapshots) Allow() {
	s.Lock()
	s.refusal = nil
	s.Unlock()
}

// TryRefuse refuses new snapshots until Allow, unless one is open, and reports whether it did.
func (s *Snapshots) TryRefuse() bool {
	s.Lock()
	defer s.Unlock()
	if len(s.open) > 0 {
		return false
	}
	s.refusal = storage.ErrUnavailable
	return true
}
