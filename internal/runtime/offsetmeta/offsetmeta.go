// Package offsetmeta encodes the metadata string of a committed offset: the stream time of the
// partition and the times of operators. So lateness survives a restart or a move. The format is
// that of Kafka Streams, so that a Go and a Java program can take over from each other.
//
// The format is base64 (standard alphabet, padded) of
//
//	version  int8   2
//	time     int64  of the partition, -1 when unknown
//	count    int32  of entries; absent, like all that follows, when there is none
//	entries  int32 length, name in UTF-8, int64 value
//
// with integers in network order. Version 1 ends after the time. Entries are the times of
// operators, and one is the Program.
package offsetmeta

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// MaxSize is how many bytes a metadata string may have (offset.metadata.max.bytes) unless brokers
// are configured otherwise.
const MaxSize = 4096

// Unknown is the time of a partition of which no record was seen.
const Unknown int64 = -1

const (
	version1   = 1
	version2   = 2
	headerSize = 1 + 8

	entryOverhead = 4 + 8 // of an entry beside its name
)

// ErrTooLarge is returned when the entries do not fit what a broker stores with an offset.
var ErrTooLarge = errors.New("offset metadata larger than a broker accepts")

// OperatorKey returns the name of the entry with the time of the operator at a node. Java names its
// entries after stores, whose names have no "@": the two never have the same name.
func OperatorKey(node string) string { return "@" + node }

// ExpiredKey returns the name of the entry that says how much of a store's changelog has expired:
// the offset before which its records are deleted. Names of stores have no "%".
func ExpiredKey(store string) string { return "%" + store }

// NextKey returns the name of the entry with the offset up to which a store's changelog will expire
// next, and UntilKey that of the entry with the time at which it does.
func NextKey(store string) string { return ExpiredKey(store) + "/next" }

// UntilKey is described at NextKey.
func UntilKey(store string) string { return ExpiredKey(store) + "/until" }

// ObservedKey returns the name of the entry with the time up to which a store has observed rows: those of its window,
// session or versioned store expire by it.
func ObservedKey(store string) string { return ExpiredKey(store) + "/observed" }

// PositionKey is the name of the entry with the offset that the other entries were committed with. Kafka Streams
// returns entries as they are, with offsets of its own: they say nothing of what it has done since.
const PositionKey = "%/position"

// Encode returns the metadata string. Entries are written in the order of their names, so equal
// contents give equal strings.
func Encode(partitionTime int64, operators map[string]int64) string {
	size := headerSize
	if len(operators) > 0 {
		size += 4
	}
	for name := range operators {
		size += entryOverhead + len(name)
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

// Decode decodes a metadata string. An empty one, which is what other clients commit, gives Unknown
// and no operators. So does one that cannot be decoded, with an error that says why. The offset
// beside it is good all the same, so callers report the error and go on. A string of version 2 that
// ends early gives what is before the damage.
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
	if len(b) < headerSize {
		return Unknown, nil, errors.New("offset metadata ends within the partition's time")
	}
	partitionTime = int64(binary.BigEndian.Uint64(b[1:]))
	if b[0] == version1 || len(b) == headerSize {
		return partitionTime, nil, nil
	}
	operators, err = decodeEntries(b[headerSize:])
	return partitionTime, operators, err
}

func decodeEntries(b []byte) (map[string]int64, error) {
	if len(b) < 4 {
		return nil, errors.New("offset metadata ends within the count of operators")
	}
	count := int32(binary.BigEndian.Uint32(b))
	b = b[4:]
	// An entry takes 12 bytes at least. A count that promises more entries than there is room for must
	// not make us allocate memory for them.
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

// SetProgram returns the metadata string with another entry for the program; an empty entry removes
// it. changed reports whether the string is another one. What cannot be decoded of the old string
// is dropped.
func SetProgram(metadata, entry string) (out string, changed bool) {
	partitionTime, operators, _ := Decode(metadata)
	next := map[string]int64{}
	for name, value := range operators {
		if !strings.HasPrefix(name, programPrefix) {
			next[name] = value
		}
	}
	if entry != "" {
		next[entry] = 0
	}
	if maps.Equal(operators, next) {
		return metadata, false
	}
	return Encode(partitionTime, next), true
}

// NameRoom returns how many bytes the name of one more entry may have in a metadata string of limit
// bytes, beside the times of operators with these names. A negative result means that these do not
// fit themselves.
func NameRoom(operators []string, limit int) int {
	room := limit/4*3 - headerSize - 4
	for _, name := range operators {
		room -= entryOverhead + len(name)
	}
	return room - entryOverhead
}

// Check returns ErrTooLarge when the times of operators with these names and the program do not fit
// limit bytes.
func Check(operators []string, p Program, limit int) error {
	room := NameRoom(operators, limit)
	if p.Known() {
		_, err := p.Entry(room)
		return err
	}
	if len(operators) > 0 && room+entryOverhead < 0 {
		return fmt.Errorf("%w: the times of %d operators take %d bytes too many", ErrTooLarge, len(operators),
			-room-entryOverhead)
	}
	return nil
}
