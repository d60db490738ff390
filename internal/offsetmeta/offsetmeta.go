// Package offsetmeta is the metadata string that travels with a committed offset: the partition's time and the times that
// operators keep for themselves, in the format of Kafka Streams, so that a Go and a Java program can take over from each other
// and lateness survives a restart or a move.
//
// The format is base64 (standard alphabet, padded) of
//
//	version  int8   2
//	time     int64  of the partition, -1 when unknown
//	count    int32  of entries; absent, like all that follows, when there is none
//	entries  int32 length, name in UTF-8, int64 value
//
// with integers in network order. Version 1 ends after the time.
package offsetmeta

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// MaxSize is how many bytes brokers keep of a metadata string (offset.metadata.max.bytes) unless configured otherwise.
const MaxSize = 4096

// Unknown is the time of a partition of which no record was seen.
const Unknown int64 = -1

const (
	version1 = 1
	version2 = 2
	header   = 1 + 8
)

// ErrTooLarge says that operator times do not fit what a broker keeps with an offset.
var ErrTooLarge = errors.New("offset metadata larger than a broker keeps")

// OperatorKey is the name under which the time of the operator at a node travels. Java names its entries after stores, in whose
// names "@" is not allowed: the two never meet.
func OperatorKey(node string) string { return "@" + node }

// Encode returns the metadata string. Entries are written in the order of their names, so equal contents give equal strings.
func Encode(partitionTime int64, operators map[string]int64) string {
	size := header
	if len(operators) > 0 {
		size += 4
	}
	for name := range operators {
		size += 4 + len(name) + 8
	}
	b := make([]byte, 0, size)
	b = append(b, version2)
	b = binary.BigEndian.AppendUint64(b, uint64(partitionTime))
	if len(operators) > 0 {
		b = binary.BigEndian.AppendUint32(b, uint32(len(operators)))
		for _, name := range slices.Sorted(maps.Keys(operators)) {
			b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
			b = append(b, name...)
			b = binary.BigEndian.AppendUint64(b, uint64(operators[name]))
		}
	}
	return base64.StdEncoding.EncodeToString(b)
}

// Decode reads a metadata string. An empty one, which is what other clients commit, gives Unknown and no operators, and so does
// one that cannot be read, with an error that says why: the offset beside it is good all the same, so callers report the error
// and go on. A version 2 string that ends early gives what stands before the damage.
func Decode(s string) (partitionTime int64, operators map[string]int64, err error) {
	if s == "" {
		return Unknown, nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return Unknown, nil, fmt.Errorf("offset metadata is not base64: %w", err)
	}
	if len(b) == 0 || (b[0] != version1 && b[0] != version2) {
		return Unknown, nil, fmt.Errorf("offset metadata of an unknown version: % x", b[:min(len(b), 1)])
	}
	if len(b) < header {
		return Unknown, nil, errors.New("offset metadata ends within the partition's time")
	}
	partitionTime = int64(binary.BigEndian.Uint64(b[1:]))
	if b[0] == version1 || len(b) == header {
		return partitionTime, nil, nil
	}
	operators, err = entries(b[header:])
	return partitionTime, operators, err
}

func entries(b []byte) (map[string]int64, error) {
	if len(b) < 4 {
		return nil, errors.New("offset metadata ends within the count of operators")
	}
	count := int32(binary.BigEndian.Uint32(b))
	b = b[4:]
	// An entry takes 12 bytes at least: a count that promises more than there is must not reserve memory for it.
	out := make(map[string]int64, min(max(int(count), 0), len(b)/12))
	for i := range count {
		if len(b) < 4 {
			return out, fmt.Errorf("offset metadata ends at operator %d of %d", i+1, count)
		}
		n := int64(int32(binary.BigEndian.Uint32(b)))
		b = b[4:]
		if n < 0 || int64(len(b)) < n+8 {
			return out, fmt.Errorf("offset metadata ends at operator %d of %d", i+1, count)
		}
		out[string(b[:n])] = int64(binary.BigEndian.Uint64(b[n:]))
		b = b[n+8:]
	}
	return out, nil
}

// Check returns ErrTooLarge when the times of operators with these names do not fit limit bytes; MaxSize is what brokers allow
// by default.
func Check(operators []string, limit int) error {
	size := header
	if len(operators) > 0 {
		size += 4
	}
	for _, name := range operators {
		size += 4 + len(name) + 8
	}
	if n := base64.StdEncoding.EncodedLen(size); n > limit {
		return fmt.Errorf("%w: the times of %d operators take %d bytes, %d are allowed", ErrTooLarge, len(operators), n, limit)
	}
	return nil
}
