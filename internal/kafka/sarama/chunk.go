package sarama

import (
	"time"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// chunk is a run of records of one partition, as the owner of the producer wrote them: records in a slab, their bytes in an
// arena. Owned by the producer's owner until it is handed over, by the dispatcher after that, and then used again.
type chunk struct {
	part  *outPart
	cut   *cut
	recs  []sarama.Record
	heads []sarama.RecordHeader
	refs  []*sarama.RecordHeader
	arena []byte

	bytes  int   // upper bound of what the records take on the wire
	left   int   // records whose fate is open
	expect int64 // the offset that the first record should get; -1: not known
	end    int64 // the offset after the last accepted record; -1: none
}

// Overheads on the wire, as upper bounds.
const (
	batchOverhead  = 61
	recordOverhead = 21 + 5 + 5 + 5 // attributes, length, time and offset deltas; lengths of key and value; number of headers
	headerOverhead = 5 + 5
)

func wireSize(r *kafka.ProduceRecord) int {
	n := len(r.Key) + len(r.Value) + recordOverhead
	for i := range r.Headers {
		n += len(r.Headers[i].Name) + len(r.Headers[i].Value) + headerOverhead
	}
	return n
}

// add copies r. Times wait in TimestampDelta, in milliseconds since 1970, until the batch is known that they are relative to.
func (k *chunk) add(r *kafka.ProduceRecord, size int) {
	rec := sarama.Record{Key: k.copy(r.Key), Value: k.copy(r.Value), TimestampDelta: time.Duration(r.Time)}
	if len(r.Headers) > 0 {
		rec.Headers = k.headers(r.Headers)
	}
	k.recs = append(k.recs, rec)
	k.bytes += size
	k.left++
}

// copy keeps nil nil and empty empty: on the wire they differ.
func (k *chunk) copy(b []byte) []byte {
	if b == nil {
		return nil
	}
	at := k.room(len(b))
	k.arena = append(k.arena, b...)
	return k.arena[at:len(k.arena):len(k.arena)]
}

func (k *chunk) copyString(s string) []byte {
	at := k.room(len(s))
	k.arena = append(k.arena, s...)
	return k.arena[at:len(k.arena):len(k.arena)]
}

// room makes room for n bytes and returns where they go. A full arena is replaced, not grown: records point into the old one.
func (k *chunk) room(n int) int {
	if cap(k.arena)-len(k.arena) < n || k.arena == nil {
		k.arena = make([]byte, 0, max(min(2*cap(k.arena), 1<<18), n, 1<<10))
	}
	return len(k.arena)
}

func (k *chunk) headers(hs []kafka.Header) []*sarama.RecordHeader {
	first := len(k.refs)
	for i := range hs {
		k.heads = append(k.heads, sarama.RecordHeader{Key: k.copyString(hs[i].Name), Value: k.copy(hs[i].Value)})
		k.refs = append(k.refs, &k.heads[len(k.heads)-1])
	}
	return k.refs[first:len(k.refs):len(k.refs)]
}

// reset makes k usable again; it keeps its memory.
func (k *chunk) reset() {
	clear(k.recs)
	clear(k.refs)
	k.recs, k.heads, k.refs, k.arena = k.recs[:0], k.heads[:0], k.refs[:0], k.arena[:0]
	k.part, k.cut, k.bytes, k.left, k.expect, k.end = nil, nil, 0, 0, -1, -1
}
