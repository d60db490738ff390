// Package lsm has the store that outlives its process: memtables over runs of immutable files
// (package run).
//
// A write goes to the active memtable. A cut may seal that memtable and start another. When the cut
// has settled, the flusher writes the sealed memtable as a new run: its rows in order, once. The
// merger makes one run of several, so that reads have few runs to look into. Each has a goroutine
// that lives as long as there is work. A read looks into the memtables, the newest first, and then
// into the runs, the newest first; the filter of a file says nearly always whether it has the key.
//
// The cost of a row grows with the logarithm of the number of rows. With a single file for a store, in
// which a flush of spread rows writes most pages anew, it grows with the number.
//
// Small stores, too, have their rows in run files, with small pages. The alternative, a database that
// is changed in place for few rows, would need checksums and a way of reading of its own. The price: a
// flush of ten rows takes three to five times as long as in such a database (BenchmarkSmallFlush), with
// four syncs against two, and a merge every few flushes.
package lsm

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/invariant"
	"github.com/millstream-go/millstream/internal/safefile"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/quarantine"
	"github.com/millstream-go/millstream/internal/storage/run"
)

// Options configure an Engine. Only Path is required.
type Options struct {
	// Path is the directory of the store partition. It is made when it is first written.
	Path string
	// Store and Partition say whose files these are. Files of another store are damage. Stores of
	// different applications need different names: "application/store".
	Store     string
	Partition int32
	// Budget is the memory that memtables share with those of other stores. Defaults to one of the
	// store's own.
	Budget *memtable.Budget
	// PageSize is that of run files, in bytes, a power of two. Files of few rows have smaller ones.
	// Defaults to run.DefaultPageSize.
	PageSize int
	// FileBytes is about the length of the files of large runs. Defaults to 64 MiB.
	FileBytes int64
	// Factor is how many runs of similar size are merged into one. Defaults to 4.
	Factor int
	// MaxRuns is with how many runs flushes wait for merges. Defaults to 24.
	MaxRuns int
	// NoSync leaves out what protects the files from a power loss: for tests and simulations.
	NoSync bool
	// ReplayBytes is how much changelog may have to be replayed after a crash before the engine
	// flushes without being asked. Defaults to 256 MiB.
	ReplayBytes int64
	// Slots and MergeSlots, when not nil, limit how many stores flush and merge at once: each holds a
	// place in the channel. They are two: a merge takes a place for the time in which a file is
	// written, and flushes, for which memory waits, would wait for it.
	Slots, MergeSlots chan struct{}
	// Pace, when not nil, bounds what merges write.
	Pace *Pace
	// OnFlush is called after every flush, on the flusher's goroutine. May be nil.
	OnFlush func(FlushInfo)
	// OnMerge is called when a merge begins, ends and fails, and when flushes begin and end to wait for
	// merges, on the goroutine of the merger or the flusher. May be nil.
	OnMerge func(MergeInfo)
	// Hook is called at crash points, and Crashed when it has ended a goroutine. May be nil.
	Hook    crashpoint.Hook
	Crashed func()
}

func (o Options) withDefaults() Options {
	if o.Budget == nil {
		o.Budget = memtable.NewBudget(0)
	}
	if o.PageSize == 0 {
		o.PageSize = run.DefaultPageSize
	}
	if o.FileBytes <= 0 {
		o.FileBytes = 64 << 20
	}
	if o.Factor < 2 {
		o.Factor = 4
	}
	if o.MaxRuns <= 0 {
		o.MaxRuns = 24
	}
	if o.Slots != nil && o.Slots == o.MergeSlots {
		invariant.Fail("flushes and merges have one channel of places")
	}
	o.MaxRuns = max(2, o.MaxRuns) // of a single run there is nothing to merge, and a flush would wait for ever
	if o.ReplayBytes <= 0 {
		o.ReplayBytes = replayBytes
	}
	return o
}

// Info says what Open found.
type Info struct {
	// File is a file that could not be trusted, Quarantined where it is now, and Reason what was wrong.
	// The store is empty then: restore it from its changelog. All are empty when nothing was wrong;
	// Quarantined is empty when there was nothing left to be moved.
	File, Quarantined, Reason string
}

// Engine is a store of one partition in memory and in runs. Invariants, besides those of
// storage.Engine:
//
//  1. tables[0] is active. Sealed tables follow, newest first, then flushed ones. A row in a table
//     hides rows in older tables, and all tables hide the runs.
//  2. A table goes to the flusher, in order of age, when all its epochs are settled. From then on it
//     is only read.
//  3. Only the owner releases a table, and only after a version of the runs with its rows was
//     published. A table that snapshots still read is retired before that.
//  4. Memory is freed only in calls that end an epoch or bring changes from outside, never in Get, Put
//     or Scan: the caller may still use bytes of it.
//  5. tables and done change with the lock of snapshots: a snapshot is of both at one moment. A table
//     is queued after done has come to its last epoch. So no version of the runs has a row that is newer
//     than done.
type Engine struct {
	o       Options
	account *memtable.Account
	levels  *levels
	flusher *flusher
	merger  *merger
	tables  []*table
	// retired are flushed tables that only snapshots read. Their memory is that of retained.
	retired   []*memtable.Table
	retained  *memtable.Account
	snapshots memtable.Snapshots
	epoch     uint64
	cuts      memtable.OpenEpochs
	expired   memtable.ExpiryList
	done      uint64             // the newest settled epoch
	settled   storage.Checkpoint // of the newest settled epoch or restore
	has       bool               // settled is set
	forgotten bool               // Position is that of the files
	saved     time.Time          // of the last seal
	debt      int64              // bytes of changelog that only memory has
	grown     int64              // memory that the last epoch needed
	level     int64
	sealNext  bool
	scans     int
	merges    []*scan
	series    storage.Series
	// Since the last call of noteScans.
	seriesScans, walks int
	value              []byte // the value of the last Get, when it came from a file
	ahead              memtable.Ahead
	inRuns             runsAhead
	touched            byte // what was read ahead: the reads must not be optimised away
	closed             bool
}

// A table is a memtable and what is on disk once it is flushed. Fields but flushed are the owner's;
// the flusher reads those of tables in its queue.
type table struct {
	*memtable.Table
	upTo    uint64             // the last epoch in it
	c       storage.Checkpoint // where the changelog stood after upTo
	has     bool               // c is known
	state   tableState
	expired []memtable.Expiry // rows in them are left out
	drained int64             // the bytes that the account counts as being flushed
	view    bool              // not a table of its own: the settled part of one whose owner waits meanwhile
	flushed chan struct{}     // closed when a version with the rows is published
}

type tableState uint8

const (
	active tableState = iota
	sealed            // at a cut that is not settled
	queued            // with the flusher
)

var (
	_ storage.Engine           = (*Engine)(nil)
	_ storage.ConcurrentReader = (*Engine)(nil)
	_ storage.Damageable       = (*Engine)(nil)
	_ storage.Snapshotter      = (*Engine)(nil)
	_ storage.Visitor          = (*Engine)(nil)
	_ storage.SeriesIndexer    = (*Engine)(nil)
	_ storage.AheadReader      = (*Engine)(nil)
	_ storage.Segmenter        = (*Engine)(nil)
)

// Open opens the store at o.Path, or an empty one when there are no files. Files that cannot be
// trusted are moved aside, as Info says. Files of an unknown version are storage.ErrVersion. The first
// flush makes the first file, so stores that are never written cost nothing.
func Open(o Options) (*Engine, Info, error) {
	o = o.withDefaults()
	e := &Engine{o: o, epoch: 1}
	info, err := e.openLevels()
	if err != nil {
		return nil, info, fmt.Errorf("store %q: %w", o.Path, err)
	}
	e.settled, e.has = e.levels.root.checkpoint, e.levels.root.has
	e.saved = e.settled.Time
	e.account, e.retained = o.Budget.Open(false), o.Budget.OpenRetained()
	e.merger = newMerger(e.levels)
	e.flusher = newFlusher(e)
	e.addTable()
	e.merger.start() // goes on with what was not at its end
	return e, info, nil
}

func (e *Engine) openLevels() (info Info, err error) {
	e.levels, err = openLevels(&e.o)
	if err == nil || !errors.Is(err, storage.ErrDamaged) {
		return info, err
	}
	info.Reason, info.File = err.Error(), suspectOf(&e.o)
	if info.Quarantined, err = discard(e.o.Path, info.File); err != nil {
		return info, err
	}
	e.levels, err = openLevels(&e.o)
	return info, err
}

// addTable makes a new active table.
func (e *Engine) addTable() {
	t := &table{Table: memtable.NewTable(e.account, e.epoch, false), flushed: make(chan struct{})}
	t.Share(&e.snapshots)
	t.IndexSeries(e.series)
	e.snapshots.Lock()
	defer e.snapshots.Unlock()
	e.tables = append(e.tables, nil)
	copy(e.tables[1:], e.tables)
	e.tables[0] = t
}

// IndexSeries implements storage.SeriesIndexer.
func (e *Engine) IndexSeries(s storage.Series) {
	if e.series = s; s.Tail > 0 {
		e.levels.series.Store(&s)
		e.tables[0].IndexSeries(s)
	}
}

// GroupSegments implements storage.Segmenter. A merge that goes on as soon as the engine is opened may not
// know of segments yet: its file has rows of several then, and is removed with the last one.
func (e *Engine) GroupSegments(s storage.Segments) { e.levels.segments.Store(&s) }

// OnPressure sets the function that is called when this store should free memory: its owner should cut
// early. It is called on the goroutine of any store of the same budget, and must neither block nor
// call the store. nil: none.
func (e *Engine) OnPressure(f func()) { e.account.OnPressure(f) }

// Get implements storage.Bytes.
func (e *Engine) Get(key []byte) ([]byte, int64, bool, error) {
	if key == nil {
		return nil, 0, false, storage.ErrNilKey
	}
	hash := memtable.Hash(key)
	e.ahead.Use(hash)
	if r := e.find(hash, key); r.State != memtable.Absent {
		if r.State == memtable.Deleted {
			return nil, 0, false, nil
		}
		return r.Value(), r.Time(), true, nil
	}
	// A copy, in memory of the engine: a merge may replace the file and unmap it while the caller
	// still uses the value.
	stored, err := e.getAhead(hash, e.value[:0], key)
	if stored == nil || err != nil {
		return nil, 0, false, err
	}
	e.value = stored
	value, ms, err := storage.DecodeRow(stored)
	if err != nil {
		return nil, 0, false, e.levels.distrust(err)
	}
	return value, ms, true, nil
}

// AppendTo implements storage.ConcurrentReader: it changes nothing.
func (e *Engine) AppendTo(buf, key []byte) ([]byte, int64, bool, error) {
	if key == nil {
		return buf, 0, false, storage.ErrNilKey
	}
	if r := e.find(memtable.Hash(key), key); r.State != memtable.Absent {
		if r.State == memtable.Deleted {
			return buf, 0, false, nil
		}
		return append(buf, r.Value()...), r.Time(), true, nil
	}
	n := len(buf)
	// Into the caller's memory, not into e.value as Get does: several goroutines may be here at
	// once.
	stored, err := e.getRuns(buf, key)
	if stored == nil || err != nil {
		return buf, 0, false, err
	}
	value, ms, err := storage.DecodeRow(stored[n:])
	if err != nil {
		return buf, 0, false, e.levels.distrust(err)
	}
	return append(stored[:n], value...), ms, true, nil
}

// find returns what the tables have of key.
func (e *Engine) find(hash uint32, key []byte) memtable.Row {
	for _, t := range e.tables {
		if r := t.GetHashed(hash, key); r.State != memtable.Absent {
			return r
		}
	}
	return memtable.Row{}
}

func (e *Engine) getRuns(buf, key []byte) ([]byte, error) {
	if err := e.levels.damaged(); err != nil {
		return nil, err
	}
	return e.levels.get(buf, key)
}

// Put implements storage.Bytes.
func (e *Engine) Put(key, value []byte, time int64) error {
	if err := memtable.CheckRow(key, value, true); err != nil {
		return err
	}
	hash := memtable.Hash(key)
	e.ahead.Use(hash)
	return e.tables[0].PutHashed(hash, key, value, time)
}

// Delete implements storage.Bytes.
func (e *Engine) Delete(key []byte, time int64) error {
	if err := memtable.CheckRow(key, nil, false); err != nil {
		return err
	}
	hash := memtable.Hash(key)
	e.ahead.Use(hash)
	return e.tables[0].DeleteHashed(hash, key, time)
}

// Len implements storage.Bytes. It counts.
func (e *Engine) Len() (n int64, err error) {
	e.Visit(storage.Range{}, func(_ storage.Entry, failed error) bool {
		if err = failed; err == nil {
			n++
		}
		return true
	})
	return n, err
}

// Sizes implements storage.Engine.
func (e *Engine) Sizes() storage.Sizes {
	var s storage.Sizes
	// Tables before files: of one that is flushed meanwhile the rows count twice, and not never.
	for _, t := range e.tables {
		s.MemoryBytes += t.Bytes()
		select {
		case <-t.flushed: // its rows are in the files
		default:
			s.Rows += t.Rows()
		}
	}
	v := e.levels.acquire()
	defer e.levels.release(v)
	s.Files = len(v.files)
	for _, f := range v.files {
		s.Rows += f.Rows()
		s.FileBytes += f.Bytes()
	}
	return s
}

// Dirty implements storage.Engine.
func (e *Engine) Dirty() int64 { return e.tables[0].Dirty() }

// Checkpoint implements storage.Engine.
func (e *Engine) Checkpoint() (storage.Checkpoint, bool) { return e.flusher.checkpoint() }

// Position implements storage.Engine.
func (e *Engine) Position() (storage.Checkpoint, bool) {
	if e.forgotten {
		return e.Checkpoint()
	}
	return e.settled, e.has
}

// ForgetPosition implements storage.Engine. settled stays: it is what the next flush writes down.
func (e *Engine) ForgetPosition() { e.forgotten = true }

// Healthy implements storage.Engine.
func (e *Engine) Healthy() error {
	if err := e.levels.damaged(); err != nil {
		return err
	}
	return errors.Join(e.flusher.healthy(), e.merger.healthy())
}

// Damaged implements storage.Damageable.
func (e *Engine) Damaged() error { return e.levels.damaged() }

// Distrust implements storage.Damageable.
func (e *Engine) Distrust(reason error) {
	_ = e.levels.distrust(fmt.Errorf("%q: %w: %w", e.o.Path, storage.ErrDamaged, reason))
}

// OnDisk implements storage.Damageable.
func (e *Engine) OnDisk() bool { return len(e.levels.current.Load().runs) > 0 }

// OnDamage implements storage.Damageable.
func (e *Engine) OnDamage(f func()) { e.levels.onDamage.Store(&f) }

// Faulted implements storage.Damageable.
func (e *Engine) Faulted(addr uintptr) bool { return e.levels.maps(addr) }

// Discard closes a store whose files cannot be trusted. It moves the file that is damaged aside and
// removes the others. Info says where that file is now, and why.
func (e *Engine) Discard() (Info, error) {
	reason := e.levels.damaged()
	suspect := e.levels.suspect()
	err := e.Close(false)
	to, moved := discard(e.o.Path, suspect)
	info := Info{File: suspect, Quarantined: to}
	if reason != nil {
		info.Reason = reason.Error()
	}
	return info, errors.Join(err, moved)
}

// suspectOf returns the file that keeps a store from being opened: what is in the place of its
// directory, the first run file that is not what the root lists, or the root.
func suspectOf(o *Options) string {
	if checkDir(o.Path) != nil {
		return o.Path
	}
	l := &levels{o: o}
	r, _, err := readRoot(o)
	if err == nil {
		for _, x := range r.runs {
			for _, f := range x.files {
				opened, err := run.Open(l.path(f.info.Sequence), f.info)
				if err == nil {
					err = opened.Close()
				}
				if errors.Is(err, storage.ErrDamaged) || errors.Is(err, safefile.ErrNotRegular) {
					return l.path(f.info.Sequence)
				}
			}
		}
	}
	return rootPath(o)
}

// discard moves a file of a store aside and removes the store's directory. The root goes first: without
// it, the other files are none of the store's, whenever the process ends.
func discard(dir, suspect string) (to string, err error) {
	root := rootPath(&Options{Path: dir})
	switch suspect {
	case dir, root:
		to, err = quarantine.Move(suspect, dir)
	default:
		if err = removeIfThere(root); err == nil {
			to, err = quarantine.Move(suspect, dir)
		}
	}
	if err != nil {
		return to, err
	}
	if err := os.RemoveAll(dir); err != nil || to == "" {
		return to, err
	}
	return to, quarantine.Sync(dir)
}
