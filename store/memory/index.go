package memory

import (
	"hash/maphash"
	"unsafe"
)

// seed makes hashes of keys unpredictable; the order of the index shows nowhere.
var seed = maphash.MakeSeed()

func hashOf(key []byte) uint32 { return uint32(maphash.Bytes(seed, key) >> 32) }

// An index finds entries by key: open addressing over slots of {hash, ref}, at most three quarters full. A slot keeps the
// whole 32-bit hash, so that growing and removing never look at an entry, and a miss rarely does.
type index struct {
	slots []uint64
	mask  uint32
	n     int
}

const firstSlots = 64

func slotOf(hash uint32, r ref) uint64 { return uint64(hash)<<32 | uint64(r) }

// insert adds an entry that is not in the index. The slots must have room.
func (x *index) insert(hash uint32, r ref) {
	i := hash & x.mask
	for x.slots[i] != 0 {
		i = (i + 1) & x.mask
	}
	x.slots[i] = slotOf(hash, r)
	x.n++
}

// remove takes out an entry and closes the gap: what follows and does not stand where its hash points moves up.
func (x *index) remove(hash uint32, r ref) {
	i := hash & x.mask
	for want := slotOf(hash, r); x.slots[i] != want; {
		i = (i + 1) & x.mask
	}
	x.n--
	for j := i; ; {
		j = (j + 1) & x.mask
		s := x.slots[j]
		if s == 0 {
			break
		}
		// s may fill the gap at i unless its home lies between i (exclusive) and j.
		if home := uint32(s>>32) & x.mask; (j-home)&x.mask >= (j-i)&x.mask {
			x.slots[i] = s
			i = j
		}
	}
	x.slots[i] = 0
}

// reserve makes room for one more entry.
func (x *index) reserve(a *arena) {
	if x.n < len(x.slots)/4*3 {
		return
	}
	old := x.slots
	x.slots = allocWords(max(firstSlots, 2*len(old)))
	x.mask, x.n = uint32(len(x.slots)-1), 0
	a.charge(int64(len(x.slots)-len(old)) * 8)
	for _, s := range old {
		if s != 0 {
			x.insert(uint32(s>>32), ref(s))
		}
	}
	freeWords(old)
}

func (x *index) drop(a *arena) {
	a.charge(-int64(len(x.slots)) * 8)
	freeWords(x.slots)
	*x = index{}
}

// allocWords returns n zeroed words, outside the Go heap when they are many.
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
