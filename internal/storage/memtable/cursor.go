package memtable

import "github.com/millstream-go/millstream/internal/storage"

// Cursor visits the entries of a table in the order of their keys, including those of deleted rows.
// The table may be written while a cursor is in use, but no epoch may settle or be undone. The
// cursor stays at its entry then, and visits what was written ahead of it.
type Cursor struct {
	table   *Table
	entry   ref // 0: at no entry
	leaf    int
	pos     int
	version uint64
	cached  leaf
	ahead   bool
	prefix  []byte // of the series that is walked over; nil: the order is
	touched byte   // what was read ahead: the reads must not be optimised away
}

// Cursor returns a cursor that is at no entry until it is moved.
func (t *Table) Cursor() Cursor { return Cursor{table: t} }

// ReadAhead makes the cursor read entries before it comes to them, some at a time: for a walk over all
// of a table. Entries in the order of their keys are anywhere in memory. A walk would wait for each of
// them, whereas the processor fetches several at once when nothing depends on what is in them.
func (c *Cursor) ReadAhead() { c.ahead = true }

const readAhead = 16 // entries

func (c *Cursor) readAhead() {
	end := min(c.pos+readAhead, c.cached.len())
	for i := c.pos; i < end; i++ {
		c.touched ^= c.table.arena.bytes(c.cached.ref(i))[22]
	}
	// Not beyond the entry: what is there may be somebody else's.
	for i := c.pos; i < end; i++ {
		e := entry(c.table.arena.bytes(c.cached.ref(i)))
		for at := 64; at < e.size(); at += 64 {
			c.touched ^= e[at]
		}
	}
}

// Seek moves to the first entry whose key is at least key, or with after greater than key; to the
// first of all when key is nil.
func (c *Cursor) Seek(key []byte, after bool) {
	if c.prefix != nil && c.seekInSeries(key, after, false) {
		return
	}
	c.prefix = nil
	o := c.table.inOrder()
	c.leaf, c.pos = 0, 0
	if key != nil {
		c.leaf, c.pos, _ = o.seek(key, after)
	}
	c.load(o)
}

// SeekBack moves to the last entry whose key is at most key, or with before less than key; to the
// last of all when key is nil.
func (c *Cursor) SeekBack(key []byte, before bool) {
	if c.prefix != nil && c.seekInSeries(key, before, true) {
		return
	}
	c.prefix = nil
	o := c.table.inOrder()
	if key == nil {
		c.leaf, c.pos = len(o.leaves), 0
	} else {
		c.leaf, c.pos, _ = o.seek(key, !before)
	}
	c.stepBack(o)
}

// SeekIndex moves to about the i-th of n entries in order, where n is at least their number. It
// reports whether there is an entry.
func (c *Cursor) SeekIndex(i, n int) bool {
	o := c.table.inOrder()
	c.leaf, c.pos = int(int64(i)*int64(len(o.leaves))/int64(max(1, n))), 0
	if c.leaf < len(o.leaves) {
		c.pos = i % o.leaf(c.leaf).len()
	}
	c.load(o)
	return c.Valid()
}

// Next moves to the entry after the current one.
func (c *Cursor) Next() {
	if c.version != c.table.version {
		c.Seek(c.Key(), true)
		return
	}
	if c.prefix != nil {
		c.entry = c.table.at(c.entry).behind()
		return
	}
	c.pos++
	if c.pos < c.cached.len() {
		if c.ahead && c.pos%readAhead == 0 {
			c.readAhead()
		}
		c.entry = c.cached.ref(c.pos)
		return
	}
	c.leaf++
	c.pos = 0
	c.load(c.table.inOrder())
}

// Prev moves to the entry before the current one.
func (c *Cursor) Prev() {
	if c.version != c.table.version {
		c.SeekBack(c.Key(), true)
		return
	}
	if c.prefix != nil {
		c.entry = c.table.at(c.entry).before()
		return
	}
	if c.pos > 0 {
		c.pos--
		c.entry = c.cached.ref(c.pos)
		return
	}
	c.stepBack(c.table.inOrder())
}

// Stale reports whether entries were added to or removed from the table since the cursor moved.
// Next and Prev seek again themselves then. A caller that has read ahead has to do so too.
func (c *Cursor) Stale() bool { return c.version != c.table.version }

// Valid reports whether the cursor is at an entry.
func (c *Cursor) Valid() bool { return c.entry != 0 }

// Key returns the key of the current entry.
func (c *Cursor) Key() []byte { return entry(c.table.arena.bytes(c.entry)).key() }

// Row returns the newest version of the current entry.
func (c *Cursor) Row() Row { return c.table.row(c.entry) }

// Settled returns the newest settled version of the current entry, Absent when there is none.
func (c *Cursor) Settled() Row { return c.table.settledRow(c.entry) }

// Start moves to where a scan of r begins. In a scan of a series the cursor ends with the series.
func (c *Cursor) Start(r storage.Range) {
	c.prefix = nil
	c.table.endPile(false)
	if r.Series > 0 && c.table.series.on {
		c.prefix = r.From[:r.Series:r.Series]
	}
	if r.Backward {
		c.SeekBack(r.To, r.ToBefore)
	} else {
		c.Seek(r.From, r.FromAfter)
	}
}

// Step moves on in the direction of r.
func (c *Cursor) Step(r storage.Range) {
	if r.Backward {
		c.Prev()
	} else {
		c.Next()
	}
}

// Resume moves to what a scan of r visits after key.
func (c *Cursor) Resume(r storage.Range, key []byte) {
	if r.Backward {
		c.SeekBack(key, true)
	} else {
		c.Seek(key, true)
	}
}

func (c *Cursor) stepBack(o *order) {
	if c.pos == 0 {
		if c.leaf == 0 {
			c.version, c.entry = c.table.version, 0
			return
		}
		c.leaf--
		c.pos = o.leaf(c.leaf).len()
	}
	c.pos--
	c.load(o)
}

func (c *Cursor) load(o *order) {
	c.version, c.entry = c.table.version, 0
	if c.leaf < len(o.leaves) {
		c.cached = o.leaf(c.leaf)
		if c.ahead {
			c.readAhead()
		}
		c.entry = c.cached.ref(c.pos)
	}
}
