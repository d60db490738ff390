package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// The bytes of checkpoints and rows are described in docs/format/store.md.
const (
	checkpointVersion = 1
	checkpointOfMany  = 2 // with the offsets of several partitions
	checkpointSize    = 1 + 16 + 8 + 8 + 4
	timeSize          = 8
)

// ErrVersion is wrapped by the errors of files that a later version of this module has written. Such
// files are left as they are.
var ErrVersion = errors.New("unknown version of a store file")

// AppendCheckpoint appends the encoded checkpoint to b.
func AppendCheckpoint(b []byte, c Checkpoint) []byte {
	start := len(b)
	if c.Offsets == nil {
		b = append(b, checkpointVersion)
	} else {
		b = append(b, checkpointOfMany)
	}
	b = append(b, c.TopicID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Offset))
	b = binary.BigEndian.AppendUint64(b, uint64(c.Time.UnixMilli()))
	for _, o := range c.Offsets {
		b = binary.BigEndian.AppendUint64(b, uint64(o))
	}
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
}

// DecodeCheckpoint is the inverse of AppendCheckpoint. Times have whole milliseconds, in UTC.
func DecodeCheckpoint(b []byte) (Checkpoint, error) {
	if len(b) > 0 && b[0] != checkpointVersion && b[0] != checkpointOfMany {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w: %d", ErrVersion, b[0])
	}
	if more := len(b) - checkpointSize; more < 0 || more%8 != 0 || more > 0 && b[0] == checkpointVersion {
		return Checkpoint{}, fmt.Errorf("%w: checkpoint of %d bytes", ErrDamaged, len(b))
	}
	body := b[:len(b)-4]
	if crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(b[len(body):]) {
		return Checkpoint{}, fmt.Errorf("%w: checksum of the checkpoint", ErrDamaged)
	}
	c := Checkpoint{
		Offset: int64(binary.BigEndian.Uint64(b[17:])),
		Time:   time.UnixMilli(int64(binary.BigEndian.Uint64(b[25:]))).UTC(),
	}
	copy(c.TopicID[:], b[1:17])
	if b[0] == checkpointOfMany {
		c.Offsets = []int64{}
		for rest := body[checkpointSize-4:]; len(rest) > 0; rest = rest[8:] {
			c.Offsets = append(c.Offsets, int64(binary.BigEndian.Uint64(rest)))
		}
	}
	return c, nil
}

// DecodeRow decodes a row as files have it: eight bytes of time, then the value.
func DecodeRow(stored []byte) (value []byte, ms int64, err error) {
	if len(stored) < timeSize {
		return nil, 0, fmt.Errorf("%w: row of %d bytes", ErrDamaged, len(stored))
	}
	if ms = int64(binary.BigEndian.Uint64(stored)); ms < -1 {
		return nil, 0, fmt.Errorf("%w: row with time %d", ErrDamaged, ms)
	}
	return stored[timeSize:len(stored):len(stored)], ms, nil
}
