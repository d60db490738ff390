// Package bolt has the store that survives its process: memtables over one bbolt file per store partition. It is the only
// package that imports bbolt.
//
// The way of a write: Put goes to the active memtable. At a cut the engine may seal that memtable and start another. When the
// cut has settled, the flusher, a goroutine that lives as long as there is something to flush, writes the sealed memtable in
// ascending order of keys, in a run of synced transactions, the last of which holds the checkpoint. A flushed memtable stays as
// a read cache until its memory is needed. The way of a read: active, sealed and cached memtables, newest first, then the file.
package bolt

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
)

// Options configure an Engine. Only Path is required.
type Options struct {
	// Path is that of the file. Its directory is made when it is first written. Files beside it start with the same name.
	Path string
	// Budget is the memory that memtables share with those of other stores. Defaults to one of the store's own.
	Budget *memory.Budget
	// PageSize is that of a new file, in bytes, a power of two. Defaults to 16 KiB.
	PageSize int
	// NoSync leaves out what protects the file from a power loss: for tests and simulations. Defaults to false.
	NoSync bool
	// TransactionBytes bounds the pages that one transaction of a flush touches. Defaults to 16 MiB.
	TransactionBytes int64
	// RewriteRows is from how many rows on a flush may write a new file rather than change the old one in place.
	// Defaults to 4,096.
	RewriteRows int
	// ReplayBytes is how much changelog may have to be replayed after a crash before the engine flushes of its own.
	// Defaults to 256 MiB.
	ReplayBytes int64
	// Slots, when not nil, limits how many stores flush at once: a flush holds a place in the channel.
	Slots chan struct{}
	// OnFlush is told of every flush, on the flusher's goroutine. Defaults to nothing.
	OnFlush func(FlushInfo)
	// Hook is called at the crash points of a flush. Died is told when it killed one. Default to nothing.
	Hook crashpoint.Hook
	Died func()

	exclusive bool  // as if there were no room for maps: for tests
	leastMap  int64 // a power of two: for tests

}

// Info says what Open found.
type Info struct {
	// Aside is where a file went that could not be trusted, and Reason why. The store is empty then: restore it from its
	// changelog. Empty when nothing went aside.
	Aside, Reason string
	// Compacted is whether the file was written anew because more than half of it was free.
	Compacted bool
}

// Engine is a store of one partition in memory and in a file. Invariants, besides those of store.Engine:
//
//  1. tables[0] is active, then come sealed ones, newest first, then flushed ones. All that is in a younger table hides what is in
//     an older one, and all tables hide the file.
//  2. A table is handed to the flusher, in order of age, when all its epochs are settled; from then on it is only read.
//  3. A table is released by the owner only, after its rows can be seen through the read transaction.
//  4. Memory is given back only in calls that end an epoch or bring changes from outside, never in Get, Put or Scan: the caller may
//     still hold bytes of it.
type Engine struct {
	o        Options
	account  *memory.Account
	file     *file
	flusher  *flusher
	tables   []*table
	epoch    uint64
	cuts     memory.Cuts
	expired  memory.Expiries
	done     uint64           // the newest settled epoch
	settled  store.Checkpoint // of the newest settled epoch or restore
	has      bool             // settled is set
	saved    time.Time        // of the last seal
	debt     int64            // bytes of changelog that only memory holds
	grown    int64            // memory that the last epoch took
	level    int64
	sealNext bool
	scans    int
	merges   []*merge
	value    []byte // the value of the last Get, when it came from the file
	closed   bool
}

// A table is a memtable and what the file holds once it is flushed. Fields but flushed are the owner's; the flusher reads what it
// was handed.
type table struct {
	*memory.Table
	upTo    uint64           // the last epoch in it
	c       store.Checkpoint // where the changelog stood after upTo
	has     bool             // c is known
	state   tableState
	expired []memory.Expiry // what the file is to be without, once it has the table
	drained int64           // the bytes that the account counts as being flushed
	view    bool            // not a table of its own: the settled part of one whose owner waits meanwhile
	flushed chan struct{}   // closed when the file has it
}

type tableState uint8

const (
	active tableState = iota
	sealed            // at a cut that is not settled
	queued            // with the flusher
)

var (
	_ store.Engine   = (*Engine)(nil)
	_ store.Readable = (*Engine)(nil)
)

// Open opens the store at o.Path, or an empty one when there is no file. A file that must not be trusted is moved aside: Info
// tells. A file of an unknown version is ErrVersion. The file is made by the first flush only, so that stores that are never
// written cost nothing.
func Open(o Options) (*Engine, Info, error) {
	if o.Budget == nil {
		o.Budget = memory.NewBudget(0)
	}
	if o.TransactionBytes <= 0 {
		o.TransactionBytes = transactionBytes
	}
	if o.ReplayBytes <= 0 {
		o.ReplayBytes = replayBytes
	}
	if o.RewriteRows <= 0 {
		o.RewriteRows = rewriteFrom
	}
	e := &Engine{o: o, file: newFile(o), epoch: 1}
	info, err := e.openFile()
	if err != nil {
		return nil, info, fmt.Errorf("store %q: %w", o.Path, err)
	}
	e.account = o.Budget.Open(false)
	e.flusher = newFlusher(e)
	e.addTable()
	return e, info, nil
}

// openFile opens the file that is there, with a marker beside it as long as that has not succeeded.
func (e *Engine) openFile() (info Info, err error) {
	if err := removeIfThere(newOf(e.o.Path)); err != nil {
		return info, err
	}
	there, reason, err := inspect(e.o.Path)
	if reason != "" {
		info.Aside, info.Reason = asideOf(e.o.Path), reason
	}
	if err != nil || !there {
		return info, err
	}
	if err := mark(e.o.Path); err != nil {
		return info, err
	}
	err = e.tryOpen(&info)
	if err != nil {
		err = errors.Join(err, e.file.close())
	}
	if errors.Is(err, errCorrupt) {
		info.Aside, info.Reason = asideOf(e.o.Path), err.Error()
		return info, moveAside(e.o.Path)
	}
	return info, errors.Join(err, unmark(e.o.Path))
}

func (e *Engine) tryOpen(info *Info) (err error) {
	f := e.file
	defer func() {
		if r := recover(); r != nil {
			err = f.damaged(r)
		}
	}()
	stat, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	if err := f.open(f.mapFor(stat.Size())); err != nil {
		return err
	}
	if err := f.version(); err != nil {
		return err
	}
	if f.sparse() {
		if err := f.compact(); err != nil {
			return err
		}
		info.Compacted = true
	}
	e.settled, e.has, err = f.checkpoint()
	e.saved = e.settled.Time
	return err
}

// addTable makes a new active table.
func (e *Engine) addTable() {
	t := &table{Table: memory.NewTable(e.account, e.epoch, false), flushed: make(chan struct{})}
	e.tables = append(e.tables, nil)
	copy(e.tables[1:], e.tables)
	e.tables[0] = t
}

// OnPressure sets what is called when this store should give memory back: its owner should cut early. Called on the goroutine
// of any store of the same budget; it must not block and must not call the store. nil: nothing.
func (e *Engine) OnPressure(f func()) { e.account.OnPressure(f) }

// Get implements store.Bytes.
func (e *Engine) Get(key []byte) ([]byte, int64, bool, error) {
	if key == nil {
		return nil, 0, false, store.ErrNilKey
	}
	if r := e.find(key); r.State != memory.Absent {
		if r.State == memory.Deleted {
			return nil, 0, false, nil
		}
		return r.Value(), r.Time(), true, nil
	}
	stored, err := e.getFile(e.value[:0], key)
	if stored == nil || err != nil {
		return nil, 0, false, err
	}
	e.value = stored
	value, ms, err := decodeRow(stored)
	return value, ms, err == nil, err
}

// GetTo implements store.Readable: tables are only looked at, and the lock of the file is for one reader at a time.
func (e *Engine) GetTo(buf, key []byte) ([]byte, int64, bool, error) {
	if key == nil {
		return buf, 0, false, store.ErrNilKey
	}
	if r := e.find(key); r.State != memory.Absent {
		if r.State == memory.Deleted {
			return buf, 0, false, nil
		}
		return append(buf, r.Value()...), r.Time(), true, nil
	}
	n := len(buf)
	stored, err := e.getFile(buf, key)
	if stored == nil || err != nil {
		return buf, 0, false, err
	}
	value, ms, err := decodeRow(stored[n:])
	return append(stored[:n], value...), ms, err == nil, err
}

// find returns what the tables know of key.
func (e *Engine) find(key []byte) memory.Row {
	for _, t := range e.tables {
		if r := t.Get(key); r.State != memory.Absent {
			return r
		}
	}
	return memory.Row{}
}

// getFile appends the row that it finds to buf: the flusher may replace the read transaction as soon as the lock is released. It
// returns nil when there is none.
func (e *Engine) getFile(buf, key []byte) ([]byte, error) {
	if !e.flusher.hasFile.Load() || len(key) > store.MaxKey {
		return nil, nil
	}
	if e.scans == 0 { // else the lock is held
		e.file.lock <- struct{}{}
		defer func() { <-e.file.lock }()
	}
	stored, err := e.file.get(key)
	if stored == nil || err != nil {
		return nil, err
	}
	return append(buf, stored...), nil
}

// Put implements store.Bytes.
func (e *Engine) Put(key, value []byte, time int64) error {
	if err := memory.Check(key, value, true); err != nil {
		return err
	}
	return e.tables[0].Put(key, value, time)
}

// Delete implements store.Bytes.
func (e *Engine) Delete(key []byte, time int64) error {
	if err := memory.Check(key, nil, false); err != nil {
		return err
	}
	return e.tables[0].Delete(key, time)
}

// Len implements store.Bytes. It counts.
func (e *Engine) Len() (n int64, err error) {
	for _, err := range e.Scan(store.Range{}) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Dirty implements store.Engine.
func (e *Engine) Dirty() int64 { return e.tables[0].Dirty() }

// Checkpoint implements store.Engine.
func (e *Engine) Checkpoint() (store.Checkpoint, bool) { return e.flusher.checkpoint() }

// Healthy implements store.Engine.
func (e *Engine) Healthy() error { return e.flusher.healthy() }
