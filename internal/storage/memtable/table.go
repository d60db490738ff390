package memtable

import (
	"bytes"
	"sync"
	"sync/atomic"

	"github.com/millstream-go/millstream/internal/invariant"
	"github.com/millstream-go/millstream/internal/storage"
)

// Table is a memtable: rows in an arena outside the Go heap, with a hash index. The first scan puts
// the rows in order, which stays up to date from then on; a store that is never scanned does not
// pay for it. What an epoch changes can be undone until the epoch settles. Rows that a restore loads are
// in the index as soon as something is read (pile).
//
// Invariants:
//  1. An entry has an undo record in the log of each unsettled epoch that changed it, exactly one,
//     and in no other log but those that are kept for snapshots.
//  2. Logs are in ascending order of unsettled epochs; only the last may belong to the current
//     epoch. Kept ones are those of all settled epochs after the oldest snapshot of the table.
//  3. No entry is Absent between two calls. In a table that is the only level, none was Deleted by
//     a settled epoch whose log is not kept.
//
// A table belongs to one goroutine. Once every epoch is settled and the owner writes no more, it is
// frozen: any goroutine may call Get, and use cursors of its own. Other goroutines read a table that
// is shared through a Snapshot.
type Table struct {
	arena     arena
	index     index
	series    seriesIndex
	logs      []*epochLog // of epochs that are not settled
	retained  []*epochLog // of settled epochs, for snapshots
	spare     []*epochLog
	epoch     uint64
	onlyLevel bool
	live      int64
	dirty     int64
	version   uint64 // grows when an entry is added or removed
	removed   uint64 // entries that were removed
	touched   byte   // what was read ahead: the reads must not be optimised away

	pileMu sync.Mutex // makes the index of a pile and the links of its rows, or reads what has both
	pile   atomic.Pointer[pile]

	shared   *Snapshots // nil: nobody else reads the table
	readers  int        // open snapshots of the table; guarded by shared.mu
	building *building  // the order that a reader is making; guarded by shared.mu

	orderMu sync.Mutex // makes order, at most one goroutine at a time
	order   atomic.Pointer[order]
}

// NewTable returns an empty table whose current epoch is epoch, which must not be 0. onlyLevel
// means that nothing is below the table: a deleted row leaves no entry. In other tables it leaves
// an entry that hides the row in the level below. Memory is charged to the account as it is
// allocated.
func NewTable(account *Account, epoch uint64, onlyLevel bool) *Table {
	return &Table{arena: arena{account: account}, epoch: epoch, onlyLevel: onlyLevel}
}

// Share allows snapshots of the table. The caller then has the lock of s for nothing that it calls on
// the table.
func (t *Table) Share(s *Snapshots) { t.shared = s }

// lock is for changes: see Snapshots.
func (t *Table) lock() {
	if t.shared != nil {
		t.shared.Lock()
	}
}

func (t *Table) unlock() {
	if t.shared != nil {
		t.shared.Unlock()
	}
}

// pauseEvery is how many rows a change of many rows changes before it lets readers in.
const pauseEvery = 256

// pause lets readers in. The table is as a reader may find it.
func (t *Table) pause() {
	t.unlock()
	t.lock()
}

// Epoch returns the number of the current epoch.
func (t *Table) Epoch() uint64 { return t.epoch }

// Bytes returns the memory of the table and its order.
func (t *Table) Bytes() int64 {
	n := t.arena.used.Load()
	if o := t.order.Load(); o != nil {
		n += o.arena.used.Load()
	}
	return n
}

// Entries returns the number of entries, those of deleted rows included, and while a restore loads rows those
// that newer ones of their key replace.
func (t *Table) Entries() int {
	if p := t.pile.Load(); p != nil {
		return p.count
	}
	return t.index.count
}

// Live returns the number of rows.
func (t *Table) Live() int64 { return t.live }

// Rows is Live, and while a restore loads rows also counts those that newer ones of their key replace.
func (t *Table) Rows() int64 {
	if p := t.pile.Load(); p != nil {
		return int64(p.count)
	}
	return t.live
}

// Dirty returns the bytes written in the current epoch.
func (t *Table) Dirty() int64 { return t.dirty }

// Get returns what the table knows of key.
func (t *Table) Get(key []byte) Row { return t.GetHashed(Hash(key), key) }

// GetHashed is Get for callers that look into several tables: they compute the hash once.
func (t *Table) GetHashed(hash uint32, key []byte) Row {
	r := t.find(hash, key)
	if r == 0 {
		return Row{}
	}
	return t.row(r)
}

// find returns the entry of key, or 0.
func (t *Table) find(hash uint32, key []byte) ref {
	t.endPile(false)
	ix := &t.index
	if ix.count == 0 {
		return 0
	}
	for i := hash & ix.mask; ; i = (i + 1) & ix.mask {
		s := ix.slots[i]
		if s == 0 {
			return 0
		}
		if uint32(s>>32) == hash && bytes.Equal(entry(t.arena.bytes(ref(s))).key(), key) {
			return ref(s)
		}
	}
}

// CheckRow returns the error of a row that cannot be written. put means that there must be a value.
func CheckRow(key, value []byte, put bool) error {
	switch {
	case key == nil:
		return storage.ErrNilKey
	case len(key) > storage.MaxKey:
		return storage.ErrKeyTooLong
	case put && value == nil:
		return storage.ErrNilValue
	case len(value) > storage.MaxValue:
		return storage.ErrValueTooLarge
	}
	return nil
}

// Put writes a row in the current epoch. It copies key and value, which may be memory of this
// table. The caller has called CheckRow.
func (t *Table) Put(key, value []byte, time int64) error {
	return t.write(Hash(key), key, value, time, Live)
}

// Delete marks the key as deleted in the current epoch, whether it has a row or not.
func (t *Table) Delete(key []byte, time int64) error {
	return t.write(Hash(key), key, nil, time, Deleted)
}

// PutOrDelete is Put, or Delete when the value is nil.
func (t *Table) PutOrDelete(key, value []byte, time int64) error {
	if value == nil {
		return t.Delete(key, time)
	}
	return t.Put(key, value, time)
}

// PutHashed is Put for callers that know the hash of the key.
func (t *Table) PutHashed(hash uint32, key, value []byte, time int64) error {
	return t.write(hash, key, value, time, Live)
}

// DeleteHashed is Delete for callers that know the hash of the key.
func (t *Table) DeleteHashed(hash uint32, key []byte, time int64) error {
	return t.write(hash, key, nil, time, Deleted)
}

func (t *Table) write(hash uint32, key, value []byte, time int64, s State) error {
	if t.arena.nearLimit() {
		return errFull
	}
	t.lock()
	// Deferred: key and value may be memory of a file that cannot be read, and then the copy panics. With
	// the lock held, nobody could close the store any more.
	defer t.unlock()
	r := t.find(hash, key)
	if r == 0 {
		r = t.add(hash, key, len(value))
	}
	if e := entry(t.arena.bytes(r)); e.epoch() != uint32(t.epoch) {
		t.logUndo(r, e)
	}
	t.updateLive(r, s)
	t.set(r, value, time, s)
	t.dirty += int64(len(key) + len(value) + entryHead)
	return nil
}

// Load writes a row, or deletes it when the value is nil. It belongs to no epoch: what a restore
// brings is in the changelog already. It leaves no earlier version either, so no snapshot may be open
// (Snapshots.TryRefuse).
func (t *Table) Load(key, value []byte, time int64) error {
	if len(t.logs)+len(t.retained) > 0 {
		invariant.Fail("restore into a memtable with %d unsettled and %d kept epochs", len(t.logs), len(t.retained))
	}
	if t.arena.nearLimit() {
		return errFull
	}
	s := Live
	if value == nil {
		s = Deleted
	}
	if t.load(key, value, time, s) {
		return nil
	}
	hash := Hash(key)
	r := t.find(hash, key)
	// Where a level is below, an entry without a row must hide the row there. Otherwise there is no
	// need of the entry.
	switch {
	case s == Deleted && t.onlyLevel && r == 0:
		return nil
	case s == Deleted && t.onlyLevel:
		t.updateLive(r, s)
		t.remove(r)
		return nil
	case r == 0:
		r = t.add(hash, key, len(value))
	}
	t.updateLive(r, s)
	t.set(r, value, time, s)
	return nil
}

// updateLive counts rows. It is called before the entry's state becomes s.
func (t *Table) updateLive(r ref, s State) {
	was := entry(t.arena.bytes(r)).state()
	if was == Live {
		t.live--
	}
	if s == Live {
		t.live++
	}
}

// add makes an absent entry and adds it to the index and the order.
func (t *Table) add(hash uint32, key []byte, valueLen int) ref {
	t.index.reserve(&t.arena)
	r := t.newEntry(key, valueLen)
	t.index.insert(hash, r)
	if t.series.of.Tail > 0 {
		t.link(r)
		t.version++
	}
	if o := t.order.Load(); o != nil {
		o.insert(r)
		t.version++
	} else if t.building != nil {
		t.building.added = append(t.building.added, r)
	}
	return r
}

// remove removes an entry from the index and the order, and frees it.
func (t *Table) remove(r ref) {
	key := entry(t.arena.bytes(r)).key()
	t.index.remove(Hash(key), r)
	if t.series.on {
		t.unlink(r)
		t.version++
	}
	if o := t.order.Load(); o != nil {
		o.remove(key)
		t.version++
	}
	t.removed++
	t.freeEntry(r)
}

// Readers returns how many snapshots of the table are open.
func (t *Table) Readers() int {
	t.lock()
	defer t.unlock()
	return t.readers
}

// Charge moves the memory of a table that is not written any more to another account.
func (t *Table) Charge(to *Account) {
	t.lock()
	defer t.unlock()
	t.arena.chargeTo(to)
	if o := t.order.Load(); o != nil {
		o.arena.chargeTo(to)
	}
}

// Release frees all memory. The table is empty and usable afterwards; bytes that it returned, and
// cursors, are not. Nobody reads it.
func (t *Table) Release() {
	t.lock()
	slots, series, memory, o := t.index, t.series.index, t.arena.take(), t.order.Swap(nil)
	t.index = index{}
	if t.series.of.Tail > 0 {
		t.series = seriesIndex{of: t.series.of, on: true, numbers: storage.NoNumbers}
	}
	t.logs, t.retained, t.spare, t.live, t.dirty, t.building = nil, nil, nil, 0, 0, nil
	t.pile.Store(nil)
	t.version++
	t.removed++
	t.unlock()
	slots.drop(memory)
	series.drop(memory)
	if o != nil {
		o.arena.drop()
	}
	memory.drop()
}
