package sarama

import (
	"encoding/binary"
	"math"

	"github.com/millstream-go/millstream/internal/kafka"
)

// chunk is a run of records of one partition, as the owner of the producer wrote them. Owned by the producer's owner until it is
// handed over, by the dispatcher and the sender after that, and then used again.
//
// Each record takes its time, 8 bytes, and the length of what follows, 4 bytes, both little-endian; then, in the form of the wire, all
// that does not depend on the batch that it will be part of: key, value and headers. There is no pointer to look at for the
// collector, and making a batch of it is one copy.
type chunk struct {
	part  *outPart
	cut   *cut
	bytes []byte
	count int

	size   int   // upper bound of what the records take on the wire
	left   int   // records whose fate is open
	expect int64 // the offset that the first record should get; -1: not known
	end    int64 // the offset after the last accepted record; -1: none
}

// Overheads on the wire, as upper bounds.
const (
	batchOverhead  = 61
	recordOverhead = 21 + 5 + 5 + 5 // attributes, length, time and offset deltas; lengths of key and value; number of headers
	headerOverhead = 5 + 5
	chunkHead      = 8 + 4
)

func wireSize(r *kafka.ProduceRecord) int {
	n := len(r.Key) + len(r.Value) + recordOverhead
	for i := range r.Headers {
		n += len(r.Headers[i].Name) + len(r.Headers[i].Value) + headerOverhead
	}
	return n
}

// add copies r.
func (k *chunk) add(r *kafka.ProduceRecord, size int) {
	at := len(k.bytes)
	b := binary.LittleEndian.AppendUint64(k.bytes, uint64(r.Time))
	b = append(b, 0, 0, 0, 0)
	b = appendField(b, r.Key)
	b = appendField(b, r.Value)
	b = binary.AppendVarint(b, int64(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		b = append(binary.AppendVarint(b, int64(len(h.Name))), h.Name...)
		b = appendField(b, h.Value)
	}
	binary.LittleEndian.PutUint32(b[at+8:], uint32(len(b)-at-chunkHead))
	k.bytes = b
	k.count++
	k.size += size
	k.left++
}

// appendField keeps nil nil and empty empty: on the wire they differ.
func appendField(b, field []byte) []byte {
	if field == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(field))), field...)
}

// next splits the first record off the bytes of a chunk.
func next(b []byte) (time int64, tail, rest []byte) {
	end := chunkHead + int(binary.LittleEndian.Uint32(b[8:]))
	return int64(binary.LittleEndian.Uint64(b)), b[chunkHead:end:end], b[end:]
}

// produced turns the first record of a chunk's bytes back into what was sent, in memory of its own.
func produced(b []byte) kafka.ProduceRecord {
	time, tail, _ := next(b)
	r := recordReader{b: append([]byte(nil), tail...), names: names{}}
	out := kafka.ProduceRecord{Key: r.bytes(), Value: r.bytes(), Time: time}
	if n := r.varint(); n != 0 {
		out.Headers = r.headers(n)
	}
	return out
}

// reset makes k usable again; it keeps its memory.
func (k *chunk) reset() { *k = chunk{bytes: k.bytes[:0], expect: -1, end: -1} }

// span is the records [from, to) of a chunk, and where their bytes are.
type span struct {
	k        *chunk
	from, to int
	at, end  int
}

func (k *chunk) all() span { return span{k, 0, k.count, 0, len(k.bytes)} }

func (s span) bytes() []byte { return s.k.bytes[s.at:s.end] }
func (s span) count() int    { return s.to - s.from }

// size is an upper bound of what the span takes on the wire.
func (s span) size() int { return s.end - s.at + s.count()*(recordOverhead-chunkHead) }

// split cuts the span before its nth record; n is between 0 and its count.
func (s span) split(n int) (before, after span) {
	b := s.bytes()
	for range n {
		_, _, b = next(b)
	}
	before, after = s, s
	before.to, before.end = s.from+n, s.end-len(b)
	after.from, after.at = before.to, before.end
	return before, after
}

// after is the sequence n after seq; sequences go from 2^31-1 to 0.
func after(seq int32, n int) int32 { return int32((int64(seq) + int64(n)) & math.MaxInt32) }
