package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unsafe"

	"go.etcd.io/bbolt"
)

// A tree is a bucket as a read transaction sees it, for looking up single rows: bbolt's cursor searches a page by halves through
// functions and remembers its way, which costs as much as the memory that it has to touch. Pages are as in builder.
type tree struct {
	data     []byte // what is mapped of the file; nil: look up with a cursor
	pageSize uint64
	root     uint64
}

// treeOf returns the tree of a bucket. Small ones are kept in their parent's page: they have none.
func treeOf(db *bbolt.DB, tx *bbolt.Tx, b *bbolt.Bucket) tree {
	root := uint64(b.Root())
	if root == 0 {
		return tree{}
	}
	info := db.Info()
	start := *(*unsafe.Pointer)(unsafe.Pointer(&info.Data)) // of the map, which the collector knows nothing of
	return tree{data: unsafe.Slice((*byte)(start), tx.Size()), pageSize: uint64(info.PageSize), root: root}
}

// deepest is more levels than a file can have.
const deepest = 64

// find returns the value of key; nil when there is none. It panics over pages that are not what they should be, as bbolt does.
func (t *tree) find(key []byte) []byte {
	id := t.root
	var below, above []byte // keys on both sides of the page; nil: none
	for range deepest {
		page := t.data[id*t.pageSize:]
		if got := native.Uint64(page); got != id {
			panic(fmt.Sprintf("page %d says that it is page %d", id, got))
		}
		n := int(native.Uint16(page[10:]))
		switch native.Uint16(page[8:]) {
		case leafPage:
			return leafFind(page, n, key, below, above)
		case branchPage:
			i := branchFind(page, n, key)
			id = native.Uint64(page[pageHead+i*elementSize+8:])
			below = branchKey(page, i)
			if i+1 < n {
				above = branchKey(page, i+1)
			}
		default:
			panic(fmt.Sprintf("page %d is neither branch nor leaf", id))
		}
	}
	panic("branches lead in a circle")
}

func branchKey(page []byte, i int) []byte {
	e := page[pageHead+i*elementSize:]
	return e[native.Uint32(e):][:native.Uint32(e[4:])]
}

func leafKey(page []byte, i int) []byte {
	e := page[pageHead+i*elementSize:]
	return e[native.Uint32(e[4:]):][:native.Uint32(e[8:])]
}

// branchFind returns the last element whose key is not above key, the first when there is none.
func branchFind(page []byte, n int, key []byte) int {
	lo, hi := 0, n
	for lo < hi {
		if m := (lo + hi) / 2; bytes.Compare(branchKey(page, m), key) <= 0 {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return max(lo-1, 0)
}

// leafFind looks first where the key would be if keys were spread evenly between those on both sides, and goes on from there in
// growing steps: hashes and numbers are found after few looks, each of which is a miss of the cache, and others after some more.
func leafFind(page []byte, n int, key, below, above []byte) []byte {
	lo, hi := 0, n // the key is in [lo, hi)
	if m := guess(n, key, below, above); m >= 0 {
		lo, hi = around(page, n, m, key)
	}
	for lo < hi {
		m := (lo + hi) / 2
		c := bytes.Compare(leafKey(page, m), key)
		if c == 0 {
			e := page[pageHead+m*elementSize:]
			at := native.Uint32(e[4:]) + native.Uint32(e[8:])
			size := native.Uint32(e[12:])
			return e[at:][:size:size]
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
func around(page []byte, n, m int, key []byte) (lo, hi int) {
	if bytes.Compare(leafKey(page, m), key) <= 0 {
		lo = m
		for step := 4; ; step *= 2 {
			if hi = lo + step; hi >= n {
				return lo, n
			}
			if bytes.Compare(leafKey(page, hi), key) > 0 {
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
		if bytes.Compare(leafKey(page, lo), key) <= 0 {
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
	from, to, at := digits(below[same:]), digits(above[same:]), digits(key[same:])
	if at < from || at >= to {
		return -1
	}
	return min(int(float64(at-from)/float64(to-from)*float64(n)), n-1)
}

// digits returns the first eight bytes of b as a number.
func digits(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b)
	}
	var x [8]byte
	copy(x[:], b)
	return binary.BigEndian.Uint64(x[:])
}
