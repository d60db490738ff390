package memtable

import "sync/atomic"

// Chunks come in six sizes, so that a store of ten rows costs 4 KiB and one of a million has few
// of them. The largest is a huge page of most machines.
var chunkSizes = [...]int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, hugePage}

const (
	largestChunk = len(chunkSizes) - 1
	hugePage     = 2 << 20
	mapFrom      = 64 << 10 // smaller pieces come from the Go heap: a mapping each would waste the kernel's memory
)

// A pool has some of the chunks that tables have freed, to be used again: mapping, faulting in and
// unmapping a page costs as much as writing it. Guarded by the Budget's mutex.
type pool struct {
	free    [len(chunkSizes)][][]byte
	bytes   int64
	limit   int64
	keepers atomic.Int32 // see Budget.KeepFreed
}

// get returns a pooled chunk, or nil. Its bytes are arbitrary.
func (p *pool) get(class int) []byte {
	f := p.free[class]
	if len(f) == 0 {
		return nil
	}
	c := f[len(f)-1]
	p.free[class] = f[:len(f)-1]
	p.bytes -= int64(len(c))
	return c
}

// put adds a chunk, and reports whether there was room for it. unused is what the budget has left.
func (p *pool) put(c []byte, unused int64) bool {
	limit := p.limit
	if p.keepers.Load() > 0 {
		limit = max(limit, unused)
	}
	for class, size := range chunkSizes {
		if len(c) == size && p.bytes+int64(size) <= limit {
			p.free[class] = append(p.free[class], c)
			p.bytes += int64(size)
			return true
		}
	}
	return false
}

// chunk returns memory of a chunk size, with arbitrary content.
func (b *Budget) chunk(class int) []byte {
	b.mu.Lock()
	c := b.pool.get(class)
	b.mu.Unlock()
	switch {
	case c != nil:
		return c
	case chunkSizes[class] < mapFrom:
		return make([]byte, chunkSizes[class])
	}
	return mapPages(chunkSizes[class])
}

// freeChunk frees memory that chunk or mapPages returned: to the pool or to the system.
func (b *Budget) freeChunk(chunk []byte) {
	b.mu.Lock()
	pooled := b.pool.put(chunk, b.limit-b.used.Load())
	b.mu.Unlock()
	if !pooled && len(chunk) >= mapFrom {
		unmapPages(chunk)
	}
}

// KeepFreed makes the budget keep all memory that tables free, as long as it is not more than the limit together
// with what is used, until the function that it returns is called, once. A restore fills tables as fast as it
// can: it would have the kernel clear each page of them anew.
func (b *Budget) KeepFreed() (end func()) {
	b.pool.keepers.Add(1)
	return func() {
		if b.pool.keepers.Add(-1) == 0 {
			b.shrinkPool(0)
		}
	}
}

// shrinkPool returns to the system what is pooled besides the unused bytes of the budget, and besides what is
// always pooled.
func (b *Budget) shrinkPool(unused int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pool.shrink(max(b.pool.limit, unused))
}

// shrink returns pooled memory to the system, the largest chunks first, until limit is left.
func (p *pool) shrink(limit int64) {
	for class := largestChunk; class >= 0; class-- {
		for p.bytes > limit && len(p.free[class]) > 0 {
			unmapPages(p.get(class))
		}
	}
}

// Close returns pooled memory to the system. The budget stays usable: what is freed later, because a reader was still
// sorting a table, goes to the system at once.
func (b *Budget) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pool.shrink(0)
	b.pool.limit = 0
}
