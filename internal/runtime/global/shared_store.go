// Package global writes global stores. For each global sub-topology a Follower, one goroutine,
// reads all partitions of the topic and runs the records through the step into the stores, as long
// as the App runs. The tasks of the App read the stores meanwhile, on other goroutines.
//
// Nothing is written to Kafka. The topic is the store's changelog, and its checkpoint is the offset
// in each partition. Invariants:
//
//  1. No task runs before every global store has reached the ends that its topic had at the start.
//  2. A checkpoint is never ahead of what the store has: it is made between two records.
//  3. Only the follower's goroutine writes to the engine of a store, and it has the store's lock then.
//     Nobody touches an engine without the lock.
package global

import (
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/millstream-go/millstream/internal/storage"
)

// ErrClosed is returned by reads of a store whose follower has ended.
var ErrClosed = errors.New("the global store is closed")

var errReadOnly = errors.New("a global store is read-only here: it is filled from its topic")

// SharedStore is a global store that several goroutines read while one writes it.
//
// Engines have one owner, and Get's bytes live until the next call on the engine, whoever makes it.
// So each call has the lock, and what it finds is copied under it: no lock is held while a user's
// function or serde runs, and none over two calls. Readers have it together (see
// storage.ConcurrentReader), so that one that has to read from a file holds up none that finds
// its row in memory; the writer and scans have it alone, scans for some rows at a time.
//
// What was considered instead: a copy of the store for each worker multiplies its memory; handing a
// look-up to the follower's goroutine would cost a task two switches of goroutines a
// record; a lock for a whole round of a worker would hold the follower up for as long as a user's
// function likes. Lock and copy cost a look-up 50 to 100 ns, about what finding a row in the
// processor's cache does, and no allocation (BenchmarkLookup).
//
// It is a mutex although the goroutine that has it may wait for a flush in Cut, which stops a
// simulated clock: a flush waits for disks, not for the clock.
type SharedStore struct {
	name string

	mu sync.RWMutex
	// What readers get while the store is restored because a file of it was damaged; nil: it is not.
	unavailable error
	engine      storage.Engine           // nil: closed
	reader      storage.ConcurrentReader // engine
	writes      uint64                   // for the writer's own scans
}

// NewSharedStore returns the store of an engine, which must be a storage.ConcurrentReader.
func NewSharedStore(name string, e storage.Engine) (*SharedStore, error) {
	reader, ok := e.(storage.ConcurrentReader)
	if !ok {
		return nil, fmt.Errorf("store %q: a %T cannot be read by several goroutines", name, e)
	}
	return &SharedStore{name: name, engine: e, reader: reader}, nil
}

// Close ends all reading and returns the engine, which the caller releases; nil when it was closed
// before.
func (s *SharedStore) Close() storage.Engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.engine
	s.engine, s.reader = nil, nil
	return e
}

// View returns the store for one reading goroutine.
func (s *SharedStore) View() storage.Bytes { return &readerView{store: s, buf: make([]byte, 0, 64)} }

// Damaged returns why a file of the store cannot be trusted, nil while nothing is known.
func (s *SharedStore) Damaged() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if f, ok := s.engine.(storage.Damageable); ok {
		return f.Damaged()
	}
	return nil
}

// Sizes returns how large the store is; zero when it is closed. Any goroutine may call it.
func (s *SharedStore) Sizes() storage.Sizes {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.engine == nil {
		return storage.Sizes{}
	}
	return s.engine.Sizes()
}

// Distrust declares the store damaged, and reports whether it has files.
func (s *SharedStore) Distrust(reason error) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f, ok := s.engine.(storage.Damageable)
	if !ok || !f.OnDisk() {
		return false
	}
	f.Distrust(reason)
	return true
}

// suspend makes all reads but the follower's return err, until it is called with nil.
func (s *SharedStore) suspend(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unavailable = err
}

// replace has the store use another engine, in the place of one that its owner has back.
func (s *SharedStore) replace(e storage.Engine) error {
	reader, ok := e.(storage.ConcurrentReader)
	if !ok {
		return fmt.Errorf("store %q: a %T cannot be read by several goroutines", s.name, e)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engine, s.reader = e, reader
	s.writes++
	return nil
}

// checkUsable returns why the store cannot be read, nil when it can. The caller has the lock.
func (s *SharedStore) checkUsable(byWriter bool) error {
	switch {
	case !byWriter && s.unavailable != nil:
		return s.unavailable
	case s.engine == nil:
		return ErrClosed
	}
	return nil
}

// get appends the value of key to buf.
func (s *SharedStore) get(buf, key []byte, byWriter bool) ([]byte, int64, bool, error) {
	s.mu.RLock()
	if err := s.checkUsable(byWriter); err != nil {
		s.mu.RUnlock()
		return buf, 0, false, err
	}
	buf, at, ok, err := s.reader.AppendTo(buf, key)
	s.mu.RUnlock()
	return buf, at, ok, err
}

// A scan reads minScanRows under its first lock, and then twice as many each time, up to
// maxScanRows.
const (
	minScanRows = 8
	maxScanRows = 128
)

// scanBatch is what a scan has read ahead.
type scanBatch struct {
	limit  int
	rows   []storage.Entry
	bytes  []byte // of the rows
	more   bool
	writes uint64 // as of when it was read
}

// readBatch reads the first rows of r into batch.
func (s *SharedStore) readBatch(r storage.Range, batch *scanBatch, byWriter bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkUsable(byWriter); err != nil {
		return err
	}
	batch.rows, batch.bytes, batch.more, batch.writes = batch.rows[:0], batch.bytes[:0], false, s.writes
	for e, err := range s.engine.Scan(r) {
		if err != nil {
			return err
		}
		batch.add(e)
		if batch.more = len(batch.rows) == batch.limit; batch.more {
			break
		}
	}
	return nil
}

// add copies a row. When the batch's memory grows, the rows before go on using the old memory.
func (batch *scanBatch) add(e storage.Entry) {
	from := len(batch.bytes)
	batch.bytes = append(append(batch.bytes, e.Key...), e.Value...)
	b := batch.bytes[from:len(batch.bytes):len(batch.bytes)]
	e.Key, e.Value = b[:len(e.Key):len(e.Key)], b[len(e.Key):]
	batch.rows = append(batch.rows, e)
}

// scan visits the rows of r. The follower's own step may write while it scans, and has to see what
// it has written ahead of the scan. For it rows are read again when the store was written since
// they were read.
func (s *SharedStore) scan(r storage.Range, byWriter bool) iter.Seq2[storage.Entry, error] {
	return func(yield func(storage.Entry, error) bool) {
		var last []byte
		buf := make([]byte, 0, 64) // never nil: an empty key is a key
		batch := &scanBatch{more: true, limit: minScanRows, bytes: make([]byte, 0, 1024)}
		for ; batch.more; batch.limit = min(2*batch.limit, maxScanRows) {
			if err := s.readBatch(r.Behind(last), batch, byWriter); err != nil {
				yield(storage.Entry{}, err)
				return
			}
			for _, e := range batch.rows {
				buf = append(buf[:0], e.Key...)
				last = buf
				if !yield(e, nil) {
					return
				}
				if byWriter && batch.writes != s.writes {
					batch.more, batch.limit = true, minScanRows/2
					break
				}
			}
		}
	}
}

// count counts the rows, some at a time.
func (s *SharedStore) count(byWriter bool) (n int64, err error) {
	for _, err := range s.scan(storage.Range{}, byWriter) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
