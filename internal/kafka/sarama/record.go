package sarama

import (
	"encoding/binary"

	"github.com/millstream-go/millstream/internal/kafka"
)

// recordReader reads the records of a batch; all varints are zigzag. Keys, values and header values alias b.
type recordReader struct {
	b     []byte
	bad   bool
	names names

	first int64 // offset of the batch
	from  int64 // records before this one are left out: a batch is never cut by the broker
	time  int64 // of the batch's first record, or of all when fixed
	fixed bool
}

// read appends n records to out.
func (r *recordReader) read(out []kafka.Record, n int) []kafka.Record {
	for ; n > 0; n-- {
		rec, ok := r.record()
		if !ok {
			return out
		}
		if rec.Offset >= r.from {
			out = append(out, rec)
		}
	}
	return out
}

func (r *recordReader) record() (rec kafka.Record, ok bool) {
	size := r.varint()
	if r.bad || size < leastRecord-1 || size > int64(len(r.b)) {
		r.bad = true
		return rec, false
	}
	rest := r.b[size:]
	r.b = r.b[1:size:size] // without the attributes, of which there are none
	rec.Time = r.varint()
	if r.fixed {
		rec.Time = r.time
	} else {
		rec.Time += r.time
	}
	rec.Offset = r.first + r.varint()
	rec.Key = r.bytes()
	rec.Value = r.bytes()
	if n := r.varint(); n != 0 {
		rec.Headers = r.headers(n)
	}
	r.b = rest
	return rec, !r.bad
}

// headers reads n headers; each takes two bytes at least.
func (r *recordReader) headers(n int64) []kafka.Header {
	if n < 0 || n > int64(len(r.b)/2) {
		r.bad = true
		return nil
	}
	hs := make([]kafka.Header, n)
	for i := range hs {
		hs[i] = kafka.Header{Name: r.names.of(r.bytes()), Value: r.bytes()}
	}
	return hs
}

// bytes reads a field: nil for null, not nil for empty.
func (r *recordReader) bytes() []byte {
	n := r.varint()
	if n < 0 || r.bad {
		return nil
	}
	if n > int64(len(r.b)) {
		r.bad = true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *recordReader) varint() int64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		u := r.b[0]
		r.b = r.b[1:]
		return int64(u>>1) ^ -int64(u&1)
	}
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// names are header names seen before: there are few, and a string for each header of each record would cost an allocation.
type names map[string]string

// maxNames bounds the table; who puts data into names pays for it.
const maxNames = 1000

func (n names) of(b []byte) string {
	if s, ok := n[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(n) < maxNames {
		n[s] = s
	}
	return s
}
