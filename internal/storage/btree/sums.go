package btree

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync/atomic"
)

// Sums are the checksums of a file's pages, and which pages were compared with theirs: each one when
// it is touched for the first time. Safe from any goroutine.
type Sums struct {
	// Before, when not nil, is called before a page is compared, with where it begins and ends.
	Before func(from, to uint64)

	table []byte // 4 bytes big-endian for each page
	seen  []atomic.Uint32

	compared atomic.Int64
}

// Compared returns how many pages were compared.
func (s *Sums) Compared() int64 { return s.compared.Load() }

// NewSums returns the sums of a file of whose pages none was touched.
func NewSums(table []byte) *Sums {
	return &Sums{table: table, seen: make([]atomic.Uint32, len(table)/4/32+1)}
}

// Check compares n pages of data from page id on with their sums, unless that was done before. It
// panics over a page that differs. Two goroutines may compare a page at the same time, with the same
// result.
func (s *Sums) Check(data []byte, pageSize, id, n uint64) {
	for end := id + n; id < end; id++ {
		if s.seen[id/32].Load()&(1<<(id%32)) == 0 {
			s.compare(data, pageSize, id)
		}
	}
}

func (s *Sums) compare(data []byte, pageSize, id uint64) {
	if s.Before != nil {
		s.Before(id*pageSize, (id+1)*pageSize)
	}
	s.compared.Add(1)
	want := binary.BigEndian.Uint32(s.table[id*4:])
	if got := crc32.Checksum(data[id*pageSize:(id+1)*pageSize], Castagnoli); got != want {
		panic(fmt.Sprintf("page %d has the checksum %#x, and %#x was written", id, got, want))
	}
	s.seen[id/32].Or(1 << (id % 32))
}
