package btree

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// A Tree is a bucket as a transaction sees it, for reading. bbolt's own cursor trusts its pages: a
// wrong page number makes it recurse until the process ends. And it searches a page through
// functions, which costs as much as the memory that it has to touch.
//
// Every page is looked at before it is used: it has to lie in the file, have its own number, be a
// leaf or a branch, and its elements have to lie in it.
type Tree struct {
	Data     []byte // the file's pages
	PageSize uint64
	Root     uint64 // 0: the bucket is a part of its parent's page
	Inline   []byte // which is this one then
	Prefix   int    // bytes in front of each key that are not part of it
	Sums     *Sums  // of the pages; nil: they have none
	InLeaf   int    // about how many rows a leaf has; 0: not known
}

// Buckets returns the tree of all buckets of a file, as of transaction txid. It panics when no meta
// page is of that transaction.
func Buckets(data []byte, pageSize, txid uint64) Tree {
	t := Tree{Data: data, PageSize: pageSize}
	for i := range uint64(2) {
		if m, ok := DecodeMeta(data[i*pageSize:]); ok && m.TxID == txid {
			t.Root = m.Root
		}
	}
	if t.Root == 0 {
		panic(fmt.Sprintf("no meta page of transaction %d", txid))
	}
	return t
}

// Bucket returns the bucket of that name in a tree of buckets. It reports whether there is one.
func (t *Tree) Bucket(name []byte) (Tree, bool) {
	at := t.Find(name)
	if at == nil {
		return Tree{}, false
	}
	b := Tree{Data: t.Data, PageSize: t.PageSize, Root: Native.Uint64(at), Sums: t.Sums}
	if b.Root == 0 {
		b.Inline = at[BucketHead:]
	}
	return b, true
}

// Page returns a page and how many elements it has, and reports whether it is a leaf.
func (t *Tree) Page(id uint64) (page []byte, n int, leaf bool) {
	if t.Inline != nil {
		page = t.Inline
	} else {
		pages := uint64(len(t.Data)) / t.PageSize
		if id < 2 || id >= pages {
			panic(fmt.Sprintf("page %d of %d", id, pages))
		}
		if t.Sums != nil {
			t.Sums.Check(t.Data, t.PageSize, id, 1)
		}
		head := t.Data[id*t.PageSize:]
		more := uint64(Native.Uint32(head[12:]))
		if more >= pages-id {
			panic(fmt.Sprintf("page %d has %d more pages, and the file has %d", id, more, pages))
		}
		if t.Sums != nil && more > 0 {
			t.Sums.Check(t.Data, t.PageSize, id+1, more)
		}
		page = head[: (more+1)*t.PageSize : (more+1)*t.PageSize]
	}
	if got := Native.Uint64(page); got != id {
		panic(fmt.Sprintf("page %d says that it is page %d", id, got))
	}
	n = int(Native.Uint16(page[10:]))
	switch Native.Uint16(page[8:]) {
	case LeafPage:
		leaf = true
	case BranchPage:
		if t.Inline != nil || n == 0 {
			panic(fmt.Sprintf("page %d is a branch with %d elements", id, n))
		}
	default:
		panic(fmt.Sprintf("page %d is neither branch nor leaf", id))
	}
	// bbolt and Builder write no leaf without rows but the root. Page 3 of a new file is such a root, and
	// stays as it was when it is free. To a reader that is led there all keys would be missing.
	if n == 0 && id != t.Root && t.Inline == nil {
		panic(fmt.Sprintf("page %d is a leaf without rows", id))
	}
	if PageHead+n*ElementSize > len(page) {
		panic(fmt.Sprintf("page %d has %d elements", id, n))
	}
	return page, n, leaf
}

// Find returns the value of key, nil when there is none. It panics over pages that cannot be right.
func (t *Tree) Find(key []byte) []byte {
	id := t.Root
	var below, above []byte // keys on both sides of the page; nil: none
	var least []byte        // no key of the page is below it; nil: not known
	for range Deepest {
		t.touch(id, key, below, above)
		page, n, leaf := t.Page(id)
		if leaf {
			value := leafFind(page, n, t.Prefix, key, below, above)
			if value == nil {
				inBounds(id, page, n, t.Prefix, least, above)
			}
			return value
		}
		i := branchFind(page, n, t.Prefix, key, below, above)
		id = BranchPageAt(page, i)
		below = branchKey(page, i, t.Prefix)
		if i > 0 {
			least = below
		}
		if i+1 < n {
			above = branchKey(page, i+1, t.Prefix)
		}
	}
	panic("branches lead in a circle")
}

// touch reads, of a page that may be a leaf, what a look-up of key reads if all rows have about the
// same size: the page's head, the element and the key. The processor fetches all three at once then,
// and not one after the other.
func (t *Tree) touch(id uint64, key, below, above []byte) byte {
	if t.InLeaf == 0 {
		return 0
	}
	m := guess(t.InLeaf, key, below, above)
	if m < 0 {
		return 0
	}
	return t.touchAt(id, m)
}

// touchAt is touch for a row that may be at m.
//
//go:noinline
func (t *Tree) touchAt(id uint64, m int) (x byte) {
	if id >= uint64(len(t.Data))/t.PageSize {
		return 0
	}
	page := t.Data[id*t.PageSize : (id+1)*t.PageSize]
	heads := PageHead + t.InLeaf*ElementSize
	x = page[0]
	if at := PageHead + m*ElementSize; at < len(page) {
		x ^= page[at]
	}
	if heads < len(page) {
		x ^= page[heads+(len(page)-heads)/t.InLeaf*m]
	}
	return x
}

// inBounds panics when a leaf is not the one that the branches above it mean: no key of it may be
// below least or not below above. A row that is not found may be in another leaf. A row that is found
// is right wherever it is, so only reads that find none pay for the check.
func inBounds(id uint64, page []byte, n, prefix int, least, above []byte) {
	if n == 0 {
		return
	}
	if least != nil && compare(leafKey(page, 0, prefix), least) < 0 ||
		above != nil && compare(leafKey(page, n-1, prefix), above) >= 0 {
		panic(fmt.Sprintf("page %d has keys that belong to another", id))
	}
}

// branchKey returns the key of an element of a branch, without the prefix.
func branchKey(page []byte, i, prefix int) []byte { return elementKey(page, i, prefix, branchKeys) }

// Where elements have the offset of their key, and behind it its length.
const (
	branchKeys = 0
	leafKeys   = 4
)

func elementKey(page []byte, i, prefix, kind int) []byte {
	e := page[PageHead+i*ElementSize:]
	at, size := Native.Uint32(e[kind:]), Native.Uint32(e[kind+4:])
	e = e[at:]
	return e[prefix:size:size]
}

// BranchPageAt returns the page that an element of a branch leads to.
func BranchPageAt(page []byte, i int) uint64 { return Native.Uint64(page[PageHead+i*ElementSize+8:]) }

// leafKey returns the key of an element of a leaf, without the prefix.
func leafKey(page []byte, i, prefix int) []byte { return elementKey(page, i, prefix, leafKeys) }

// LeafValue returns the value of an element of a leaf.
func LeafValue(page []byte, i int) []byte {
	e := page[PageHead+i*ElementSize:]
	at := uint64(Native.Uint32(e[4:])) + uint64(Native.Uint32(e[8:]))
	size := Native.Uint32(e[12:])
	e = e[at:]
	return e[:size:size]
}

// branchFind returns the last element whose key, without the prefix, is not above key; the first when
// there is none. The keys of the page are between below and above, if these are not nil: it looks first
// where leafFind does then.
func branchFind(page []byte, n, prefix int, key, below, above []byte) int {
	lo, hi := 0, n
	if m := guess(n, key, below, above); m >= 0 {
		lo, hi = around(page, n, m, prefix, branchKeys, key)
	}
	for lo < hi {
		if m := (lo + hi) / 2; compare(branchKey(page, m, prefix), key) <= 0 {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return max(lo-1, 0)
}

// compare is bytes.Compare. It is faster when the first eight bytes differ.
func compare(a, b []byte) int {
	if len(a) >= 8 && len(b) >= 8 {
		if x, y := binary.BigEndian.Uint64(a), binary.BigEndian.Uint64(b); x < y {
			return -1
		} else if x > y {
			return 1
		}
	}
	return bytes.Compare(a, b)
}

// leafFind looks first where the key would be if keys were spread evenly between those on both sides,
// and continues from there in growing steps. Hashes and numbers are found after few looks, each of
// which is a cache miss, and others after some more.
func leafFind(page []byte, n, prefix int, key, below, above []byte) []byte {
	if m := guess(n, key, below, above); m >= 0 {
		return leafFindFrom(page, n, prefix, key, m)
	}
	return leafFindIn(page, 0, n, prefix, key)
}

// leafFindFrom looks first at m, and continues from there.
func leafFindFrom(page []byte, n, prefix int, key []byte, m int) []byte {
	lo, hi := around(page, n, m, prefix, leafKeys, key)
	return leafFindIn(page, lo, hi, prefix, key)
}

// leafFindIn finds a key in [lo, hi).
func leafFindIn(page []byte, lo, hi, prefix int, key []byte) []byte {
	for lo < hi {
		m := (lo + hi) / 2
		c := compare(leafKey(page, m, prefix), key)
		if c == 0 {
			return LeafValue(page, m)
		}
		if c < 0 {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return nil
}

// around returns bounds of where key is, by steps from m that double.
func around(page []byte, n, m, prefix, kind int, key []byte) (lo, hi int) {
	if compare(elementKey(page, m, prefix, kind), key) <= 0 {
		lo = m
		for step := 4; ; step *= 2 {
			if hi = lo + step; hi >= n {
				return lo, n
			}
			if compare(elementKey(page, hi, prefix, kind), key) > 0 {
				return lo, hi
			}
			lo = hi
		}
	}
	hi = m
	for step := 4; ; step *= 2 {
		if lo = hi - step; lo <= 0 {
			return 0, hi
		}
		if compare(elementKey(page, lo, prefix, kind), key) <= 0 {
			return lo, hi
		}
		hi = lo
	}
}

// guess returns where key may be among n keys between below and above; -1 when there is nothing to go by.
func guess(n int, key, below, above []byte) int {
	if below == nil || above == nil || n < 8 {
		return -1
	}
	same := 0
	for same < len(below) && same < len(above) && below[same] == above[same] {
		same++
	}
	if len(key) < same {
		return -1
	}
	from, to, at := Digits(below[same:]), Digits(above[same:]), Digits(key[same:])
	if at < from || at >= to {
		return -1
	}
	return min(int(float64(at-from)/float64(to-from)*float64(n)), n-1)
}

// Digits returns the first eight bytes of b as a number, which never descends when bytes ascend.
func Digits(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b)
	}
	var x [8]byte
	copy(x[:], b)
	return binary.BigEndian.Uint64(x[:])
}
