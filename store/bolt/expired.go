package bolt

import (
	"bytes"

	"github.com/millstream-go/millstream/store/memory"
)

// outdated is whether a good part of the file has expired. Rows that have are left where they are until then: bbolt would look each of
// them up to delete it, which takes longer than to copy four others.
func (w *write) outdated() (yes bool) {
	f := w.f.file
	if len(w.t.expired) == 0 || f.db == nil || w.t.view {
		return false
	}
	tx, err := f.db.Begin(false)
	if err != nil {
		return false
	}
	defer func() {
		if recover() != nil { // over a damaged page: the write comes upon it and says so
			yes = false
		}
		_ = tx.Rollback()
	}()
	rows := tx.Bucket(rowsBucket)
	if rows == nil {
		return false
	}
	t := treeOf(f.db, tx, rows)
	if t.data == nil {
		return false
	}
	c := leafCount{t: t, depth: t.depth(), within: w.t.expired}
	c.count(t.root, 1, nil)
	return c.expired >= leastExpired && c.expired*5 >= c.all
}

// leastExpired is how many pages have to be expired for a file to be written anew.
const leastExpired = 8

// A leafCount counts the leaves of a tree without looking at them: the branches above say which keys they begin with.
type leafCount struct {
	t            tree
	depth        int
	within       []memory.Expiry
	all, expired int
}

// count counts the leaves below a page of some depth. above is the first key after it, nil at the end.
func (c *leafCount) count(id uint64, depth int, above []byte) {
	if depth == c.depth {
		c.all++ // the tree is one leaf
		return
	}
	page := c.t.data[id*c.t.pageSize:]
	n := int(native.Uint16(page[10:]))
	for i := range n {
		next := above
		if i+1 < n {
			next = branchKey(page, i+1)
		}
		if depth+1 < c.depth {
			c.count(native.Uint64(page[pageHead+i*elementSize+8:]), depth+1, next)
			continue
		}
		c.all++
		if c.gone(branchKey(page, i), next) {
			c.expired++
		}
	}
}

// gone is whether all keys from first on and before next have expired. They have a byte in front of them here.
func (c *leafCount) gone(first, next []byte) bool {
	if len(first) == 0 || len(next) == 0 {
		return false
	}
	for _, x := range c.within {
		if bytes.Compare(first[1:], x.From) >= 0 && bytes.Compare(next[1:], x.To) <= 0 {
			return true
		}
	}
	return false
}

// depth returns how many pages lie on the way to a row.
func (t *tree) depth() int {
	id := t.root
	for n := 1; n <= deepest; n++ {
		page := t.data[id*t.pageSize:]
		if native.Uint16(page[8:]) != branchPage {
			return n
		}
		id = native.Uint64(page[pageHead+8:])
	}
	panic("branches lead in a circle")
}
