package main

import (
	"encoding/binary"
	"fmt"
)

// Everything that is loaded can be computed from its number, so that whoever verifies needs no copy of it.

const valueSize = 100

// mix is splitmix64: numbers that look random.
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// unmix is the inverse of mix.
func unmix(n uint64) uint64 {
	n = (n ^ n>>31 ^ n>>62) * 0x319642b2d24d8ec3
	n = (n ^ n>>27 ^ n>>54) * 0x96de1b173f119089
	n = n ^ n>>30 ^ n>>60
	return n - 0x9e3779b97f4a7c15
}

// keyOf returns the key of record n, uniform over [0, keys).
func keyOf(n, keys int64) int64 { return int64(mix(uint64(n)) % uint64(keys)) }

// scattered returns the key of row n: every key once, in no order.
func scattered(n, keys int64) int64 { return n * 2_654_435_761 % keys }

func appendKey(b []byte, key int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(key)) }

// appendValue appends 100 bytes that begin with n.
func appendValue(b []byte, n int64) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(n))
	x := uint64(n)
	for range (valueSize - 8) / 8 {
		x = mix(x)
		b = binary.BigEndian.AppendUint64(b, x)
	}
	return binary.BigEndian.AppendUint32(b, uint32(x))
}

// row is a value of the table: a type without pointers, since what a user's serde allocates is not ours.
type row struct {
	ID   int64
	Rest [valueSize - 8]byte
}

func appendRow(b []byte, r row) ([]byte, error) {
	return append(binary.BigEndian.AppendUint64(b, uint64(r.ID)), r.Rest[:]...), nil
}

func decodeRow(b []byte) (r row, err error) {
	if len(b) != valueSize {
		return r, fmt.Errorf("a row of %d bytes", len(b))
	}
	r.ID = int64(binary.BigEndian.Uint64(b))
	copy(r.Rest[:], b[8:])
	return r, nil
}

// enriched is what the join makes: the record's value, its last 8 bytes replaced by the row's number.
type enriched struct {
	Value []byte
	Row   int64
	OK    bool
}

func appendEnriched(b []byte, e enriched) ([]byte, error) {
	id := e.Row
	if !e.OK {
		id = -1
	}
	return binary.BigEndian.AppendUint64(append(b, e.Value[:valueSize-8]...), uint64(id)), nil
}

func decodeEnriched([]byte) (enriched, error) { return enriched{}, fmt.Errorf("nobody reads this") }
