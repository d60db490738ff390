package sarama

import (
	"math"
	"time"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// identity is a producer id with its epoch. Each partition has its own: the broker checks sequences per id and partition, so a
// partition that has to begin anew takes a fresh id and leaves the retries of the others alone.
type identity struct {
	id    int64
	epoch int16
}

// batch is a run of records under way as one record batch. The dispatcher's.
type batch struct {
	part  *outPart
	spans []span
	wire  *sarama.RecordBatch // nil until it is built
	bytes int
	count int

	ident *identity
	seq   int32
	// maybe says that an attempt may have been appended without our knowing: the batch must be sent again as it is, or given up
	// together with its sequence (invariant 4).
	maybe bool
}

// span is the records [from, to) of a chunk.
type span struct {
	k        *chunk
	from, to int
}

func (s span) recs() []sarama.Record { return s.k.recs[s.from:s.to] }

// build makes the wire's record batch: deltas of offset and time, and pointers to the records.
func (b *batch) build(codec sarama.CompressionCodec) {
	first := int64(b.spans[0].recs()[0].TimestampDelta)
	latest := first
	ptrs := make([]*sarama.Record, 0, b.count)
	for _, s := range b.spans {
		recs := s.recs()
		for i := range recs {
			r := &recs[i]
			t := int64(r.TimestampDelta)
			latest = max(latest, t)
			r.TimestampDelta = time.Duration(t-first) * time.Millisecond
			r.OffsetDelta = int64(len(ptrs))
			ptrs = append(ptrs, r)
		}
	}
	b.wire = &sarama.RecordBatch{Version: 2, Codec: codec, CompressionLevel: sarama.CompressionLevelDefault,
		FirstTimestamp: wireTime(first), MaxTimestamp: wireTime(latest), LastOffsetDelta: int32(b.count - 1), Records: ptrs}
}

// unbuild turns times back into milliseconds since 1970, before the records become part of other batches.
func (b *batch) unbuild() {
	if b.wire == nil {
		return
	}
	first := millis(b.wire.FirstTimestamp)
	for _, r := range b.wire.Records {
		r.TimestampDelta = time.Duration(first + int64(r.TimestampDelta/time.Millisecond))
	}
	b.wire = nil
}

// wireTime is the reverse of millis.
func wireTime(ms int64) time.Time {
	if ms < 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// stamp gives the batch its place in the sequence. A batch that may have been appended keeps what it has (keeps 4).
func (b *batch) stamp(o *lane) {
	if !b.maybe {
		b.ident, b.seq = o.ident, o.seq
	}
	b.wire.ProducerID, b.wire.ProducerEpoch, b.wire.FirstSequence = b.ident.id, b.ident.epoch, b.seq
}

// after is the sequence n after seq; sequences go from 2^31-1 to 0.
func after(seq int32, n int) int32 { return int32((int64(seq) + int64(n)) & math.MaxInt32) }

// halves cuts the batch in two.
func (b *batch) halves() (*batch, *batch) {
	b.unbuild()
	x, y := &batch{part: b.part}, &batch{part: b.part}
	for _, s := range b.spans {
		to := min(s.to, s.from+max(b.count/2-x.count, 0))
		if to > s.from {
			x.push(span{s.k, s.from, to})
		}
		if s.to > to {
			y.push(span{s.k, to, s.to})
		}
	}
	return x, y
}

// without takes single records out, given by ascending index, and returns the rest, which may be empty.
func (b *batch) without(bad map[int32]bool) *batch {
	b.unbuild()
	rest := &batch{part: b.part}
	i := int32(0)
	for _, s := range b.spans {
		for at := s.from; at < s.to; at++ {
			if !bad[i] {
				rest.push(span{s.k, at, at + 1})
			}
			i++
		}
	}
	return rest
}

func (b *batch) push(s span) {
	b.spans = append(b.spans, s)
	b.count += s.to - s.from
	b.bytes += s.k.bytes * (s.to - s.from) / max(len(s.k.recs), 1)
}

// produced turns a record back into what was sent, for OnFailure: in memory of its own. The batch must not be built.
func produced(r *sarama.Record) kafka.ProduceRecord {
	out := kafka.ProduceRecord{Key: own(r.Key), Value: own(r.Value), Time: int64(r.TimestampDelta)}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, kafka.Header{Name: string(h.Key), Value: own(h.Value)})
	}
	return out
}

func own(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// millis is the reverse of wireTime.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return t.UnixMilli()
}
