package run

import (
	"runtime/debug"

	"github.com/millstream-go/millstream/internal/storage/btree"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// Cursor walks over the rows and tombstones of a file, in order of keys or backward. The bytes of a
// row are in the map: they are valid until the reader is closed. When a cursor finds damage it is
// valid no more, and Err says why. A cursor that is used again allocates nothing.
//
// A page is checked, and faults of it are recovered, for some of its rows at a time: to do so for each
// row would cost as much as all the rest.
type Cursor struct {
	r     *Reader
	sums  *btree.Sums
	c     btree.Cursor
	row   memtable.Row
	valid bool
	err   error
	byte  byte // what was read of the pages of a row: the reads must not be optimised away

	leaf   []byte
	places [longestBatch]btree.Place // of rows of leaf that were checked
	i, n   int                       // the next of them, and how many there are
	batch  int                       // how many come next
}

// A walk over few rows checks few that it does not come to.
const (
	firstBatch   = 4
	longestBatch = 64
)

// Reset makes c a cursor of the reader, at no row.
func (c *Cursor) Reset(r *Reader) { c.reset(r, r.sums) }

// ResetVerifying makes c a cursor that compares each page with its checksum, whether that was done
// before or not.
func (c *Cursor) ResetVerifying(r *Reader) { c.reset(r, r.verifying()) }

func (c *Cursor) reset(r *Reader, sums *btree.Sums) {
	c.r, c.sums, c.row, c.valid, c.err = r, sums, memtable.Row{}, false, r.Damaged()
	c.leaf, c.i, c.n, c.batch = nil, 0, 0, firstBatch
	rows := r.rows
	rows.Sums = sums
	c.c.Reset(rows)
}

// First moves to the first row.
func (c *Cursor) First() bool {
	defer c.recover(debug.SetPanicOnFault(true))
	return c.at(c.c.First())
}

// Last moves to the last row. Next moves backward from there.
func (c *Cursor) Last() bool {
	defer c.recover(debug.SetPanicOnFault(true))
	return c.at(c.c.Last())
}

// Seek moves to the first row whose key is at least key, or with after greater than key.
func (c *Cursor) Seek(key []byte, after bool) bool {
	defer c.recover(debug.SetPanicOnFault(true))
	k, stored := c.c.Seek(key)
	if after && k != nil && string(k) == string(key) {
		k, stored = c.c.Next()
	}
	return c.at(k, stored)
}

// SeekBack moves to the last row whose key is at most key, or with before less than key. Next moves
// backward from there.
func (c *Cursor) SeekBack(key []byte, before bool) bool {
	defer c.recover(debug.SetPanicOnFault(true))
	return c.at(c.c.SeekBack(key, before))
}

// Next moves to the next row in the direction of the walk.
func (c *Cursor) Next() bool {
	if c.i == c.n && !c.ahead() {
		return false
	}
	p := &c.places[c.i]
	c.i++
	c.row.Key = c.leaf[p.Key:p.Value:p.Value]
	c.row.Stored = c.leaf[p.Value:p.End:p.End]
	c.row.State = memtable.Live
	if p.End-p.Value < timeSize {
		c.row.State = memtable.Deleted
	}
	c.valid = true
	return true
}

// ahead checks rows that follow. It reports whether there are any.
func (c *Cursor) ahead() bool {
	c.valid, c.i, c.n = false, 0, 0
	if c.err != nil {
		return false
	}
	defer c.recover(debug.SetPanicOnFault(true))
	n := c.c.Ahead(c.places[:c.batch])
	if n == 0 {
		return false
	}
	c.batch = min(2*c.batch, longestBatch)
	c.leaf = c.c.Leaf()
	for _, p := range c.places[:n] {
		stateOf(c.leaf[p.Value:p.End])
		c.byte ^= btree.Touch(c.leaf[p.Key:p.End])
	}
	c.n = n // nothing of what has failed is shown
	return true
}

// at takes a row, unless the file is known to be damaged. It reads a byte of each page that has a part
// of the row: a caller that reads the row later has no recover for a page that is not there.
func (c *Cursor) at(key, stored []byte) bool {
	c.valid, c.i, c.n = false, 0, 0
	if key == nil || c.err != nil {
		return false
	}
	state := stateOf(stored)
	c.byte = btree.Touch(key) ^ btree.Touch(stored)
	c.row, c.valid = memtable.Row{Key: key, Stored: stored, State: state}, true
	return true
}

// recover turns a panic over a damaged page into the cursor's error. The method that defers it then
// returns false.
func (c *Cursor) recover(fault bool) {
	debug.SetPanicOnFault(fault)
	if p := recover(); p != nil {
		c.valid, c.err = false, c.r.Damage(p)
	}
}

// Valid reports whether the cursor is at a row.
func (c *Cursor) Valid() bool { return c.valid }

// Key returns the key of the current row.
func (c *Cursor) Key() []byte { return c.row.Key }

// Row returns the current row. The state is Live or Deleted; a deleted row has no time.
func (c *Cursor) Row() memtable.Row { return c.row }

// Err returns why the walk ended early, nil when it did not.
func (c *Cursor) Err() error { return c.err }
