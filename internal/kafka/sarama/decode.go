package sarama

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/IBM/sarama"

	"github.com/millstream-go/millstream/internal/kafka"
)

// Where the fields of a record batch are, in the format of Kafka since 0.11.
const (
	atLength   = 8
	afterLen   = 12
	atMagic    = 16
	atCRC      = 17
	atAttrs    = 21
	atDelta    = 23
	atFirst    = 27
	atMaxTime  = 35
	atProducer = 43
	atEpoch    = 51
	atSequence = 53
	atCount    = 57
	atRecords  = 61

	attrCodec    = 0x07
	attrAppended = 0x08
	attrTxn      = 0x10
	attrControl  = 0x20

	leastRecord = 7 // length, attributes, two deltas, two lengths, number of headers
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errCorrupt = errors.New("corrupt batch")
	errFormat  = errors.New("the message format of Kafka before 0.11 is not supported")
)

// decoder turns what a response holds of one partition into a batch: control records and, for a read_committed reader, the
// records of aborted transactions are left out, and the position passes over them.
type decoder struct {
	committed bool
	pos       int64
	partial   bool // the response ended inside a batch
	inflate   *inflater
	names     names

	aborted []abortedTxn   // by first offset
	active  map[int64]bool // producers whose transaction at this point is an aborted one
}

// recordBytes is what a kafka.Record takes besides its bytes.
const recordBytes = 96

// decode returns what can be decoded; with an error that is what comes before the corrupt batch.
func (d *decoder) decode(f *fetched) (*kafka.Batch, error) {
	out := &kafka.Batch{Next: d.pos, HighWatermark: f.high, LastStable: f.stable, LogStart: f.start}
	if d.committed {
		d.aborted = f.aborted
		slices.SortFunc(d.aborted, func(x, y abortedTxn) int { return cmp.Compare(x.first, y.first) })
	}
	if n := count(f.records); n > 0 {
		out.Records = make([]kafka.Record, 0, n)
	}
	for b := f.records; len(b) > 0; {
		size := batchSize(b)
		if size > len(b) {
			d.partial = true
			break
		}
		if size < atRecords || b[atMagic] != 2 {
			return out, d.strange(b, size)
		}
		if err := d.batch(out, b[:size:size]); err != nil {
			return out, err
		}
		b = b[size:]
	}
	out.Bytes += len(out.Records) * recordBytes
	return out, nil
}

func (d *decoder) strange(b []byte, size int) error {
	if size > atMagic && b[atMagic] < 2 {
		return fmt.Errorf("offset %d: %w", d.pos, errFormat)
	}
	return errCorrupt
}

// batchSize returns how long the batch at the start of b is, which may be more than there is of it.
func batchSize(b []byte) int {
	if len(b) < afterLen {
		return len(b) + 1
	}
	return afterLen + int(binary.BigEndian.Uint32(b[atLength:]))
}

// count returns how many records b says that it holds, as far as that is possible.
func count(b []byte) int {
	n := 0
	for len(b) >= atRecords && batchSize(b) <= len(b) && batchSize(b) >= atRecords {
		if b[atAttrs+1]&attrControl == 0 {
			n += int(min(binary.BigEndian.Uint32(b[atCount:]), 1<<20))
		}
		b = b[batchSize(b):]
	}
	return min(n, 1<<20)
}

// batch appends the records of one record batch that the reader is to see.
func (d *decoder) batch(out *kafka.Batch, b []byte) error {
	if crc32.Checksum(b[atAttrs:], castagnoli) != binary.BigEndian.Uint32(b[atCRC:]) {
		return fmt.Errorf("%w: the checksum is wrong", errCorrupt)
	}
	first := int64(binary.BigEndian.Uint64(b))
	last := first + int64(binary.BigEndian.Uint32(b[atDelta:]))
	attrs := b[atAttrs+1]
	producer := int64(binary.BigEndian.Uint64(b[atProducer:]))
	d.enter(last)
	void := attrs&attrTxn != 0 && attrs&attrControl == 0 && d.active[producer]
	if last < d.pos || void {
		out.Next = max(out.Next, last+1)
		return nil
	}
	records, err := d.inflate.inflate(sarama.CompressionCodec(attrs&attrCodec), b[atRecords:])
	if err != nil {
		return fmt.Errorf("%w: %w", errCorrupt, err)
	}
	r := recordReader{b: records, names: d.names, first: first, from: d.pos, time: int64(binary.BigEndian.Uint64(b[atFirst:]))}
	if attrs&attrAppended != 0 {
		r.time, r.fixed = int64(binary.BigEndian.Uint64(b[atMaxTime:])), true
	}
	n := int(int32(binary.BigEndian.Uint32(b[atCount:])))
	if attrs&attrControl != 0 {
		d.marker(&r, producer)
	} else if out.Records = r.read(out.Records, n); r.bad {
		return fmt.Errorf("%w: a record ends beyond it", errCorrupt)
	}
	out.Bytes += len(records)
	out.Next = last + 1
	return nil
}

// enter activates the aborted transactions that have begun by offset.
func (d *decoder) enter(offset int64) {
	for len(d.aborted) > 0 && d.aborted[0].first <= offset {
		if d.active == nil {
			d.active = map[int64]bool{}
		}
		d.active[d.aborted[0].producer] = true
		d.aborted = d.aborted[1:]
	}
}

// marker ends the producer's transaction. The key of a control record is its version and its kind, two bytes each; 0 is abort.
func (d *decoder) marker(r *recordReader, producer int64) {
	if rec, ok := r.record(); ok && len(rec.Key) >= 4 && binary.BigEndian.Uint16(rec.Key[2:]) == 0 {
		delete(d.active, producer)
	}
}

// limit is the end of what the reader may see.
func (d *decoder) limit(f *fetched) int64 {
	if d.committed {
		return f.stable
	}
	return f.high
}
