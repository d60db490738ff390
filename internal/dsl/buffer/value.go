// Package buffer stores records of operators that emit them later, in a key-value store: the
// updates of a suppression, and records of a stream that wait for a table. The row format is that
// of Kafka Streams' buffers, so that either can continue with the changelog of the other. The
// package knows neither Kafka nor graph.
package buffer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/millstream-go/millstream/topology"
)

// Value is a record in a buffer. Its bytes belong to whoever made it. Those of a Value that a
// buffer returned are valid until the next call on the buffer or its store.
type Value struct {
	Prior []byte // the row's value as steps downstream have seen it; nil: none
	Old   []byte // what the newest update replaced; nil: nothing
	New   []byte // nil: deleted
	// Time, Source and Headers are those of the newest update's record.
	Time    int64 // milliseconds
	Source  topology.Source
	Headers topology.Headers
}

// Lengths that stand for something else.
const (
	noBytes     = -1
	sameAsPrior = -2 // Old is Prior
)

var errShort = errors.New("a buffered record ends too early, or is written in a form of Kafka Streams before 2.4")

// Append appends v and the time at which it is due, in the format of Kafka Streams' BufferValue of
// version 3.
func (v *Value) Append(to []byte, due int64) []byte {
	to = binary.BigEndian.AppendUint64(to, uint64(v.Time))
	to = binary.BigEndian.AppendUint64(to, uint64(v.Source.Offset))
	to = append(appendLen(to, len(v.Source.Topic)), v.Source.Topic...)
	to = binary.BigEndian.AppendUint32(to, uint32(v.Source.Partition))
	to = appendLen(to, len(v.Headers))
	for _, h := range v.Headers {
		to = append(appendLen(to, len(h.Name)), h.Name...)
		to = appendBytes(to, h.Value)
	}
	to = appendBytes(to, v.Prior)
	if v.Old != nil && v.oldIsPrior() {
		to = appendLen(to, sameAsPrior)
	} else {
		to = appendBytes(to, v.Old)
	}
	to = appendBytes(to, v.New)
	return binary.BigEndian.AppendUint64(to, uint64(due))
}

// oldIsPrior reports whether Old and Prior are equal, and written once.
func (v *Value) oldIsPrior() bool {
	return (v.Old == nil) == (v.Prior == nil) && bytes.Equal(v.Old, v.Prior)
}

func appendLen(to []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(to, uint32(int32(n)))
}

func appendBytes(to, b []byte) []byte {
	if b == nil {
		return appendLen(to, noBytes)
	}
	return append(appendLen(to, len(b)), b...)
}

// Parse reads what Append wrote. The bytes of v are part of b. Headers are read into the slice that
// v.Headers is, which must not be a record's.
func (v *Value) Parse(b []byte) (due int64, err error) {
	r := reader{b: b}
	v.Time = r.long()
	v.Source.Offset = r.long()
	// Most buffers hold records of one topic: its name is kept.
	if topic := r.bytes(r.length()); v.Source.Topic != string(topic) {
		v.Source.Topic = string(topic)
	}
	v.Source.Partition = int32(r.length())
	r.headers(v)
	v.Prior = r.bytes(r.length())
	if n := r.length(); n == sameAsPrior {
		v.Old = v.Prior
	} else {
		v.Old = r.bytes(n)
	}
	v.New = r.bytes(r.length())
	due = r.long()
	if r.short || len(r.b) > 0 {
		return 0, errShort
	}
	return due, nil
}

func (r *reader) headers(buffered *Value) {
	buffered.Headers = buffered.Headers[:0]
	for n := r.length(); n > 0 && !r.short; n-- {
		name := r.bytes(r.length())
		buffered.Headers = append(buffered.Headers, topology.Header{Name: string(name), Value: r.bytes(r.length())})
	}
	if len(buffered.Headers) == 0 {
		buffered.Headers = nil
	}
}

// reader reads big-endian numbers until there are no more bytes.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) next(n int) []byte {
	if n > len(r.b) {
		r.short, r.b = true, nil
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) long() int64 {
	if b := r.next(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *reader) length() int {
	if b := r.next(4); b != nil {
		return int(int32(binary.BigEndian.Uint32(b)))
	}
	return noBytes
}

// bytes returns the next n bytes: empty ones when n is 0, nil when n is negative.
func (r *reader) bytes(n int) []byte {
	if n < 0 {
		return nil
	}
	return r.next(n)
}

// Size returns what v counts for in a bounded buffer, as Kafka Streams estimates it.
func (v *Value) Size() int64 {
	n := len(v.Prior) + len(v.New) + 8 + 8 + 4 + javaLength(v.Source.Topic)
	if !v.oldIsPrior() {
		n += len(v.Old)
	}
	for _, h := range v.Headers {
		n += javaLength(h.Name) + len(h.Value)
	}
	return int64(n)
}

// javaLength returns the length that Java reports for a string.
func javaLength(s string) (n int) {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return len(utf16.Encode([]rune(s)))
		}
	}
	return len(s)
}

// Copy returns v in memory of its own.
func (v *Value) Copy() Value {
	out := *v
	out.Prior, out.Old, out.New = bytes.Clone(v.Prior), bytes.Clone(v.Old), bytes.Clone(v.New)
	out.Headers = CopyHeaders(v.Headers)
	return out
}

// CopyHeaders returns headers with values in memory of their own.
func CopyHeaders(headers topology.Headers) topology.Headers {
	if len(headers) == 0 {
		return nil
	}
	out := make(topology.Headers, len(headers))
	for i, header := range headers {
		out[i] = topology.Header{Name: header.Name, Value: bytes.Clone(header.Value)}
	}
	return out
}
