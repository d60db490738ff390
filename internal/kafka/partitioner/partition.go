// Package partitioner chooses partitions as Kafka's Java clients do, so that Go and Java services
// can share topics.
package partitioner

// Murmur2 is the hash of Kafka's default partitioner, as Java's Utils.murmur2 computes it. Java's
// int is its signed reading.
func Murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(b))
	// Four bytes at a time, little-endian; the rest of them is mixed in behind.
	for ; len(b) >= 4; b = b[4:] {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(b[0])) * m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

// ForKey returns the partition of a key among n > 0 partitions: Java's toPositive(murmur2(key)) %
// n. The key must not be nil: a record without a key has no partition of its own, see Sticky.
func ForKey(key []byte, n int) int32 {
	return int32((Murmur2(key) & 0x7fffffff) % uint32(n))
}

// stickyBytes is how many bytes of records without a key go to one partition before the next
// partition has its turn. Another partition for each record would make batches of one record;
// Java's producer stays for batch.size bytes, 16 KiB by default.
const stickyBytes = 16 << 10

// Sticky chooses partitions for records without a key: one for some 16 KiB, then the next. The zero
// Sticky begins with partition 0. It is owned by one goroutine.
type Sticky struct {
	next  uint32
	bytes int
}

// NewSticky returns a Sticky that begins with partition p, so that the tasks of an application do
// not all write to the same one.
func NewSticky(p int32) Sticky { return Sticky{next: uint32(p)} }

// Next returns the partition among n > 0 for a record of the given size in bytes.
func (s *Sticky) Next(n, size int) int32 {
	if s.bytes >= stickyBytes {
		s.next++
		s.bytes = 0
	}
	s.bytes += size
	return int32(s.next % uint32(n))
}
