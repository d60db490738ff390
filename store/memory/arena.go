package memory

import "encoding/binary"

// A ref names a block of an arena: chunk number and offset in units of 8 bytes. 0 is no block.
type ref = uint32

const (
	unit      = 8
	offsetBit = 17 // 2^17 units are the 1 MiB of the largest chunk
	offsetMax = 1<<offsetBit - 1
	maxChunks = 1 << (32 - offsetBit)
	largeFrom = 64 << 10 // larger blocks get memory of their own
	fullAt    = maxChunks - 64
)

var le = binary.LittleEndian

// An arena hands out blocks of chunked memory without pointers, so that the garbage collector has nothing to look at, and
// takes them back by size. Blocks never move. Owned by one goroutine; readers of a frozen table only follow refs.
type arena struct {
	account *Account
	chunks  [][]byte // by number; number 0 is not used; nil: a spare number
	spare   []uint32
	bump    bump
	free    [sizeClasses]ref // heads of lists threaded through the first 4 bytes of free blocks
	used    int64
}

// A bump cuts blocks off the end of its newest chunk.
type bump struct {
	chunk     uint32
	off, end  int
	nextClass int
}

// bytes returns the memory from r to the end of its chunk.
func (a *arena) bytes(r ref) []byte {
	return a.chunks[r>>offsetBit][int(r&offsetMax)*unit:]
}

// full is whether the arena comes close to what refs can name (some 30 GiB).
func (a *arena) full() bool { return len(a.chunks) >= fullAt && len(a.spare) < 64 }

// Sizes up to 1 KiB are exact to the unit: rows of one store tend to be alike. Above, eight classes to each doubling.
const (
	exactClasses = 128
	sizeClasses  = exactClasses + 1 + 8*6
)

// classOf returns the size class of a block of n > 0 bytes, and the bytes that the block really has.
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

// alloc returns a block of at least n bytes, and how many it has. Its content is arbitrary.
func (a *arena) alloc(n int) (ref, int) {
	if n > largeFrom {
		return a.allocLarge(n)
	}
	class, size := classOf(n)
	if r := a.free[class]; r != 0 {
		a.free[class] = le.Uint32(a.bytes(r))
		return r, size
	}
	return a.cut(&a.bump, size), size
}

// release takes back a block of size bytes, as alloc said.
func (a *arena) release(r ref, size int) {
	if size > largeFrom {
		a.dropChunk(r >> offsetBit)
		return
	}
	class, _ := classOf(size)
	le.PutUint32(a.bytes(r), a.free[class])
	a.free[class] = r
}

// cut returns size <= largeFrom bytes, a multiple of the unit, from the end of b.
func (a *arena) cut(b *bump, size int) ref {
	if b.end-b.off < size {
		for chunkSizes[b.nextClass] < size {
			b.nextClass++
		}
		b.chunk, b.off, b.end = a.addChunk(a.account.budget.chunk(b.nextClass)), 0, chunkSizes[b.nextClass]
		b.nextClass = min(b.nextClass+1, largestChunk)
	}
	r := b.chunk<<offsetBit | uint32(b.off/unit)
	b.off += size
	return r
}

func (a *arena) allocLarge(n int) (ref, int) {
	const page = 4 << 10
	n = (n + page - 1) / page * page
	return a.addChunk(mapPages(n)) << offsetBit, n
}

func (a *arena) addChunk(c []byte) uint32 {
	a.charge(int64(len(c)))
	if n := len(a.spare); n > 0 {
		number := a.spare[n-1]
		a.spare = a.spare[:n-1]
		a.chunks[number] = c
		return number
	}
	if len(a.chunks) == 0 {
		a.chunks = append(a.chunks, nil)
	}
	a.chunks = append(a.chunks, c)
	return uint32(len(a.chunks) - 1)
}

func (a *arena) dropChunk(number uint32) {
	c := a.chunks[number]
	a.chunks[number] = nil
	a.spare = append(a.spare, number)
	a.charge(-int64(len(c)))
	a.account.budget.giveBack(c)
}

func (a *arena) charge(n int64) {
	a.used += n
	a.account.charge(n)
}

// drop gives all memory back. No ref is valid afterwards.
func (a *arena) drop() {
	for number, c := range a.chunks {
		if c != nil {
			a.chunks[number] = nil
			a.account.budget.giveBack(c)
		}
	}
	a.charge(-a.used)
	*a = arena{account: a.account}
}
