package btree

import (
	"bytes"
	"fmt"
)

// A Cursor walks over the rows of a tree in order. It panics over the pages that Tree panics over, over
// pages in the wrong place, over keys out of order, and when it has come to more pages than there
// are: in a circle.
type Cursor struct {
	t     Tree
	stack []frame // from the root to a leaf; empty: at the end
	seen  int     // pages since the walk began
	last  []byte  // the key that the walk came to last; nil: none
	back  bool
}

// A frame is a place in a page.
type frame struct {
	page []byte
	n, i int
	leaf bool
	// No key of the page is below least, or not below above; nil: not known.
	least, above []byte
}

// Reset makes the cursor walk over another tree.
func (c *Cursor) Reset(t Tree) { c.t, c.stack, c.last = t, c.stack[:0], nil }

// First begins a walk at the first row and returns it. At the end of a walk, keys are nil.
func (c *Cursor) First() (key, value []byte) {
	c.begin(false)
	c.descend(c.t.Root, func([]byte, int, bool) int { return 0 })
	return c.settle()
}

// Last begins a walk backward at the last row.
func (c *Cursor) Last() (key, value []byte) {
	c.begin(true)
	c.descend(c.t.Root, func(_ []byte, n int, _ bool) int { return n - 1 })
	return c.settle()
}

// Seek begins a walk at the first row whose key is not below key.
func (c *Cursor) Seek(key []byte) (k, value []byte) {
	c.begin(false)
	c.descend(c.t.Root, func(page []byte, n int, leaf bool) int {
		if leaf {
			return leafSeek(page, n, c.t.Prefix, key)
		}
		return branchFind(page, n, c.t.Prefix, key, nil, nil)
	})
	return c.settle()
}

// SeekBack begins a walk backward at the last row whose key is not above key, or with below is below
// it.
func (c *Cursor) SeekBack(key []byte, below bool) (k, value []byte) {
	c.begin(true)
	c.descend(c.t.Root, func(page []byte, n int, leaf bool) int {
		if !leaf {
			return branchFind(page, n, c.t.Prefix, key, nil, nil)
		}
		i := leafSeek(page, n, c.t.Prefix, key)
		if i < n && !below && bytes.Equal(leafKey(page, i, c.t.Prefix), key) {
			return i
		}
		return i - 1
	})
	return c.settle()
}

func (c *Cursor) begin(back bool) { c.stack, c.seen, c.last, c.back = c.stack[:0], 0, nil, back }

// Next moves to the next row in the direction of the walk and returns it.
func (c *Cursor) Next() (key, value []byte) {
	if len(c.stack) == 0 {
		return nil, nil
	}
	c.move(&c.stack[len(c.stack)-1])
	return c.settle()
}

// A Place is where a row is in a leaf, as offsets of its bytes.
type Place struct {
	Key, Value, End uint32 // the value follows the key
}

// Leaf returns the leaf that the walk is in.
func (c *Cursor) Leaf() []byte { return c.stack[len(c.stack)-1].page }

// Ahead moves over the rows that follow, as many as there are places and as one leaf has, and returns
// how many that were; none at the end. It checks them as Next does: whoever slices Leaf by their
// places does not panic.
func (c *Cursor) Ahead(places []Place) (n int) {
	if len(c.stack) == 0 {
		return 0
	}
	f, step := &c.stack[len(c.stack)-1], 1
	if c.back {
		step = -1
	}
	if i := f.i + step; i < 0 || i >= f.n {
		if key, _ := c.Next(); key == nil {
			return 0
		}
		f = &c.stack[len(c.stack)-1]
		places[0], _ = c.place(f, f.i)
		n = 1
	}
	for i := f.i + step; n < len(places) && i >= 0 && i < f.n; i += step {
		place, key := c.place(f, i)
		c.inOrder(f.page, key)
		places[n], f.i = place, i
		n++
	}
	return n
}

// place returns where row i of a leaf is, and its key.
func (c *Cursor) place(f *frame, i int) (p Place, key []byte) {
	e := f.page[PageHead+i*ElementSize:]
	at := uint64(PageHead+i*ElementSize) + uint64(Native.Uint32(e[4:]))
	value := at + uint64(Native.Uint32(e[8:]))
	end := value + uint64(Native.Uint32(e[12:]))
	at += uint64(c.t.Prefix)
	_ = f.page[value:end]
	return Place{uint32(at), uint32(value), uint32(end)}, f.page[at:value]
}

// inOrder panics unless key comes behind the last one. The bounds of a leaf are compared with its
// first and last keys only. Keys out of order between those would fail an invariant of a merge's
// Builder, as if the program were wrong and not the file.
func (c *Cursor) inOrder(page, key []byte) {
	if c.last != nil {
		if order := compare(c.last, key); order == 0 || (order < 0) == c.back {
			panic(fmt.Sprintf("keys out of order in page %d", Native.Uint64(page)))
		}
	}
	c.last = key
}

// Less reports whether a comes before b.
func Less(a, b []byte) bool { return compare(a, b) < 0 }

func (c *Cursor) move(f *frame) {
	if c.back {
		f.i--
	} else {
		f.i++
	}
}

// descend goes down from a page to a leaf.
func (c *Cursor) descend(id uint64, choose func(page []byte, n int, leaf bool) int) {
	for {
		var least, above []byte
		if top := len(c.stack) - 1; top >= 0 {
			f := &c.stack[top]
			least, above = f.least, f.above
			// The first key of a branch bounds nothing: branchFind leads smaller keys to the first
			// page too. The bound is that of the level above then.
			if f.i > 0 {
				least = branchKey(f.page, f.i, c.t.Prefix)
			}
			if f.i+1 < f.n {
				above = branchKey(f.page, f.i+1, c.t.Prefix)
			}
		}
		if len(c.stack) == Deepest {
			panic("branches lead in a circle")
		}
		if c.seen++; c.t.Inline == nil && uint64(c.seen) > uint64(len(c.t.Data))/c.t.PageSize {
			panic("a walk comes to more pages than there are")
		}
		page, n, leaf := c.t.Page(id)
		if leaf {
			// A get checks the bounds only when it finds nothing. A walk always does: of a leaf
			// that it has come to by mistake, each row stands in place of one that it leaves out.
			inBounds(id, page, n, c.t.Prefix, least, above)
		}
		c.stack = append(c.stack, frame{page, n, choose(page, n, leaf), leaf, least, above})
		if leaf {
			return
		}
		id = BranchPageAt(page, c.stack[len(c.stack)-1].i)
	}
}

// settle returns the row at the cursor; where its page has ended, the next page's.
func (c *Cursor) settle() (key, value []byte) {
	for len(c.stack) > 0 {
		f := &c.stack[len(c.stack)-1]
		switch {
		// The parent moves on, and may reach its own end with that: one step is not enough.
		case f.i < 0 || f.i >= f.n:
			if c.stack = c.stack[:len(c.stack)-1]; len(c.stack) > 0 {
				c.move(&c.stack[len(c.stack)-1])
			}
		case f.leaf:
			key = leafKey(f.page, f.i, c.t.Prefix)
			c.inOrder(f.page, key)
			return key, LeafValue(f.page, f.i)
		default:
			c.descend(BranchPageAt(f.page, f.i), func(_ []byte, n int, _ bool) int {
				if c.back {
					return n - 1
				}
				return 0
			})
		}
	}
	return nil, nil
}

// leafSeek returns the first element whose key is not below key; n when there is none.
func leafSeek(page []byte, n, prefix int, key []byte) int {
	lo, hi := 0, n
	for lo < hi {
		if m := (lo + hi) / 2; compare(leafKey(page, m, prefix), key) < 0 {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}
