package assign

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var errTruncated = errors.New("ends early")

// reader decodes a message. After the first error everything that is read is zero, so callers check
// once.
type reader struct {
	buf []byte
	err error
}

func (r *reader) next(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.buf) {
		r.fail(errTruncated)
		return nil
	}
	out := r.buf[:n:n]
	r.buf = r.buf[n:]
	return out
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.buf = nil
}

func (r *reader) int16() int16 {
	if b := r.next(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) int32() int32 {
	if b := r.next(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.buf)
	if n <= 0 {
		r.fail(errTruncated)
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

// count checks a number of elements, each of which takes at least size bytes. A message that
// promises more elements than it has bytes for must not make the reader allocate memory for them.
func (r *reader) count(n int64, size int) int {
	if n < 0 || n > int64(len(r.buf)/size) {
		r.fail(fmt.Errorf("%d elements do not fit %d bytes", n, len(r.buf)))
		return 0
	}
	return int(n)
}

// string reads a string of Kafka's older formats; null reads as empty.
func (r *reader) string() string {
	n := r.int16()
	if n == -1 {
		return ""
	}
	return string(r.next(int(n)))
}

// bytes reads nullable bytes of Kafka's older formats.
func (r *reader) bytes() []byte {
	n := r.int32()
	if n == -1 {
		return nil
	}
	return r.next(int(n))
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendBytes(b, v []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

// User data has a version byte, and then fields to the end: each a tag, a length and that many
// bytes. A reader skips tags that it does not know, so members of different versions understand
// each other.

const fieldsVersion = 1

func appendField(b []byte, tag uint64, value []byte) []byte {
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// decodeFields calls decode for each field.
func decodeFields(b []byte, decode func(tag uint64, r *reader) error) error {
	r := &reader{buf: b}
	// An unknown version is an error, unlike an unknown tag: it may mean that what follows are no
	// fields.
	if v := r.next(1); r.err == nil && v[0] != fieldsVersion {
		return fmt.Errorf("user data of an unknown version: %d", v[0])
	}
	for r.err == nil && len(r.buf) > 0 {
		tag := r.uvarint()
		n := r.uvarint()
		value := r.next(r.count(int64(min(n, 1<<40)), 1))
		if r.err != nil {
			break
		}
		field := &reader{buf: value}
		if err := decode(tag, field); err != nil {
			return fmt.Errorf("field %d: %w", tag, err)
		}
		if field.err != nil {
			return fmt.Errorf("field %d: %w", tag, field.err)
		}
	}
	return r.err
}
