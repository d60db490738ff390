package memtable

import (
	"hash/maphash"
	"unsafe"
)

// seed makes hashes unpredictable, so that nobody can send keys that all collide. The order of the
// index shows nowhere.
var seed = maphash.MakeSeed()

// Hash returns the hash by which all tables of the process know a key.
func Hash(key []byte) uint32 { return uint32(maphash.Bytes(seed, key) >> 32) }

// An index finds entries by key. It uses open addressing with slots of {hash, ref}, at most three
// quarters full. A slot has the whole 32-bit hash: growing and removing read no entry, and a search
// for a key that is not there rarely does.
type index struct {
	slots []uint64
	mask  uint32
	count int
}

const firstSlots = 64

func slotOf(hash uint32, r ref) uint64 { return uint64(hash)<<32 | uint64(r) }

// insert adds an entry that is not in the index. The slots must have room.
func (ix *index) insert(hash uint32, r ref) {
	i := hash & ix.mask
	for ix.slots[i] != 0 {
		i = (i + 1) & ix.mask
	}
	ix.slots[i] = slotOf(hash, r)
	ix.count++
}

// remove removes an entry and closes the gap: entries after it that are not in the slot of their
// hash move up.
func (ix *index) remove(hash uint32, r ref) {
	i := hash & ix.mask
	for want := slotOf(hash, r); ix.slots[i] != want; {
		i = (i + 1) & ix.mask
	}
	ix.count--
	for j := i; ; {
		j = (j + 1) & ix.mask
		s := ix.slots[j]
		if s == 0 {
			break
		}
		// s may fill the gap at i unless its home lies between i (exclusive) and j.
		if home := uint32(s>>32) & ix.mask; (j-home)&ix.mask >= (j-i)&ix.mask {
			ix.slots[i] = s
			i = j
		}
	}
	ix.slots[i] = 0
}

// reserve makes room for one more entry.
func (ix *index) reserve(a *arena) {
	if ix.count < len(ix.slots)/4*3 {
		return
	}
	old := ix.slots
	ix.slots = allocWords(max(firstSlots, 2*len(old)))
	ix.mask, ix.count = uint32(len(ix.slots)-1), 0
	a.charge(int64(len(ix.slots)-len(old)) * 8)
	for _, s := range old {
		if s != 0 {
			ix.insert(uint32(s>>32), ref(s))
		}
	}
	freeWords(old)
}

// grow makes room for n entries of an empty index.
func (ix *index) grow(a *arena, n int) {
	size := firstSlots
	for size/4*3 <= n {
		size *= 2
	}
	ix.slots = allocWords(size)
	ix.mask = uint32(size - 1)
	a.charge(int64(size) * 8)
}

// replace adds an entry in place of the one with the same hash that isKey is true of, and returns that one. 0:
// there was none, and the entry is new. The slots must have room.
func (ix *index) replace(hash uint32, r ref, isKey func(ref) bool) (older ref) {
	i := hash & ix.mask
	for ; ix.slots[i] != 0; i = (i + 1) & ix.mask {
		if s := ix.slots[i]; uint32(s>>32) == hash && isKey(ref(s)) {
			ix.slots[i] = slotOf(hash, r)
			return ref(s)
		}
	}
	ix.slots[i] = slotOf(hash, r)
	ix.count++
	return 0
}

func (ix *index) drop(a *arena) {
	a.charge(-int64(len(ix.slots)) * 8)
	freeWords(ix.slots)
	*ix = index{}
}

// allocWords returns n zeroed words. Many words are allocated outside the Go heap.
func allocWords(n int) []uint64 {
	if n*8 < mapFrom {
		return make([]uint64, n)
	}
	b := mapPages(n * 8)
	// Mapped memory starts at a page, and a []byte of this size on the heap at a multiple of 8.
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

func freeWords(w []uint64) {
	if len(w)*8 >= mapFrom {
		unmapPages(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), len(w)*8))
	}
}
