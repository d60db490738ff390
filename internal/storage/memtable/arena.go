package memtable

import (
	"encoding/binary"
	"sync/atomic"
)

// A ref names a block of an arena: chunk number and offset in units of 8 bytes. From largeRefs on it is the number of a
// large block. 0 is no block.
type ref = uint32

const (
	unit       = 8
	offsetBit  = 18 // 2^18 units are the 2 MiB of the largest chunk
	offsetMax  = 1<<offsetBit - 1
	largeFrom  = 64 << 10 // larger blocks get memory of their own
	largeRefs  = 3 << 30
	chunkLimit = largeRefs>>offsetBit - 64
)

var le = binary.LittleEndian

// An arena allocates blocks in chunks of memory without pointers, which the garbage collector does
// not scan. A released block is used again for one of the same size class. Blocks never move. An
// arena belongs to one goroutine; readers of a frozen table only follow refs.
type arena struct {
	account *Account
	chunks  [][]byte // by number; number 0 is not used, so that no block has ref 0; nil: a spare number
	spare   []uint32
	// Large blocks have numbers apart: with a chunk number each, there would be none left after a GiB of
	// them.
	large      [][]byte // by number; nil: a spare number
	largeSpare []uint32
	bump       bump
	free       [sizeClasses]ref // lists of free blocks; the first 4 bytes of each are the ref of the next
	used       atomic.Int64     // the flusher and readers may ask for it
}

// A bump carves blocks from the end of its newest chunk.
type bump struct {
	chunk     uint32
	next, end int
	nextClass int
}

// bytes returns the memory from r to the end of its chunk.
func (a *arena) bytes(r ref) []byte {
	if r >= largeRefs {
		return a.large[r-largeRefs]
	}
	return a.chunks[r>>offsetBit][int(r&offsetMax)*unit:]
}

// nearLimit reports whether the arena comes close to what refs can name: some 24 GiB of rows
// that are not large.
func (a *arena) nearLimit() bool { return len(a.chunks) >= chunkLimit && len(a.spare) < 64 }

// Sizes up to 1 KiB have a class for each unit, since rows of one store tend to have similar sizes.
// Above, there are eight classes to each doubling.
const (
	exactClasses = 128
	sizeClasses  = exactClasses + 1 + 8*6
)

// classOf returns the size class of a block of n > 0 bytes, and the size of the blocks of that
// class.
func classOf(n int) (class, size int) {
	if n <= exactClasses*unit {
		class = (n + unit - 1) / unit
		return class, class * unit
	}
	class, size = exactClasses+1, exactClasses*unit
	for step := size / 8; ; step *= 2 {
		for range 8 {
			if size += step; n <= size {
				return class, size
			}
			class++
		}
	}
}

// alloc returns a block of at least n bytes, and its size. Its content is arbitrary.
func (a *arena) alloc(n int) (ref, int) {
	if n > largeFrom {
		return a.allocLarge(n)
	}
	class, size := classOf(n)
	if r := a.free[class]; r != 0 {
		a.free[class] = le.Uint32(a.bytes(r))
		return r, size
	}
	return a.carve(&a.bump, size), size
}

// release frees a block. size is what alloc returned.
func (a *arena) release(r ref, size int) {
	if size > largeFrom {
		number := r - largeRefs
		a.largeSpare = append(a.largeSpare, number)
		a.freeMemory(a.large, number)
		return
	}
	class, _ := classOf(size)
	le.PutUint32(a.bytes(r), a.free[class])
	a.free[class] = r
}

// carve returns size <= largeFrom bytes, a multiple of the unit, from the end of b. When they do
// not fit, it begins a new chunk, of the next greater size: a small store stays small, and a large
// one has few chunks.
func (a *arena) carve(b *bump, size int) ref {
	if b.end-b.next < size {
		for chunkSizes[b.nextClass] < size {
			b.nextClass++
		}
		b.chunk, b.next, b.end = a.addChunk(a.account.budget.chunk(b.nextClass)), 0, chunkSizes[b.nextClass]
		b.nextClass = min(b.nextClass+1, largestChunk)
	}
	r := b.chunk<<offsetBit | uint32(b.next/unit)
	b.next += size
	return r
}

// allocLarge returns a block of more than largeFrom bytes, in memory of its own.
func (a *arena) allocLarge(n int) (ref, int) {
	c := mapPages(wholePages(n))
	a.charge(int64(len(c)))
	return largeRefs + number(&a.large, &a.largeSpare, c), len(c)
}

func wholePages(n int) int {
	const page = 4 << 10
	return (n + page - 1) / page * page
}

// addChunk adds a chunk and returns its number.
func (a *arena) addChunk(c []byte) uint32 {
	a.charge(int64(len(c)))
	if len(a.chunks) == 0 {
		a.chunks = append(a.chunks, nil)
	}
	return number(&a.chunks, &a.spare, c)
}

// number adds memory to a list, under a spare number where there is one.
func number(list *[][]byte, spare *[]uint32, c []byte) uint32 {
	if n := len(*spare); n > 0 {
		number := (*spare)[n-1]
		*spare = (*spare)[:n-1]
		(*list)[number] = c
		return number
	}
	*list = append(*list, c)
	return uint32(len(*list) - 1)
}

func (a *arena) dropChunk(number uint32) {
	a.spare = append(a.spare, number)
	a.freeMemory(a.chunks, number)
}

// freeMemory frees what has a number in a list.
func (a *arena) freeMemory(list [][]byte, number uint32) {
	c := list[number]
	list[number] = nil
	a.charge(-int64(len(c)))
	a.account.budget.freeChunk(c)
}

func (a *arena) charge(n int64) {
	a.used.Add(n)
	a.account.charge(n)
}

// chargeTo moves the memory to another account.
func (a *arena) chargeTo(to *Account) {
	a.account.charge(-a.used.Load())
	a.account = to
	a.account.charge(a.used.Load())
}

// take returns an arena with all memory of this one, which is empty afterwards.
func (a *arena) take() *arena {
	taken := &arena{
		account: a.account, chunks: a.chunks, spare: a.spare, large: a.large, largeSpare: a.largeSpare,
		bump: a.bump, free: a.free,
	}
	taken.used.Store(a.used.Load())
	*a = arena{account: a.account}
	return taken
}

// drop frees all memory. No ref is valid afterwards.
func (a *arena) drop() {
	// First: the budget keeps what it has room for.
	a.charge(-a.used.Load())
	for _, list := range [][][]byte{a.chunks, a.large} {
		for number, c := range list {
			if c != nil {
				list[number] = nil
				a.account.budget.freeChunk(c)
			}
		}
	}
	*a = arena{account: a.account}
}
