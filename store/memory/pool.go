package memory

// Chunks come in five sizes, so that a store of ten rows costs 4 KiB and one of a million has few of them.
var chunkSizes = [...]int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20}

const (
	largestChunk = len(chunkSizes) - 1
	mapFrom      = 64 << 10 // smaller pieces come from the Go heap: a mapping each would waste the kernel's memory
)

// A pool keeps some of the mapped chunks that tables have given back: mapping, faulting in and unmapping a page costs as much
// as writing it. Guarded by the Budget's mutex.
type pool struct {
	free  [len(chunkSizes)][][]byte
	bytes int64
	limit int64
}

// take returns a pooled chunk, or nil. Its bytes are arbitrary.
func (p *pool) take(class int) []byte {
	f := p.free[class]
	if len(f) == 0 {
		return nil
	}
	c := f[len(f)-1]
	p.free[class] = f[:len(f)-1]
	p.bytes -= int64(len(c))
	return c
}

// put is whether the pool kept c.
func (p *pool) put(c []byte) bool {
	for class, size := range chunkSizes {
		if len(c) == size && p.bytes+int64(size) <= p.limit {
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
	c := b.pool.take(class)
	b.mu.Unlock()
	switch {
	case c != nil:
		return c
	case chunkSizes[class] < mapFrom:
		return make([]byte, chunkSizes[class])
	}
	return mapPages(chunkSizes[class])
}

// giveBack takes memory of chunk or mapPages: into the pool, or back to the system.
func (b *Budget) giveBack(c []byte) {
	b.mu.Lock()
	kept := b.pool.put(c)
	b.mu.Unlock()
	if !kept && len(c) >= mapFrom {
		unmapPages(c)
	}
}

// Close gives pooled memory back to the system. The budget stays usable.
func (b *Budget) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for class, free := range b.pool.free {
		for _, c := range free {
			unmapPages(c)
		}
		b.pool.free[class] = nil
	}
	b.pool.bytes = 0
}
