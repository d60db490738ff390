package sarama

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/IBM/sarama"
)

// identity is a producer id with its epoch. Each partition has its own: the broker checks sequences per id and partition, so a
// partition that has to begin anew takes a fresh id and leaves the retries of the others alone.
type identity struct {
	id    int64
	epoch int16
}

// batch is a run of records under way as one record batch. The dispatcher's; while it is under way the sender reads it.
type batch struct {
	part  *outPart
	spans []span
	bytes int // upper bound on the wire, uncompressed
	count int

	ident *identity
	seq   int32
	// maybe says that an attempt may have been appended without our knowing: the batch must be sent again as it is, or given up
	// together with its sequence (invariant 4).
	maybe bool
}

// stamp gives the batch its place in the sequence. A batch that may have been appended keeps what it has (keeps 4).
func (b *batch) stamp(o *lane) {
	if !b.maybe {
		b.ident, b.seq = o.ident, o.seq
	}
}

func (b *batch) push(s span) {
	b.spans = append(b.spans, s)
	b.count += s.count()
	b.bytes += s.size()
}

// appendTo appends the record batch in the format of Kafka since 0.11. The same batch gives the same bytes each time.
func (b *batch) appendTo(to []byte, codec sarama.CompressionCodec, d *deflater) ([]byte, error) {
	start := len(to)
	var head [atRecords]byte
	to = append(to, head[:]...)
	first, latest := int64(binary.LittleEndian.Uint64(b.spans[0].bytes())), int64(0)
	var err error
	if codec == sarama.CompressionNone {
		to, latest = b.appendRecords(to, first)
	} else {
		d.plain, latest = b.appendRecords(d.plain[:0], first)
		if to, err = d.deflate(to, codec, d.plain); err != nil {
			return nil, err
		}
	}
	h := to[start:]
	be := binary.BigEndian
	be.PutUint32(h[atLength:], uint32(len(h)-afterLen))
	be.PutUint32(h[afterLen:], 0xffffffff) // the leader's epoch is the broker's to say
	h[atMagic] = 2
	be.PutUint16(h[atAttrs:], uint16(codec))
	be.PutUint32(h[atDelta:], uint32(b.count-1))
	be.PutUint64(h[atFirst:], uint64(first))
	be.PutUint64(h[atMaxTime:], uint64(latest))
	be.PutUint64(h[atProducer:], uint64(b.ident.id))
	be.PutUint16(h[atEpoch:], uint16(b.ident.epoch))
	be.PutUint32(h[atSequence:], uint32(b.seq))
	be.PutUint32(h[atCount:], uint32(b.count))
	be.PutUint32(h[atCRC:], crc32.Checksum(h[atAttrs:], castagnoli))
	return to, nil
}

// appendRecords appends the records, with times relative to first, and returns the latest time.
func (b *batch) appendRecords(to []byte, first int64) (_ []byte, latest int64) {
	latest = first
	n := int64(0)
	for _, s := range b.spans {
		for rest := s.bytes(); len(rest) > 0; n++ {
			var time int64
			var tail []byte
			time, tail, rest = next(rest)
			latest = max(latest, time)
			to = binary.AppendVarint(to, int64(1+varintSize(time-first)+varintSize(n)+len(tail)))
			to = append(to, 0) // attributes: there are none
			to = binary.AppendVarint(to, time-first)
			to = binary.AppendVarint(to, n)
			to = append(to, tail...)
		}
	}
	return to, latest
}

// varintSize is the length of a zigzag varint.
func varintSize(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	n := 1
	for ; u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

// halves cuts the batch in two.
func (b *batch) halves() (*batch, *batch) {
	x, y := &batch{part: b.part}, &batch{part: b.part}
	for _, s := range b.spans {
		before, after := s.split(min(max(b.count/2-x.count, 0), s.count()))
		if before.count() > 0 {
			x.push(before)
		}
		if after.count() > 0 {
			y.push(after)
		}
	}
	return x, y
}

// each calls f with the records one by one.
func (b *batch) each(f func(one span)) {
	for _, s := range b.spans {
		for s.count() > 0 {
			var one span
			one, s = s.split(1)
			f(one)
		}
	}
}

// without takes single records out, given by ascending index, and returns the rest, which may be empty.
func (b *batch) without(bad map[int32]bool) *batch {
	rest := &batch{part: b.part}
	i := int32(0)
	b.each(func(one span) {
		if !bad[i] {
			rest.push(one)
		}
		i++
	})
	return rest
}
