// Package memory has the memtable, which every store of Millstream writes to, the budget that memtables share, and the
// store that is a memtable with nothing below.
package memory

import (
	"iter"

	"github.com/millstream-go/millstream/internal/invariant"
	"github.com/millstream-go/millstream/store"
)

// Engine is a store that lives in memory alone: a memtable with nothing below. Its rows are lost when it is closed, and
// its changelog restores them. It keeps invariants 1 and 2 of store.Engine by having no disk.
type Engine struct {
	table    *Table
	account  *Account
	cuts     Cuts
	expired  Expiries
	settled  uint64
	sweeping sweep
	puts     int // since the last epoch that settled
	scans    int
	closed   bool
}

var (
	_ store.Engine   = (*Engine)(nil)
	_ store.Readable = (*Engine)(nil)
)

// New returns an empty store. Its memory shows as Pinned in the budget; nil: in none.
func New(b *Budget) *Engine {
	if b == nil {
		b = NewBudget(0)
	}
	a := b.Open(true)
	return &Engine{table: NewTable(a, 1, true), account: a}
}

// Get implements store.Bytes.
func (e *Engine) Get(key []byte) ([]byte, int64, bool, error) {
	if key == nil {
		return nil, 0, false, store.ErrNilKey
	}
	r := e.table.Get(key)
	if r.State != Live {
		return nil, 0, false, nil
	}
	return r.Value(), r.Time(), true, nil
}

// GetTo implements store.Readable.
func (e *Engine) GetTo(buf, key []byte) ([]byte, int64, bool, error) {
	v, at, ok, err := e.Get(key)
	return append(buf, v...), at, ok, err
}

// Put implements store.Bytes.
func (e *Engine) Put(key, value []byte, time int64) error {
	if err := Check(key, value, true); err != nil {
		return err
	}
	e.puts++
	return e.table.Put(key, value, time)
}

// Delete implements store.Bytes.
func (e *Engine) Delete(key []byte, time int64) error {
	if err := Check(key, nil, false); err != nil {
		return err
	}
	return e.table.Delete(key, time)
}

// Scan implements store.Bytes.
func (e *Engine) Scan(r store.Range) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) { e.Visit(r, yield) }
}

// Visit implements store.Visitor.
func (e *Engine) Visit(r store.Range, f func(store.Entry, error) bool) {
	e.scans++
	defer func() { e.scans-- }()
	c := e.table.Cursor()
	for c.Start(r); c.Valid() && !r.Past(c.Key()); c.Step(r) {
		row := c.Row()
		if row.State != Live {
			continue
		}
		if !f(store.Entry{Key: row.Key, Value: row.Value(), Time: row.Time()}, nil) {
			return
		}
	}
}

// Len implements store.Bytes. It does not count.
func (e *Engine) Len() (int64, error) { return e.table.Live(), nil }

// Cut implements store.Engine.
func (e *Engine) Cut(emit func(store.Change) error) (uint64, error) {
	e.noScan("cut")
	epoch, err := e.table.Cut(emit)
	if err == nil {
		e.cuts.Add(epoch)
	}
	return epoch, err
}

// Settle implements store.Engine.
func (e *Engine) Settle(epoch uint64, _ store.Checkpoint) {
	e.noScan("settle")
	e.cuts.Settle(epoch)
	e.table.Settle(epoch)
	e.settled = epoch
	e.drop()
}

// Expire implements store.Engine.
func (e *Engine) Expire(from, to []byte) { e.expired.Add(e.table.Epoch(), from, to) }

// dropAtLeast is how many expired rows go with each epoch that settles, besides twice as many as have come: a few milliseconds. Where
// rows are not in order it is a quarter of the places of the index that are looked at.
const dropAtLeast = 4096

// drop removes rows that have expired, not so many that the worker notices.
func (e *Engine) drop() {
	limit := dropAtLeast + 2*e.puts
	e.puts = 0
	if len(e.expired) == 0 && e.sweeping.ranges == nil {
		return
	}
	if !e.table.Ordered() {
		e.sweep(4 * limit)
		return
	}
	e.expired = append(e.sweeping.ranges, e.expired...) // a scan has put the rows in order meanwhile
	e.sweeping.ranges = nil
	var left []Expiry
	for _, x := range e.expired.Until(e.settled) {
		n, done := e.table.Drop(x, limit)
		limit -= n
		if !done {
			left = append(left, x)
		}
	}
	e.expired.Settle(e.settled, left)
}

// A sweep goes once over the index; ranges that expire meanwhile wait for the next one.
type sweep struct {
	ranges []Expiry // nil: there is none under way
	at     int
	places int // of the index when it began
}

func (e *Engine) sweep(limit int) {
	s := &e.sweeping
	if s.ranges == nil {
		s.ranges, s.at = e.expired.Until(e.settled), 0
		e.expired.Settle(e.settled, nil)
	}
	if places := e.table.Places(); s.at == 0 || places != s.places {
		s.at, s.places = 0, places
	}
	if len(s.ranges) == 0 {
		s.ranges = nil
		return
	}
	var done bool
	if s.at, done = e.table.Sweep(s.ranges, s.at, limit); done {
		s.ranges = nil
	}
}

// Undo implements store.Engine.
func (e *Engine) Undo() error {
	e.noScan("undo")
	e.cuts.Undo()
	e.table.Undo()
	e.expired.Undo(e.settled)
	// Numbers are not used again: a late Settle of what was undone is not mistaken for one of what comes.
	e.table.SetEpoch(e.table.Epoch() + 1)
	return nil
}

// Checkpoint implements store.Engine: there is none, a store in memory is restored in full.
func (e *Engine) Checkpoint() (store.Checkpoint, bool) { return store.Checkpoint{}, false }

// Restore implements store.Engine.
func (e *Engine) Restore(changes []store.Change, _ store.Checkpoint) error {
	e.noScan("restore")
	for _, c := range changes {
		if err := Check(c.Key, c.Value, false); err != nil {
			return err
		}
		if err := e.table.Load(c.Key, c.Value, c.Time); err != nil {
			return err
		}
	}
	e.puts += len(changes)
	e.expired.Accept()
	e.drop()
	return nil
}

// Truncate implements store.Engine.
func (e *Engine) Truncate() error {
	e.noScan("truncate")
	e.cuts.Undo()
	e.expired, e.sweeping = nil, sweep{}
	e.table.Release()
	e.table.SetEpoch(e.table.Epoch() + 1)
	return nil
}

// Dirty implements store.Engine.
func (e *Engine) Dirty() int64 { return e.table.Dirty() }

// Flush implements store.Engine: there is nothing to do.
func (e *Engine) Flush(bool) error { return nil }

// Healthy implements store.Engine.
func (e *Engine) Healthy() error { return nil }

// Close implements store.Engine. It gives all memory back; closing twice does nothing.
func (e *Engine) Close(bool) error {
	if e.closed {
		return nil
	}
	e.closed = true
	e.table.Release()
	e.account.Close()
	return nil
}

// noScan keeps what the contract of Scan needs: the entries that a cursor stands on do not go away.
func (e *Engine) noScan(what string) {
	if e.scans > 0 {
		invariant.Fail("%s inside a scan", what)
	}
}
