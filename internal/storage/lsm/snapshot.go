package lsm

import (
	"bytes"
	"runtime/debug"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/run"
)

// A snapshot has the tables that were not flushed when it was opened, as of the newest epoch that had
// settled then, and the version of the runs of that moment. Whatever is flushed or merged later, the
// two together are all rows.
type snapshot struct {
	*memtable.Snapshot
	levels *levels
	v      *version
}

// Snapshot implements storage.Snapshotter.
func (e *Engine) Snapshot() (storage.Snapshot, error) {
	s := &snapshot{levels: e.levels}
	var err error
	s.Snapshot, err = e.snapshots.Open(func() (uint64, []*memtable.Table, func()) {
		var tables []*memtable.Table
		for _, t := range e.tables {
			// Flushed tables come last, and the version below has their rows: it is acquired after they
			// were seen to be flushed.
			if t.isFlushed() {
				break
			}
			tables = append(tables, t.Table)
		}
		s.v = e.levels.acquire()
		return e.done, tables, func() { e.levels.release(s.v) }
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// AppendTo implements storage.Snapshot.
func (s *snapshot) AppendTo(buf, key []byte) ([]byte, int64, bool, error) {
	if key == nil {
		return buf, 0, false, storage.ErrNilKey
	}
	n := len(buf)
	stored, state, err := s.Snapshot.AppendTo(buf, key)
	if err == nil && state == memtable.Absent {
		stored, state, err = s.appendFromRuns(buf, key)
	}
	if err != nil || state != memtable.Live {
		return buf, 0, false, err
	}
	value, ms, err := storage.DecodeRow(stored[n:])
	if err != nil {
		return buf, 0, false, s.levels.distrust(err)
	}
	return append(stored[:n], value...), ms, true, nil
}

func (s *snapshot) appendFromRuns(buf, key []byte) ([]byte, memtable.State, error) {
	if err := s.Begin(); err != nil {
		return buf, memtable.Absent, err
	}
	defer s.Done()
	if err := s.levels.damaged(); err != nil {
		return buf, memtable.Absent, err
	}
	stored, err := s.levels.getIn(s.v, buf, key, nil)
	if stored == nil || err != nil {
		return buf, memtable.Absent, err
	}
	return stored, memtable.Live, nil
}

// Rows implements storage.Snapshot.
func (s *snapshot) Rows(r storage.Range) storage.RowReader {
	return &snapshotRows{s: s, r: r, limit: firstRows}
}

// A batch of a scan has firstRows rows, then twice as many each time, up to mostRows, and not many more
// than mostBytes.
const (
	firstRows = 8
	mostRows  = 128
	mostBytes = 64 << 10
)

// snapshotRows is scan for a snapshot. It merges the rows of the tables, which are copied some at a
// time with the lock, with those of the runs, which are read without it. What it returns was copied
// once more, in the step in which the files were read: between two steps the owner may close them.
type snapshotRows struct {
	s      *snapshot
	r      storage.Range
	tables []*memtable.TableRows
	walks  []run.Walk
	begun  bool
	ended  bool
	err    error

	limit int
	rows  []storage.Entry
	at    int
	bytes []byte // of rows
}

// Next implements storage.RowReader.
func (x *snapshotRows) Next() (storage.Entry, bool, error) {
	if x.at == len(x.rows) && !x.ended && x.err == nil {
		x.fill()
	}
	if x.at < len(x.rows) {
		x.at++
		return x.rows[x.at-1], true, nil
	}
	return storage.Entry{}, false, x.err
}

// fill reads the next rows. Rows that were read before an error come before it.
func (x *snapshotRows) fill() {
	x.rows, x.at, x.bytes = x.rows[:0], 0, x.bytes[:0]
	if !x.begun {
		// Not in the step: it may put a table in order, which takes long.
		for i := range x.s.Tables() {
			rows, err := x.s.ReadTable(i, x.r)
			if err != nil {
				x.err = err
				return
			}
			x.tables = append(x.tables, rows)
		}
	}
	if x.err = x.s.Begin(); x.err != nil {
		return
	}
	defer x.s.Done()
	// A page may fail to be read anywhere in here. On the goroutine of a caller nobody else would turn
	// the fault into an error.
	fault := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(fault)
		if p := recover(); p != nil {
			x.err = x.fault(p)
		}
	}()
	if x.err = x.s.levels.damaged(); x.err != nil {
		return
	}
	if !x.begun {
		x.begun = true
		x.startWalks()
	}
	for x.err == nil && !x.ended && len(x.rows) < x.limit && len(x.bytes) < mostBytes {
		x.err = x.step()
	}
	x.limit = min(2*x.limit, mostRows)
}

// fault returns the damage of the file in whose map the process faulted. Any other panic goes on.
func (x *snapshotRows) fault(p any) error {
	if at, ok := p.(interface{ Addr() uintptr }); ok {
		for i := range x.walks {
			if err := x.walks[i].Fault(p, at.Addr()); err != nil {
				return x.s.levels.distrust(err)
			}
		}
	}
	panic(p)
}

func (x *snapshotRows) startWalks() {
	x.walks = make([]run.Walk, len(x.s.v.runs))
	for i, files := range x.s.v.runs {
		x.walks[i].Start(files, x.r, false)
	}
}

// step takes the next key, from the newest source that has it, and moves all sources on that have it.
func (x *snapshotRows) step() error {
	var first memtable.Row
	found := false
	better := func(row memtable.Row) {
		if c := bytes.Compare(row.Key, first.Key); !found || c < 0 && !x.r.Backward || c > 0 && x.r.Backward {
			first, found = row, true
		}
	}
	for _, t := range x.tables {
		if t.Valid() {
			better(t.Row())
		}
	}
	for i := range x.walks {
		w := &x.walks[i]
		if err := w.Err(); err != nil {
			return x.s.levels.noted(err)
		}
		if w.Valid() {
			better(w.Row())
		}
	}
	// Walks do not end where the range ends.
	if !found || x.r.Past(first.Key) {
		x.ended = true
		return nil
	}
	if first.State == memtable.Live {
		if err := x.copy(first); err != nil {
			return err
		}
	}
	return x.pass(first.Key)
}

// pass moves on the sources that are at key, which is the memory of one of them. The tables are last:
// theirs is overwritten then.
func (x *snapshotRows) pass(key []byte) error {
	for i := range x.walks {
		if w := &x.walks[i]; w.Valid() && bytes.Equal(w.Key(), key) {
			w.Next()
		}
	}
	// Which tables are at key is known before the first of them moves on.
	var at [8]*memtable.TableRows
	moving := at[:0]
	for _, t := range x.tables {
		if t.Valid() && bytes.Equal(t.Row().Key, key) {
			moving = append(moving, t)
		}
	}
	for _, t := range moving {
		if err := t.Next(); err != nil {
			return err
		}
	}
	return nil
}

// copy adds a row. When the memory grows, the rows before go on using the old one.
func (x *snapshotRows) copy(row memtable.Row) error {
	value, ms, err := storage.DecodeRow(row.Stored)
	if err != nil {
		return x.s.levels.distrust(err)
	}
	from, n := len(x.bytes), len(row.Key)
	x.bytes = append(append(x.bytes, row.Key...), value...)
	b := x.bytes[from:len(x.bytes):len(x.bytes)]
	x.rows = append(x.rows, storage.Entry{Key: b[:n:n], Value: b[n:], Time: ms})
	return nil
}
