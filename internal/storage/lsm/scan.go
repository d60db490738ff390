package lsm

import (
	"bytes"
	"iter"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/btree"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/run"
)

// A scan has a cursor on each table and a walk over each run of one version, each at the first entry
// that the scan has not passed. The scan takes the next key from the newest source that has it, and
// moves all sources on that have it.
//
// Bytes of keys stay valid during the scan: entries of tables are removed only when epochs end, which
// is forbidden during scans, and the version has its files mapped.
type scan struct {
	e      *Engine
	r      storage.Range
	v      *version
	tables []memtable.Cursor
	walks  []run.Walk
	keys   []scanKey // of each cursor, then of each walk
}

// A scanKey is where a source is.
type scanKey struct {
	key    []byte // nil: at its end
	digits uint64 // the beginning of key: most comparisons look no further
}

// Scan implements storage.Bytes.
func (e *Engine) Scan(r storage.Range) iter.Seq2[storage.Entry, error] {
	return func(yield func(storage.Entry, error) bool) { e.Visit(r, yield) }
}

// Visit implements storage.Visitor.
func (e *Engine) Visit(r storage.Range, f func(storage.Entry, error) bool) {
	s := e.beginScan(r)
	defer e.endScan(s)
	if err := s.start(); err != nil {
		f(storage.Entry{}, err)
		return
	}
	for {
		at := s.next()
		// Neither cursors nor walks end where the range ends.
		if at < 0 || r.Past(s.keys[at].key) {
			return
		}
		passed := s.keys[at]
		entry, live, err := s.entry(at, passed.key)
		if err != nil {
			f(storage.Entry{}, err)
			return
		}
		// A tombstone is not an entry, but pass is called for it: it moves on the older sources
		// whose rows of the key it hides.
		if live && !f(entry, nil) {
			return
		}
		if err := s.pass(passed); err != nil {
			f(storage.Entry{}, err)
			return
		}
	}
}

// beginScan returns a scan that no other uses. Scans nest, so they are a stack.
func (e *Engine) beginScan(r storage.Range) *scan {
	if e.scans == len(e.merges) {
		e.merges = append(e.merges, &scan{e: e})
	}
	s := e.merges[e.scans]
	e.scans++
	s.r, s.v = r, e.levels.acquire()
	return s
}

func (e *Engine) endScan(s *scan) {
	clear(s.tables)
	clear(s.keys)
	s.tables, s.keys = s.tables[:0], s.keys[:0]
	for i := range s.v.runs {
		s.walks[i].End()
	}
	e.levels.release(s.v)
	s.v = nil
	e.scans--
}

func (s *scan) start() error {
	// Before the first return: endScan resets a walk for each run of the version.
	for len(s.walks) < len(s.v.runs) {
		s.walks = append(s.walks, run.Walk{})
	}
	if err := s.e.levels.damaged(); err != nil {
		return err
	}
	// Tables come before runs in keys, and each from new to old: next compares ages by this order.
	for i, t := range s.e.tables {
		s.tables = append(s.tables, t.Cursor())
		s.keys = append(s.keys, scanKey{})
		// The active one is always searched: rows that the caller writes may be ahead of the scan.
		if i == 0 || t.MayHave(s.r) {
			s.tables[i].Start(s.r)
			s.loadTable(i)
		}
	}
	if s.r.Series > 0 {
		s.e.seriesScans++
	}
	for i, files := range s.v.runs {
		s.keys = append(s.keys, scanKey{})
		// Most scans of a series are of its newest rows, and runs have older ones.
		if s.r.Series > 0 && !files.MayHave(s.e.series, s.r) {
			continue
		}
		s.e.walks++
		s.walks[i].Start(files, s.r, false)
		if err := s.loadWalk(i); err != nil {
			return err
		}
	}
	return nil
}

// noteScans says how many runs the scans of series have read, each time that there were enough of them. It
// counts the walks of other scans too, which are few.
func (e *Engine) noteScans() {
	if e.seriesScans >= notedScans {
		e.levels.scansReadRuns.Store(e.walks > 2*e.seriesScans)
		e.seriesScans, e.walks = 0, 0
	}
}

const notedScans = 1000

func (s *scan) loadTable(i int) {
	s.keys[i] = scanKey{}
	if c := &s.tables[i]; c.Valid() {
		s.keys[i] = keyOf(c.Key())
	}
}

func keyOf(key []byte) scanKey { return scanKey{key, btree.Digits(key)} }

func (s *scan) loadWalk(i int) error {
	w, at := &s.walks[i], len(s.tables)+i
	if w.Valid() {
		s.keys[at] = keyOf(w.Key())
		return nil
	}
	s.keys[at] = scanKey{}
	return s.e.levels.noted(w.Err())
}

// before reports whether a comes before b in the scan. Neither is at its end.
func (s *scan) before(a, b *scanKey) bool {
	if a.digits != b.digits {
		return (a.digits < b.digits) != s.r.Backward
	}
	if c := bytes.Compare(a.key, b.key); s.r.Backward {
		return c > 0
	} else {
		return c < 0
	}
}

// next returns the newest source that has the next key; -1: none has any.
func (s *scan) next() (at int) {
	at = -1
	for i := range s.keys {
		if k := &s.keys[i]; k.key != nil && (at < 0 || s.before(k, &s.keys[at])) {
			at = i
		}
	}
	return at
}

func (s *scan) entry(at int, key []byte) (e storage.Entry, live bool, err error) {
	if at < len(s.tables) {
		row := s.tables[at].Row()
		if row.State != memtable.Live {
			return e, false, nil
		}
		return storage.Entry{Key: key, Value: row.Value(), Time: row.Time()}, true, nil
	}
	row := s.walks[at-len(s.tables)].Row()
	if row.State != memtable.Live {
		return e, false, nil
	}
	value, ms, err := storage.DecodeRow(row.Stored)
	if err != nil {
		return e, false, s.e.levels.distrust(err)
	}
	return storage.Entry{Key: key, Value: value, Time: ms}, true, nil
}

func (k *scanKey) is(other scanKey) bool {
	return k.digits == other.digits && k.key != nil && bytes.Equal(k.key, other.key)
}

// pass moves the sources on that are at key. The active table is the only one that a scan's caller can
// write. It searches its place again when it has new entries: writes ahead are seen.
func (s *scan) pass(passed scanKey) error {
	for i := range s.tables {
		c := &s.tables[i]
		switch {
		case i == 0 && c.Stale():
			c.Resume(s.r, passed.key)
			s.loadTable(i)
		case s.keys[i].is(passed):
			c.Step(s.r)
			s.loadTable(i)
		}
	}
	for i := range s.v.runs {
		if !s.keys[len(s.tables)+i].is(passed) {
			continue
		}
		s.walks[i].Next()
		if err := s.loadWalk(i); err != nil {
			return err
		}
	}
	return nil
}
