package assign

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var errShort = errors.New("ends early")

// reader takes a message apart. The first error stays and all that is read after it is zero, so callers check once.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b) {
		r.fail(errShort)
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many elements follow, each of which takes at least size bytes: a count that promises more than there is must not
// reserve memory for it.
func (r *reader) count(n int64, size int) int {
	if n < 0 || n > int64(len(r.b)/size) {
		r.fail(fmt.Errorf("%d elements do not fit %d bytes", n, len(r.b)))
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
	return string(r.take(int(n)))
}

// bytes reads nullable bytes of Kafka's older formats.
func (r *reader) bytes() []byte {
	n := r.int32()
	if n == -1 {
		return nil
	}
	return r.take(int(n))
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendBytes(b, v []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

// Fields of user data: a version byte, then fields to the end, each a tag, a length and that many bytes. A reader skips tags it does
// not know, so members of different versions understand each other without probing.

const fieldsVersion = 1

func appendField(b []byte, tag uint64, value []byte) []byte {
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

func fields(b []byte, known func(tag uint64, r *reader) error) error {
	r := &reader{b: b}
	if v := r.take(1); r.err == nil && v[0] != fieldsVersion {
		return fmt.Errorf("user data of an unknown version: %d", v[0])
	}
	for r.err == nil && len(r.b) > 0 {
		tag := r.uvarint()
		n := r.uvarint()
		value := r.take(r.count(int64(min(n, 1<<40)), 1))
		if r.err != nil {
			break
		}
		f := &reader{b: value}
		if err := known(tag, f); err != nil {
			return fmt.Errorf("field %d: %w", tag, err)
		}
		if f.err != nil {
			return fmt.Errorf("field %d: %w", tag, f.err)
		}
	}
	return r.err
}
