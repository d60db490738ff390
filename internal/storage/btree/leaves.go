package btree

import (
	"bytes"
	"math"
	"slices"
)

// Leaves is where the leaves of a tree begin: of each one the first key, as a number, and its page. A look-up
// that begins here touches two or three cache lines of it, where the branches would have it touch a
// dozen in pages that are far apart. It needs 12 bytes for each leaf, outside of the pages.
//
// It says nothing that Tree.Find does not: where a number is not enough, or nothing is found, the branches
// decide.
type Leaves struct {
	tree   Tree
	prefix []byte   // of all keys
	first  []uint64 // Digits of the keys behind the prefix, ascending
	ids    []uint32
}

// NewLeaves reads the branches of a tree, whose keys are from smallest to largest. It panics as Find does.
func NewLeaves(t Tree, smallest, largest []byte) *Leaves {
	same := 0
	for same < min(len(smallest), len(largest)) && smallest[same] == largest[same] {
		same++
	}
	x := &Leaves{tree: t, prefix: bytes.Clone(smallest[:same])}
	height := t.height()
	if height == 0 || !x.add(t.Root, height) {
		x.first, x.ids = nil, nil
	}
	x.first, x.ids = slices.Clone(x.first), slices.Clone(x.ids) // without room for more
	return x
}

// height returns the number of branches from the root to the first leaf.
func (t *Tree) height() int {
	id := t.Root
	for height := range Deepest {
		page, _, leaf := t.Page(id)
		if leaf {
			return height
		}
		id = BranchPageAt(page, 0)
	}
	panic("branches lead in a circle")
}

// add adds the leaves below a branch. It reports whether their numbers are in order.
func (x *Leaves) add(id uint64, height int) bool {
	page, n, leaf := x.tree.Page(id)
	if leaf {
		return false
	}
	for i := range n {
		child := BranchPageAt(page, i)
		if height > 1 {
			if !x.add(child, height-1) {
				return false
			}
			continue
		}
		key := branchKey(page, i, x.tree.Prefix)
		if !bytes.HasPrefix(key, x.prefix) || child > math.MaxUint32 {
			return false
		}
		digits := Digits(key[len(x.prefix):])
		if last := len(x.first) - 1; last >= 0 && digits < x.first[last] {
			return false
		}
		x.first, x.ids = append(x.first, digits), append(x.ids, uint32(child))
	}
	return true
}

// of returns the leaf in which a key is, if it is in the tree, and the digits of the key. ok is false when the
// numbers do not say.
func (x *Leaves) of(key []byte) (leaf int, digits uint64, ok bool) {
	last := len(x.first) - 1
	if last < 1 || !bytes.HasPrefix(key, x.prefix) {
		return 0, 0, false
	}
	digits = Digits(key[len(x.prefix):])
	lo, hi := 0, last
	if digits <= x.first[lo] || digits >= x.first[hi] {
		return 0, 0, false
	}
	// The key lies between the first ones of lo and hi. First where it would be if they were spread evenly.
	for looks := 0; hi-lo > 1; looks++ {
		m := (lo + hi) / 2
		if looks < 3 {
			m = min(lo+1+between(digits, x.first[lo], x.first[hi], hi-lo-1), hi-1)
		}
		switch first := x.first[m]; {
		case first < digits:
			lo = m
		case first > digits:
			hi = m
		default: // the rest of the keys decides
			return 0, 0, false
		}
	}
	return lo, digits, true
}

// between returns where a number would be among n that are spread evenly from one to another.
func between(digits, from, to uint64, n int) int {
	return min(int(float64(digits-from)/float64(to-from)*float64(n)), n-1)
}

// Find is Tree.Find.
func (x *Leaves) Find(key []byte) []byte {
	if value := x.find(key); value != nil {
		return value
	}
	return x.tree.Find(key)
}

func (x *Leaves) find(key []byte) []byte {
	leaf, digits, ok := x.of(key)
	if !ok {
		return nil
	}
	t, id := &x.tree, uint64(x.ids[leaf])
	from, to := x.first[leaf], x.first[leaf+1]
	if t.InLeaf > 0 {
		t.touchAt(id, between(digits, from, to, t.InLeaf))
	}
	page, n, isLeaf := t.Page(id)
	if !isLeaf || n == 0 {
		return nil
	}
	return leafFindFrom(page, n, t.Prefix, key, between(digits, from, to, n))
}
