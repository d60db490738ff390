package recordbatch

import (
	"encoding/binary"

	"github.com/millstream-go/millstream/internal/kafka"
)

// Records are records on their way into a batch, one behind the other. Each takes its time, 8
// bytes, and the length of what follows, 4 bytes, both little-endian; then, in the form of the
// wire, all that does not depend on the batch that it will be part of: key, value and headers.
//
// Why not a slice of structs: here there is no pointer for the garbage collector to follow, and
// making a batch of them is one copy.
type Records []byte

// recordPrefix is the time and the length in front of each of the Records.
const recordPrefix = 8 + 4

// What a record and a header take in a batch besides their contents, as upper bounds.
const (
	// Attributes, length, time and offset deltas; lengths of key and value; number of headers.
	recordOverhead = 21 + 5 + 5 + 5
	headerOverhead = 5 + 5
)

// MaxRecordSize returns an upper bound of what r takes in a batch before compression.
func MaxRecordSize(r *kafka.ProduceRecord) int {
	n := len(r.Key) + len(r.Value) + recordOverhead
	for i := range r.Headers {
		n += len(r.Headers[i].Name) + len(r.Headers[i].Value) + headerOverhead
	}
	return n
}

// Append copies r behind rs.
func (rs Records) Append(r *kafka.ProduceRecord) Records {
	at := len(rs)
	b := binary.LittleEndian.AppendUint64(rs, uint64(r.Time))
	b = append(b, 0, 0, 0, 0)
	b = appendNullable(b, r.Key)
	b = appendNullable(b, r.Value)
	b = binary.AppendVarint(b, int64(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		b = append(binary.AppendVarint(b, int64(len(h.Name))), h.Name...)
		b = appendNullable(b, h.Value)
	}
	binary.LittleEndian.PutUint32(b[at+8:], uint32(len(b)-at-recordPrefix))
	return b
}

// appendNullable writes nil as null and an empty field as an empty one: on the wire they differ.
func appendNullable(b, field []byte) []byte {
	if field == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(field))), field...)
}

// MaxSize returns an upper bound of what rs, which are n records, take in a batch before compression.
func (rs Records) MaxSize(n int) int { return len(rs) + n*(recordOverhead-recordPrefix) }

// Split returns the first n records and the others.
func (rs Records) Split(n int) (first, others Records) {
	others = rs
	for range n {
		_, _, others = others.next()
	}
	return rs[:len(rs)-len(others)], others
}

// next splits off the first record.
func (rs Records) next() (time int64, fields, others Records) {
	end := recordPrefix + int(binary.LittleEndian.Uint32(rs[8:]))
	return int64(binary.LittleEndian.Uint64(rs)), rs[recordPrefix:end:end], rs[end:]
}

// First returns the first record as it was appended, in memory of its own.
func (rs Records) First() kafka.ProduceRecord {
	time, fields, _ := rs.next()
	r := recordReader{bytes: append([]byte(nil), fields...), names: headerNames{}}
	rec := kafka.ProduceRecord{Key: r.nullable(), Value: r.nullable(), Time: time}
	if n := r.varint(); n != 0 {
		rec.Headers = r.headers(n)
	}
	return rec
}

// Header is what a batch says besides its records.
type Header struct {
	ProducerID    int64
	ProducerEpoch int16
	Sequence      int32 // of the first record
	Records       int   // how many
	Transactional bool  // the batch belongs to a transaction
}

// An Encoder writes batches. It is owned by one goroutine, and so are the compressors in it, which
// would otherwise outlive their owner in a pool of the process.
type Encoder struct {
	Compression Compression

	compressor   compressor
	uncompressed []byte // the records of the last batch; memory for the next
}

// Append appends a batch of all records of parts, of which there is one at least. The same records
// give the same bytes each time, so that a batch that is sent again is the same to the broker.
func (e *Encoder) Append(to []byte, h Header, parts []Records) ([]byte, error) {
	start := len(to)
	var header [recordsAt]byte
	to = append(to, header[:]...)
	baseTime, latest := int64(binary.LittleEndian.Uint64(parts[0])), int64(0)
	if e.Compression == None {
		to, latest = appendRecords(to, baseTime, parts)
	} else {
		var err error
		e.uncompressed, latest = appendRecords(e.uncompressed[:0], baseTime, parts)
		if to, err = e.compressor.compress(to, e.Compression, e.uncompressed); err != nil {
			return nil, err
		}
	}
	b := to[start:]
	be := binary.BigEndian
	be.PutUint32(b[lengthAt:], uint32(len(b)-lengthCountsFrom))
	be.PutUint32(b[leaderEpochAt:], 0xffffffff) // the broker's to fill in, and so is the base offset
	b[magicAt] = magic
	attributes := uint16(e.Compression)
	if h.Transactional {
		attributes |= attrTransactional
	}
	be.PutUint16(b[attributesAt:], attributes)
	be.PutUint32(b[lastOffsetDeltaAt:], uint32(h.Records-1))
	be.PutUint64(b[baseTimeAt:], uint64(baseTime))
	be.PutUint64(b[maxTimeAt:], uint64(latest))
	be.PutUint64(b[producerIDAt:], uint64(h.ProducerID))
	be.PutUint16(b[producerEpochAt:], uint16(h.ProducerEpoch))
	be.PutUint32(b[sequenceAt:], uint32(h.Sequence))
	be.PutUint32(b[countAt:], uint32(h.Records))
	be.PutUint32(b[checksumAt:], checksum(b)) // over all fields behind it, so last
	return to, nil
}

// appendRecords appends the records in the form of the wire, with times relative to baseTime, and
// returns the latest time.
func appendRecords(to []byte, baseTime int64, parts []Records) (_ []byte, latest int64) {
	latest = baseTime
	n := int64(0)
	for _, rest := range parts {
		for ; len(rest) > 0; n++ {
			var time int64
			var fields Records
			time, fields, rest = rest.next()
			latest = max(latest, time)
			to = binary.AppendVarint(to, int64(1+varintSize(time-baseTime)+varintSize(n)+len(fields)))
			to = append(to, 0) // attributes: there are none
			to = binary.AppendVarint(to, time-baseTime)
			to = binary.AppendVarint(to, n)
			to = append(to, fields...)
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
