package serde

import (
	"encoding/hex"
	"fmt"
)

type uuidSerde struct{}

// UUID is the 36 characters of a UUID's text, as Kafka's UUIDSerializer writes it: lower-case
// hexadecimal in groups of 8, 4, 4, 4 and 12 digits. Decode takes upper case too, but no shorter or
// braced forms. Sixteen raw bytes are what Bytes is for.
var UUID uuidSerde

const uuidLen = 36

// dashes are the places of the dashes in the text; each group of digits ends before one.
var dashes = [...]int{8, 13, 18, 23}

func (uuidSerde) Append(dst []byte, v [16]byte) ([]byte, error) {
	dst = hex.AppendEncode(dst, v[:4])
	for i := 4; i < 10; i += 2 {
		dst = hex.AppendEncode(append(dst, '-'), v[i:i+2])
	}
	return hex.AppendEncode(append(dst, '-'), v[10:]), nil
}

func (uuidSerde) Decode(b []byte) (v [16]byte, err error) {
	if err := checkLen(b, uuidLen, "UUID"); err != nil {
		return v, err
	}
	var digits [32]byte
	filled, from := 0, 0
	for _, dash := range dashes {
		if b[dash] != '-' {
			return v, fmt.Errorf("serde.UUID: no dash at place %d of %q", dash, b)
		}
		filled += copy(digits[filled:], b[from:dash])
		from = dash + 1
	}
	copy(digits[filled:], b[from:])
	if _, err := hex.Decode(v[:], digits[:]); err != nil {
		return [16]byte{}, fmt.Errorf("serde.UUID: %q: %w", b, err)
	}
	return v, nil
}
