package sarama

import (
	"math"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/recordbatch"
)

// chunk is a run of records of one partition in the order in which they were queued. It belongs to
// the producer's owner until it is handed over, to the dispatcher and the sender after that, and is
// used again when the fate of all its records is known.
type chunk struct {
	partition *producePartition
	ticket    *ticketState
	records   recordbatch.Records
	count     int

	maxSize        int   // upper bound of what the records take in a batch
	unresolved     int   // records whose fate is open
	expectedOffset int64 // the offset that the first record should get; -1: not known
	endOffset      int64 // behind the last record that was accepted; -1: none
}

// reserve makes room for a record of size bytes in a chunk that gets at most most bytes, unless that is one
// record. The memory doubles: append enlarges many bytes by a quarter at a time, and would copy a chunk four
// times over while it fills.
func (c *chunk) reserve(size, most int) {
	n := len(c.records) + size
	if n <= cap(c.records) {
		return
	}
	n = max(n, min(most, max(firstChunkBytes, 2*cap(c.records))))
	c.records = append(make(recordbatch.Records, 0, n), c.records...)
}

// firstChunkBytes is the memory of a chunk with a small record.
const firstChunkBytes = 512

// add copies r, whose recordbatch.MaxRecordSize is size.
func (c *chunk) add(r *kafka.ProduceRecord, size int) {
	c.records = c.records.Append(r)
	c.count++
	c.maxSize += size
	c.unresolved++
}

// reset makes c ready to be filled again, in the memory that it has.
func (c *chunk) reset() { *c = chunk{records: c.records[:0], expectedOffset: -1, endOffset: -1} }

// recycle has ck's memory used for another chunk, unless half of BufferBytes lies ready already.
// Under mu.
func (p *producer) recycle(ck *chunk) {
	ck.reset()
	if m := cap(ck.records); p.freeBytes+m <= p.cfg.BufferBytes/2 {
		p.free = append(p.free, ck)
		p.freeBytes += m
	}
}

// newChunk returns an empty chunk. Under mu.
func (p *producer) newChunk() *chunk {
	n := len(p.free)
	if n == 0 {
		return &chunk{}
	}
	ck := p.free[n-1]
	p.free = p.free[:n-1]
	p.freeBytes -= cap(ck.records)
	return ck
}

// span is the records [from, to) of a chunk, and where their bytes are.
type span struct {
	chunk            *chunk
	from, to         int
	byteFrom, byteTo int
}

func (c *chunk) all() span { return span{c, 0, c.count, 0, len(c.records)} }

func (s span) records() recordbatch.Records { return s.chunk.records[s.byteFrom:s.byteTo] }
func (s span) count() int                   { return s.to - s.from }
func (s span) maxSize() int                 { return s.records().MaxSize(s.count()) }

// split divides the span before its nth record; n is between 0 and its count.
func (s span) split(n int) (before, after span) {
	first, _ := s.records().Split(n)
	before, after = s, s
	before.to, before.byteTo = s.from+n, s.byteFrom+len(first)
	after.from, after.byteFrom = before.to, before.byteTo
	return before, after
}

// addSequence returns the sequence n behind seq; after 2^31-1 comes 0.
func addSequence(seq int32, n int) int32 { return int32((int64(seq) + int64(n)) & math.MaxInt32) }
