package memory

import "github.com/millstream-go/millstream/store"

// Cursor walks the entries of a table in the order of their keys, marks of deleted rows included. The table may be written
// meanwhile, but no epoch settled or undone: the cursor stays where it is, and sees what is written ahead of it.
type Cursor struct {
	t       *Table
	at      ref // 0: nowhere
	leaf    int
	pos     int
	version uint64
	cached  leaf
}

// Cursor returns a cursor that is nowhere until it is moved.
func (t *Table) Cursor() Cursor { return Cursor{t: t} }

// Seek moves to the first entry whose key is not below key, or with after above it; to the first of all when key is nil.
func (c *Cursor) Seek(key []byte, after bool) {
	o := c.t.inOrder()
	c.leaf, c.pos = 0, 0
	if key != nil {
		c.leaf, c.pos, _ = o.seek(key, after)
	}
	c.settle(o)
}

// SeekBack moves to the last entry whose key is not above key, or with before below it; to the last of all when key is nil.
func (c *Cursor) SeekBack(key []byte, before bool) {
	o := c.t.inOrder()
	if key == nil {
		c.leaf, c.pos = len(o.leaves), 0
	} else {
		c.leaf, c.pos, _ = o.seek(key, !before)
	}
	c.stepBack(o)
}

// SeekIndex moves to about the i-th of n entries in order, for n not less than there are. It is whether there is one.
func (c *Cursor) SeekIndex(i, n int) bool {
	o := c.t.inOrder()
	c.leaf, c.pos = int(int64(i)*int64(len(o.leaves))/int64(max(1, n))), 0
	if c.leaf < len(o.leaves) {
		c.pos = i % o.leaf(c.leaf).len()
	}
	c.settle(o)
	return c.Valid()
}

// Next moves to the entry after the current one.
func (c *Cursor) Next() {
	if c.version != c.t.version {
		c.Seek(c.Key(), true)
		return
	}
	c.pos++
	if c.pos < c.cached.len() {
		c.at = c.cached.ref(c.pos)
		return
	}
	c.leaf++
	c.pos = 0
	c.settle(c.t.inOrder())
}

// Prev moves to the entry before the current one.
func (c *Cursor) Prev() {
	if c.version != c.t.version {
		c.SeekBack(c.Key(), true)
		return
	}
	if c.pos > 0 {
		c.pos--
		c.at = c.cached.ref(c.pos)
		return
	}
	c.stepBack(c.t.inOrder())
}

// Stale is whether the table has got or lost entries since the cursor moved. Next and Prev care for that themselves; who
// reads ahead of what it has handed out seeks again.
func (c *Cursor) Stale() bool { return c.version != c.t.version }

// Valid is whether the cursor is at an entry.
func (c *Cursor) Valid() bool { return c.at != 0 }

// Key returns the key of the current entry.
func (c *Cursor) Key() []byte { return entry(c.t.arena.bytes(c.at)).key() }

// Row returns the newest version of the current entry.
func (c *Cursor) Row() Row { return c.t.row(c.at) }

// Settled returns the newest version of the current entry that is settled, Absent when there is none.
func (c *Cursor) Settled() Row { return c.t.settledRow(c.at) }

// Start moves to where a scan of r begins.
func (c *Cursor) Start(r store.Range) {
	if r.Backward {
		c.SeekBack(r.To, r.ToBefore)
	} else {
		c.Seek(r.From, r.FromAfter)
	}
}

// Step moves on in the direction of r.
func (c *Cursor) Step(r store.Range) {
	if r.Backward {
		c.Prev()
	} else {
		c.Next()
	}
}

// Resume moves to what a scan of r visits after key.
func (c *Cursor) Resume(r store.Range, key []byte) {
	if r.Backward {
		c.SeekBack(key, true)
	} else {
		c.Seek(key, true)
	}
}

func (c *Cursor) stepBack(o *order) {
	if c.pos == 0 {
		if c.leaf == 0 {
			c.version, c.at = c.t.version, 0
			return
		}
		c.leaf--
		c.pos = o.leaf(c.leaf).len()
	}
	c.pos--
	c.settle(o)
}

func (c *Cursor) settle(o *order) {
	c.version, c.at = c.t.version, 0
	if c.leaf < len(o.leaves) {
		c.cached = o.leaf(c.leaf)
		c.at = c.cached.ref(c.pos)
	}
}
