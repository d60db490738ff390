package sarama

import (
	"sync"
	"sync/atomic"

	"github.com/millstream-go/millstream/internal/kafka"
)

// A recycler has memory of batches whose records nobody uses any more, for those that are fetched next. What
// is fetched is nearly all that a restore allocates, and the garbage collector would run every few megabytes.
type recycler struct {
	mu      sync.Mutex
	bodies  [][]byte
	records [][]kafka.Record
}

const (
	// recycledPieces is how many bodies and how many slices of records a recycler has at most, and the others
	// how large they may be: what is larger is rare.
	recycledPieces  = 4
	recycledBytes   = 2 << 20
	recycledRecords = recycledBytes / 96
)

// body returns memory of n bytes, which are arbitrary.
func (c *recycler) body(n int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := len(c.bodies) - 1; last >= 0 {
		b := c.bodies[last]
		c.bodies = c.bodies[:last]
		if cap(b) >= n {
			return b[:n]
		}
	}
	return make([]byte, n)
}

// room returns a slice with room for n records.
func (c *recycler) room(n int) []kafka.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := len(c.records) - 1; last >= 0 {
		r := c.records[last]
		c.records = c.records[:last]
		if cap(r) >= n {
			return r
		}
	}
	return make([]kafka.Record, 0, n)
}

func (c *recycler) putBody(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cap(b) <= recycledBytes && len(c.bodies) < recycledPieces {
		c.bodies = append(c.bodies, b)
	}
}

func (c *recycler) putRecords(r []kafka.Record) {
	clear(r) // it would keep what they refer to in memory
	c.mu.Lock()
	defer c.mu.Unlock()
	if cap(r) > 0 && cap(r) <= recycledRecords && len(c.records) < recycledPieces {
		c.records = append(c.records, r[:0])
	}
}

// drop leaves all memory to the garbage collector.
func (c *recycler) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodies, c.records = nil, nil
}

// A sharedBody is the body of a response. Its users are the reader while it parses it, what is pending of a
// partition, and the batches that were delivered. Users that never say that they are done, as of a partition that was
// removed, leave it to the garbage collector.
type sharedBody struct {
	bytes []byte
	users atomic.Int32
	to    *recycler
}

func (b *sharedBody) use() { b.users.Add(1) }

func (b *sharedBody) done() {
	if b.users.Add(-1) == 0 {
		b.to.putBody(b.bytes)
	}
}

// recyclable makes the memory of a batch, whose records are in body, recyclable.
func (c *recycler) recyclable(batch *kafka.Batch, body *sharedBody) {
	body.use()
	batch.Recycle = sync.OnceFunc(func() {
		c.putRecords(batch.Records)
		batch.Records = nil
		body.done()
	})
}
