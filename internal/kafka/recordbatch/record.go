package recordbatch

import (
	"encoding/binary"

	"github.com/millstream-go/millstream/internal/kafka"
)

// recordReader reads the records of a batch, whose numbers are all zigzag varints. Keys, values and
// header values alias bytes. Once it has met what is no record it is malformed and yields zeros.
type recordReader struct {
	bytes     []byte
	malformed bool
	names     headerNames

	baseOffset int64
	minOffset  int64 // records below are left out
	baseTime   int64 // of the batch's first record, or of all when fixedTime
	fixedTime  bool

	// budget is what the records may take besides their bytes, where that is bounded.
	budget              int
	bounded, overBudget bool
}

// spend counts memory against the budget.
func (r *recordReader) spend(n int) {
	if r.budget -= n; r.bounded && r.budget < 0 {
		r.overBudget, r.malformed = true, true
	}
}

// read appends n records to out.
func (r *recordReader) read(out []kafka.Record, n int) []kafka.Record {
	for ; n > 0; n-- {
		// In its place, where it stays unless it is left out.
		out = append(out, kafka.Record{})
		rec := &out[len(out)-1]
		ok := r.record(rec)
		if ok && rec.Offset >= r.minOffset {
			if r.spend(recordMemory); !r.overBudget {
				continue
			}
		}
		*rec, out = kafka.Record{}, out[:len(out)-1]
		if !ok || r.overBudget {
			return out
		}
	}
	return out
}

// record reads a record into rec, which is empty.
func (r *recordReader) record(rec *kafka.Record) (ok bool) {
	size := r.varint()
	if r.malformed || size < minRecordBytes-1 || size > int64(len(r.bytes)) {
		r.malformed = true
		return false
	}
	// The fields are read within the record's own bytes: one that claims to be longer must not reach
	// into the next record. The first byte is the attributes, of which Kafka has none yet; what a
	// later version appends to a record is passed over.
	rest := r.bytes[size:]
	r.bytes = r.bytes[1:size:size]
	rec.Time = r.varint()
	if r.fixedTime {
		rec.Time = r.baseTime
	} else {
		rec.Time += r.baseTime
	}
	rec.Offset = r.baseOffset + r.varint()
	rec.Key = r.nullable()
	rec.Value = r.nullable()
	if n := r.varint(); n != 0 {
		rec.Headers = r.headers(n)
	}
	r.bytes = rest
	return !r.malformed
}

// headers reads n headers; each takes two bytes at least, so that a false number is no reason to
// take memory.
func (r *recordReader) headers(n int64) []kafka.Header {
	if n < 0 || n > int64(len(r.bytes)/2) {
		r.malformed = true
		return nil
	}
	if r.spend(int(n) * headerMemory); r.overBudget {
		return nil
	}
	hs := make([]kafka.Header, n)
	for i := range hs {
		hs[i] = kafka.Header{Name: r.names.intern(r.nullable()), Value: r.nullable()}
	}
	return hs
}

// nullable reads a field: nil for null, not nil for empty.
func (r *recordReader) nullable() []byte {
	n := r.varint()
	if n < 0 || r.malformed {
		return nil
	}
	if n > int64(len(r.bytes)) {
		r.malformed = true
		return nil
	}
	v := r.bytes[:n:n]
	r.bytes = r.bytes[n:]
	return v
}

func (r *recordReader) varint() int64 {
	if len(r.bytes) > 0 && r.bytes[0] < 0x80 { // most are of one byte
		u := r.bytes[0]
		r.bytes = r.bytes[1:]
		return int64(u>>1) ^ -int64(u&1)
	}
	v, n := binary.Varint(r.bytes)
	if n <= 0 {
		r.malformed, r.bytes = true, nil
		return 0
	}
	r.bytes = r.bytes[n:]
	return v
}

// headerNames are the names of headers seen before: there are few, and a string for each header of
// each record would cost an allocation.
type headerNames map[string]string

// maxHeaderNames bounds the table: a producer may put data into names, which would all stay in
// memory. Further names cost an allocation each.
const maxHeaderNames = 1000

func (names headerNames) intern(b []byte) string {
	if s, ok := names[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(names) < maxHeaderNames {
		names[s] = s
	}
	return s
}
