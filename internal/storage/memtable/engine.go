// Package memtable has the memtable, to which every store of Millstream writes, the budget of
// memory that memtables share, and the engine of stores without a disk, which is a memtable alone.
package memtable

import (
	"iter"
	"slices"

	"github.com/millstream-go/millstream/internal/invariant"
	"github.com/millstream-go/millstream/internal/storage"
)

// Engine is a store in memory: a memtable with nothing below. Its rows exist until it is closed; a
// new one is restored from the changelog. Invariants 1 and 2 of storage.Engine hold because it has
// no disk.
type Engine struct {
	table      *Table
	account    *Account
	snapshots  Snapshots
	openEpochs OpenEpochs
	expired    ExpiryList
	settled    uint64
	sweeping   sweep
	ahead      Ahead
	touched    byte               // what was read ahead
	puts       int                // since the last epoch settled
	scans      int                // under way
	position   storage.Checkpoint // of what has settled
	positioned bool               // position is known
	closed     bool
}

var (
	_ storage.Engine           = (*Engine)(nil)
	_ storage.ConcurrentReader = (*Engine)(nil)
	_ storage.Snapshotter      = (*Engine)(nil)
	_ storage.SeriesIndexer    = (*Engine)(nil)
	_ storage.AheadReader      = (*Engine)(nil)
)

// New returns an empty store. Its memory is counted as Pinned in the budget; nil: in none.
func New(b *Budget) *Engine {
	if b == nil {
		b = NewBudget(0)
	}
	a := b.Open(true)
	e := &Engine{table: NewTable(a, 1, true), account: a}
	e.table.Share(&e.snapshots)
	return e
}

// IndexSeries implements storage.SeriesIndexer.
func (e *Engine) IndexSeries(s storage.Series) { e.table.IndexSeries(s) }

// Get implements storage.Bytes.
func (e *Engine) Get(key []byte) ([]byte, int64, bool, error) {
	if key == nil {
		return nil, 0, false, storage.ErrNilKey
	}
	hash := Hash(key)
	e.ahead.Use(hash)
	v, at, ok := live(e.table.GetHashed(hash, key))
	return v, at, ok, nil
}

// AppendTo implements storage.ConcurrentReader: it changes nothing.
func (e *Engine) AppendTo(buf, key []byte) ([]byte, int64, bool, error) {
	if key == nil {
		return buf, 0, false, storage.ErrNilKey
	}
	v, at, ok := live(e.table.Get(key))
	return append(buf, v...), at, ok, nil
}

// live returns the parts of a row that is there.
func live(r Row) (value []byte, time int64, ok bool) {
	if r.State != Live {
		return nil, 0, false
	}
	return r.Value(), r.Time(), true
}

// ReadAhead implements storage.AheadReader.
func (e *Engine) ReadAhead(keys [][]byte) {
	for group := range slices.Chunk(keys, AheadKeys) {
		if e.ahead.Begin(Hash(group[0])) {
			var hashes [AheadKeys]uint32
			_, touched := e.table.ReadAhead(HashAll(&hashes, group))
			e.touched ^= touched
		}
	}
}

// Put implements storage.Bytes.
func (e *Engine) Put(key, value []byte, time int64) error {
	if err := CheckRow(key, value, true); err != nil {
		return err
	}
	e.puts++
	hash := Hash(key)
	e.ahead.Use(hash)
	return e.table.PutHashed(hash, key, value, time)
}

// Delete implements storage.Bytes.
func (e *Engine) Delete(key []byte, time int64) error {
	if err := CheckRow(key, nil, false); err != nil {
		return err
	}
	hash := Hash(key)
	e.ahead.Use(hash)
	return e.table.DeleteHashed(hash, key, time)
}

// Scan implements storage.Bytes.
func (e *Engine) Scan(r storage.Range) iter.Seq2[storage.Entry, error] {
	return func(yield func(storage.Entry, error) bool) { e.Visit(r, yield) }
}

// Visit implements storage.Visitor.
func (e *Engine) Visit(r storage.Range, f func(storage.Entry, error) bool) {
	e.scans++
	defer func() { e.scans-- }()
	c := e.table.Cursor()
	for c.Start(r); c.Valid() && !r.Past(c.Key()); c.Step(r) {
		row := c.Row()
		if row.State != Live {
			continue
		}
		if !f(storage.Entry{Key: row.Key, Value: row.Value(), Time: row.Time()}, nil) {
			return
		}
	}
}

// Len implements storage.Bytes. It does not count.
func (e *Engine) Len() (int64, error) { return e.table.Live(), nil }

// Sizes implements storage.Engine.
func (e *Engine) Sizes() storage.Sizes {
	return storage.Sizes{Rows: e.table.Rows(), MemoryBytes: e.table.Bytes()}
}

// Cut implements storage.Engine.
func (e *Engine) Cut(emit func(storage.Change) error) (uint64, error) {
	e.failInScan("cut")
	epoch, err := e.table.Cut(emit)
	if err == nil {
		e.openEpochs.Add(epoch)
	}
	return epoch, err
}

// Settle implements storage.Engine.
func (e *Engine) Settle(epoch uint64, c storage.Checkpoint) {
	e.failInScan("settle")
	e.position, e.positioned = c, true
	e.openEpochs.Settle(epoch)
	e.settle(epoch)
	e.dropExpired()
}

func (e *Engine) settle(epoch uint64) {
	// First: a snapshot that is opened while the table lets go of what is older must not need it.
	e.snapshots.Lock()
	e.settled = epoch
	e.snapshots.Unlock()
	e.table.Settle(epoch)
	// No flush frees these logs, however long a scan takes.
	if e.table.RetainedBytes() > e.account.budget.limit {
		e.snapshots.EndReaders(e.table)
		e.table.DropRetained()
	}
}

// Expire implements storage.Engine.
func (e *Engine) Expire(from, to []byte) { e.expired.Add(e.table.Epoch(), from, to) }

// dropAtLeast is how many expired rows are removed when an epoch settles, besides twice as many as
// were put since the last one. That takes a few milliseconds, and removes rows faster than they
// come. A table without order is swept instead, four slots of the index for each row.
const dropAtLeast = 4096

// dropExpired removes expired rows, but not so many at once that records wait for it.
func (e *Engine) dropExpired() {
	limit := dropAtLeast + 2*e.puts
	e.puts = 0
	if len(e.expired) == 0 && e.sweeping.ranges == nil {
		return
	}
	// A store that is never scanned has no order, and making one takes long for many rows.
	if !e.table.Ordered() {
		e.sweep(4 * limit)
		return
	}
	// A scan may have put the rows in order during a sweep. What the sweep has not reached is dropped
	// in order.
	e.expired = append(e.sweeping.ranges, e.expired...)
	e.sweeping.ranges = nil
	var remaining []Expiry
	until := e.snapshots.Oldest(e.settled)
	for _, expiry := range e.expired.Until(until) {
		n, done := e.table.Drop(expiry, limit)
		limit -= n
		if !done {
			remaining = append(remaining, expiry)
		}
	}
	e.expired.Settle(until, remaining)
}

// A sweep visits the whole index once, a part at each settled epoch. Ranges that expire meanwhile
// wait for the next sweep.
type sweep struct {
	ranges []Expiry // nil: no sweep is under way
	next   int      // the slot where it continues
	slots  int      // the size of the index when the sweep began
}

func (e *Engine) sweep(limit int) {
	s := &e.sweeping
	if s.ranges == nil {
		// Rows that have expired since a snapshot was opened are there for it.
		until := e.snapshots.Oldest(e.settled)
		s.ranges, s.next = e.expired.Until(until), 0
		e.expired.Settle(until, nil)
	}
	// When the index grows, all entries move: begin again.
	if slots := e.table.IndexSlots(); s.next == 0 || slots != s.slots {
		s.next, s.slots = 0, slots
	}
	if len(s.ranges) == 0 {
		s.ranges = nil
		return
	}
	var done bool
	if s.next, done = e.table.Sweep(s.ranges, s.next, limit); done {
		s.ranges = nil
	}
}

// Undo implements storage.Engine.
func (e *Engine) Undo() error {
	e.failInScan("undo")
	e.openEpochs.Undo()
	e.table.Undo()
	e.expired.Undo(e.settled)
	// Epoch numbers are not used twice. Else a late Settle of an undone epoch could settle a new one.
	e.table.SetEpoch(e.table.Epoch() + 1)
	return nil
}

// Checkpoint implements storage.Engine: there is none, a store in memory is restored in full.
func (e *Engine) Checkpoint() (storage.Checkpoint, bool) { return storage.Checkpoint{}, false }

// Position implements storage.Engine.
func (e *Engine) Position() (storage.Checkpoint, bool) { return e.position, e.positioned }

// ForgetPosition implements storage.Engine.
func (e *Engine) ForgetPosition() { e.position, e.positioned = storage.Checkpoint{}, false }

// Restore implements storage.Engine.
func (e *Engine) Restore(changes []storage.Change, c storage.Checkpoint) error {
	e.failInScan("restore")
	if err := e.load(changes); err != nil {
		return err
	}
	e.position, e.positioned = c, true
	e.puts += len(changes)
	e.dropExpired()
	return nil
}

// load writes the changes of a restore.
func (e *Engine) load(changes []storage.Change) error {
	if e.table.Unsettled() {
		invariant.Fail("restore with unsettled epochs")
	}
	if e.snapshots.TryRefuse() {
		defer e.snapshots.Allow()
		defer e.expired.Accept()
		e.table.DropRetained()
		return e.table.writeAll(changes, e.table.Load)
	}
	// Open snapshots need the rows before. So the changes are an epoch, and what was declared expired
	// since the last one belongs to it. It settles at once.
	err := e.table.writeAll(changes, e.table.PutOrDelete)
	epoch, _ := e.table.Cut(func(storage.Change) error { return nil })
	e.settle(epoch)
	return err
}

func (t *Table) writeAll(changes []storage.Change, write func(key, value []byte, time int64) error) error {
	for i, c := range changes {
		if i%AheadKeys == 0 {
			t.ReadAheadOf(changes[i:])
		}
		if err := CheckRow(c.Key, c.Value, false); err != nil {
			return err
		}
		if err := write(c.Key, c.Value, c.Time); err != nil {
			return err
		}
	}
	return nil
}

// Snapshot implements storage.Snapshotter.
func (e *Engine) Snapshot() (storage.Snapshot, error) {
	x, err := e.snapshots.Open(func() (uint64, []*Table, func()) { return e.settled, []*Table{e.table}, nil })
	if err != nil {
		return nil, err
	}
	return engineSnapshot{x}, nil
}

// engineSnapshot is a snapshot of a store that has one table and nothing below.
type engineSnapshot struct{ *Snapshot }

// AppendTo implements storage.Snapshot.
func (s engineSnapshot) AppendTo(buf, key []byte) ([]byte, int64, bool, error) {
	if key == nil {
		return buf, 0, false, storage.ErrNilKey
	}
	n := len(buf)
	stored, state, err := s.Snapshot.AppendTo(buf, key)
	if err != nil || state != Live {
		return buf, 0, false, err
	}
	row := Row{Stored: stored[n:]}
	at := row.Time()
	return append(stored[:n], row.Value()...), at, true, nil
}

// Rows implements storage.Snapshot.
func (s engineSnapshot) Rows(r storage.Range) storage.RowReader {
	return &engineRows{s: s.Snapshot, r: r}
}

// engineRows implements storage.RowReader.
type engineRows struct {
	s    *Snapshot
	r    storage.Range
	rows *TableRows
}

// Next implements storage.RowReader.
func (x *engineRows) Next() (storage.Entry, bool, error) {
	for {
		var err error
		if x.rows == nil {
			x.rows, err = x.s.ReadTable(0, x.r)
		} else if x.rows.Valid() {
			err = x.rows.Next()
		}
		if err != nil || !x.rows.Valid() {
			return storage.Entry{}, false, err
		}
		if row := x.rows.Row(); row.State == Live {
			return storage.Entry{Key: row.Key, Value: row.Value(), Time: row.Time()}, true, nil
		}
	}
}

// Truncate implements storage.Engine.
func (e *Engine) Truncate() error {
	e.failInScan("truncate")
	e.snapshots.Refuse()
	defer e.snapshots.Allow()
	e.openEpochs.Undo()
	e.ForgetPosition()
	e.expired, e.sweeping = nil, sweep{}
	e.table.Release()
	e.table.SetEpoch(e.table.Epoch() + 1)
	return nil
}

// Dirty implements storage.Engine.
func (e *Engine) Dirty() int64 { return e.table.Dirty() }

// Flush implements storage.Engine: there is nothing to do.
func (e *Engine) Flush(bool) error { return nil }

// Healthy implements storage.Engine.
func (e *Engine) Healthy() error { return nil }

// Close implements storage.Engine. It frees all memory. A second Close does nothing.
func (e *Engine) Close(bool) error {
	if e.closed {
		return nil
	}
	e.closed = true
	e.snapshots.Refuse()
	e.table.Release()
	e.account.Close()
	return nil
}

// failInScan fails when a scan is under way. These calls remove entries, and the scan's cursor may
// be at one of them.
func (e *Engine) failInScan(what string) {
	if e.scans > 0 {
		invariant.Fail("%s inside a scan", what)
	}
}
