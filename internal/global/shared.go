// Package global keeps global stores: for each global sub-topology one goroutine of an App reads all partitions of its topic, runs the
// records through its step into a store, and goes on doing so; the tasks of the App, on goroutines of their own, look rows up meanwhile.
//
// Nothing is written to Kafka. The topic is the store's changelog, and where a store stands in it is its checkpoint: the offset in each
// partition. Invariants:
//
//  1. No task runs before every global store has reached the ends that its topic had at the start.
//  2. A checkpoint is never ahead of what the store has: it is taken between two records.
//  3. The engine of a store is written by the follower's goroutine alone, under the store's lock; who has not the lock touches nothing.
package global

import (
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/millstream-go/millstream/store"
)

// ErrClosed is returned by reads of a store whose follower has ended.
var ErrClosed = errors.New("the global store is closed")

var errReadOnly = errors.New("a global store is written by its topic")

// Shared is a global store that several goroutines read while one writes it.
//
// Engines have one owner, and Get's bytes live until the next call on the engine, whoever makes it. So each call has the lock, and what it
// finds is copied under it: no lock is held while a user's function or serde runs, and none over two calls. Readers have it together (see
// store.Readable), so that one that has to read from the file holds up none that finds its row in memory; the writer and scans have it
// alone, scans for some rows at a time.
//
// What was considered instead: a copy of the store for each worker multiplies its memory; handing a look-up to the follower's goroutine, as
// queries do, costs a task two switches of goroutines a record; a lock for a whole round of a worker would hold the follower up for
// as long as a user's function likes. Lock and copy cost a look-up 50 to 100 ns, about what finding a row in
// the processor's cache does, and no allocation (BenchmarkLookup).
//
// It is a mutex although the goroutine that has it may wait for a flush in Cut, which stops a simulated clock: a flush waits for
// disks, not for the clock.
type Shared struct {
	name string

	mu     sync.RWMutex
	engine store.Engine   // nil: closed
	many   store.Readable // engine
	writes uint64         // for the writer's own scans
}

// NewShared returns the store of an engine, which must be a store.Readable.
func NewShared(name string, e store.Engine) (*Shared, error) {
	many, ok := e.(store.Readable)
	if !ok {
		return nil, fmt.Errorf("store %q: a %T cannot be read by several goroutines", name, e)
	}
	return &Shared{name: name, engine: e, many: many}, nil
}

// Close ends all reading and returns the engine, for its owner to close; nil when it was closed before.
func (s *Shared) Close() store.Engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.engine
	s.engine, s.many = nil, nil
	return e
}

// View returns the store for one reading goroutine.
func (s *Shared) View() store.Bytes { return &view{s: s, buf: make([]byte, 0, 64)} }

// get appends the value of key to buf.
func (s *Shared) get(buf, key []byte) ([]byte, int64, bool, error) {
	s.mu.RLock()
	if s.many == nil {
		s.mu.RUnlock()
		return buf, 0, false, ErrClosed
	}
	buf, at, ok, err := s.many.GetTo(buf, key)
	s.mu.RUnlock()
	return buf, at, ok, err
}

// A scan reads leastRows under its first lock, and then twice as many each time, up to mostRows.
const (
	leastRows = 8
	mostRows  = 128
)

// piece is what a scan has read ahead.
type piece struct {
	limit  int
	rows   []store.Entry
	bytes  []byte // of the rows
	more   bool
	writes uint64 // as of when it was read
}

// read reads the next rows of r into p.
func (s *Shared) read(r store.Range, p *piece) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine == nil {
		return ErrClosed
	}
	p.rows, p.bytes, p.more, p.writes = p.rows[:0], p.bytes[:0], false, s.writes
	for e, err := range s.engine.Scan(r) {
		if err != nil {
			return err
		}
		p.add(e)
		if p.more = len(p.rows) == p.limit; p.more {
			break
		}
	}
	return nil
}

// add copies a row. Rows before keep the memory that they have when the piece's grows.
func (p *piece) add(e store.Entry) {
	from := len(p.bytes)
	p.bytes = append(append(p.bytes, e.Key...), e.Value...)
	b := p.bytes[from:len(p.bytes):len(p.bytes)]
	e.Key, e.Value = b[:len(e.Key):len(e.Key)], b[len(e.Key):]
	p.rows = append(p.rows, e)
}

// scan visits the rows of r. With fresh a row is read again where the store was written since it was read ahead: what the writer itself
// wrote ahead of its scan is seen.
func (s *Shared) scan(r store.Range, fresh bool) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		var last []byte
		buf := make([]byte, 0, 64) // never nil: an empty key is a key
		for p := (&piece{more: true, limit: leastRows, bytes: make([]byte, 0, 1024)}); p.more; p.limit = min(2*p.limit, mostRows) {
			if err := s.read(after(r, last), p); err != nil {
				yield(store.Entry{}, err)
				return
			}
			for _, e := range p.rows {
				buf = append(buf[:0], e.Key...)
				last = buf
				if !yield(e, nil) {
					return
				}
				if fresh && p.writes != s.writes {
					p.more, p.limit = true, leastRows/2
					break
				}
			}
		}
	}
}

// after is what of r comes behind key; all of it where there is no key yet.
func after(r store.Range, key []byte) store.Range {
	switch {
	case key == nil:
	case r.Backward:
		r.To, r.ToBefore = key, true
	default:
		r.From, r.FromAfter = key, true
	}
	return r
}

// count counts the rows, some at a time.
func (s *Shared) count() (n int64, err error) {
	for _, err := range s.scan(store.Range{}, false) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
