package memory

import (
	"bytes"
	"sync"
	"sync/atomic"

	"github.com/millstream-go/millstream/internal/invariant"
	"github.com/millstream-go/millstream/store"
)

// Table is a memtable: rows in arenas outside the Go heap, found by a hash index, and put in order from the first scan on; a
// store that is never scanned never pays for order. What an epoch does to a row is remembered until the epoch is settled, so
// that it can be undone.
//
// Invariants:
//  1. Each entry's newest epoch that is not settled has exactly one node in that epoch's log, and only then.
//  2. Logs are in ascending order of epochs, all above settled; only the last may belong to the current epoch.
//  3. No entry is Absent between two calls, and in a bottom table none is Deleted by a settled epoch.
//
// Owned by one goroutine. Once every epoch is settled and the owner writes no more, any goroutine may read: call Get, and move
// cursors of its own.
type Table struct {
	arena   arena
	index   index
	logs    []*epochLog // of epochs that are not settled
	spare   []*epochLog
	epoch   uint64
	bottom  bool
	live    int64
	dirty   int64
	version uint64 // grows whenever an entry comes or goes

	ordered sync.Mutex // makes order, at most one goroutine at a time
	order   atomic.Pointer[order]
}

// NewTable returns an empty table whose current epoch is epoch, which must not be 0. In a bottom table a deleted row leaves
// nothing behind; in others a mark that it is deleted, for what lies below. Memory is charged to the account as it is needed.
func NewTable(account *Account, epoch uint64, bottom bool) *Table {
	return &Table{arena: arena{account: account}, epoch: epoch, bottom: bottom}
}

// Epoch returns the number of the current epoch.
func (t *Table) Epoch() uint64 { return t.epoch }

// Bytes returns the memory that the table holds, its order included.
func (t *Table) Bytes() int64 {
	n := t.arena.used
	if o := t.order.Load(); o != nil {
		n += o.arena.used
	}
	return n
}

// Entries returns the number of keys that the table knows, marks of deleted ones included.
func (t *Table) Entries() int { return t.index.n }

// Live returns the number of rows.
func (t *Table) Live() int64 { return t.live }

// Dirty returns the bytes written in the current epoch.
func (t *Table) Dirty() int64 { return t.dirty }

// Get returns what the table knows of key.
func (t *Table) Get(key []byte) Row {
	r := t.find(hashOf(key), key)
	if r == 0 {
		return Row{}
	}
	return t.row(r)
}

// find returns the entry of key, or 0.
func (t *Table) find(hash uint32, key []byte) ref {
	x := &t.index
	if x.n == 0 {
		return 0
	}
	for i := hash & x.mask; ; i = (i + 1) & x.mask {
		s := x.slots[i]
		if s == 0 {
			return 0
		}
		if uint32(s>>32) == hash && bytes.Equal(entry(t.arena.bytes(ref(s))).key(), key) {
			return ref(s)
		}
	}
}

// Check is the error that a row cannot be written with; put is whether a value is expected.
func Check(key, value []byte, put bool) error {
	switch {
	case key == nil:
		return store.ErrNilKey
	case len(key) > store.MaxKey:
		return store.ErrKeyTooLong
	case put && value == nil:
		return store.ErrNilValue
	case len(value) > store.MaxValue:
		return store.ErrValueTooLarge
	}
	return nil
}

// Put writes a row in the current epoch. It copies key and value, which may be bytes of this table. Check them before.
func (t *Table) Put(key, value []byte, time int64) error {
	return t.write(key, value, time, Live)
}

// Delete marks the key as deleted in the current epoch, whether it has a row or not.
func (t *Table) Delete(key []byte, time int64) error {
	return t.write(key, nil, time, Deleted)
}

func (t *Table) write(key, value []byte, time int64, s State) error {
	if t.arena.full() {
		return errFull
	}
	hash := hashOf(key)
	r := t.find(hash, key)
	if r == 0 {
		r = t.add(hash, key, len(value))
	}
	if e := entry(t.arena.bytes(r)); e.epoch() != uint32(t.epoch) {
		t.remember(r, e)
	}
	t.count(r, s)
	t.set(r, value, time, s)
	t.dirty += int64(len(key) + len(value) + entryHead)
	return nil
}

// Load writes a row, or with a nil value deletes it, outside of epochs: what a restore brings is accepted already.
func (t *Table) Load(key, value []byte, time int64) error {
	if len(t.logs) > 0 {
		invariant.Fail("restore into a memtable with %d unsettled epochs", len(t.logs))
	}
	if t.arena.full() {
		return errFull
	}
	hash := hashOf(key)
	r := t.find(hash, key)
	s := Live
	if value == nil {
		s = Deleted
	}
	switch {
	case s == Deleted && t.bottom && r == 0:
		return nil
	case s == Deleted && t.bottom:
		t.count(r, s)
		t.remove(r)
		return nil
	case r == 0:
		r = t.add(hash, key, len(value))
	}
	t.count(r, s)
	t.set(r, value, time, s)
	return nil
}

// count keeps live up to date before the entry's state becomes s.
func (t *Table) count(r ref, s State) {
	was := entry(t.arena.bytes(r)).state()
	if was == Live {
		t.live--
	}
	if s == Live {
		t.live++
	}
}

// add makes an absent entry and tells the indexes.
func (t *Table) add(hash uint32, key []byte, valueLen int) ref {
	t.index.reserve(&t.arena)
	r := t.newEntry(key, valueLen)
	t.index.insert(hash, r)
	if o := t.order.Load(); o != nil {
		o.insert(r)
		t.version++
	}
	return r
}

// remove takes an entry out of the indexes and frees it.
func (t *Table) remove(r ref) {
	key := entry(t.arena.bytes(r)).key()
	t.index.remove(hashOf(key), r)
	if o := t.order.Load(); o != nil {
		o.remove(key)
		t.version++
	}
	t.freeEntry(r)
}

// Release gives all memory back. The table is empty and usable afterwards; bytes and cursors taken from it are not.
func (t *Table) Release() {
	t.index.drop(&t.arena)
	if o := t.order.Swap(nil); o != nil {
		o.arena.drop()
	}
	t.arena.drop()
	t.logs, t.spare, t.live, t.dirty = nil, nil, 0, 0
	t.version++
}
