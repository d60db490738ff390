// Package partition chooses partitions as Kafka's Java clients do, so that Go and Java services can share topics.
package partition

// Murmur2 is the hash of Kafka's default partitioner, as Java's Utils.murmur2 computes it. Java's int is its signed reading.
func Murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(b))
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

// ForKey returns the partition of a key among n > 0 partitions: Java's toPositive(murmur2(key)) % n. The key must not be nil: a
// record without a key has no partition of its own, see Spread.
func ForKey(key []byte, n int) int32 {
	return int32((Murmur2(key) & 0x7fffffff) % uint32(n))
}

// stick is how many bytes of records without a key go to one partition before the next one has its turn. One partition per
// record would make batches of one record; Java's producer stays for batch.size bytes, 16 KiB by default.
const stick = 16 << 10

// Spread chooses partitions for records without a key: one for some 16 KiB, then the next. The zero Spread begins with partition 0.
// Owned by one goroutine.
type Spread struct {
	at    uint32
	bytes int
}

// From returns a Spread that begins with partition p, so that the tasks of an application do not all write to the same one.
func From(p int32) Spread { return Spread{at: uint32(p)} }

// Next returns the partition among n > 0 for a record of the given size in bytes.
func (s *Spread) Next(n, size int) int32 {
	if s.bytes >= stick {
		s.at++
		s.bytes = 0
	}
	s.bytes += size
	return int32(s.at % uint32(n))
}
