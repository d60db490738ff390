package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/millstream-go/millstream/store"
)

// What a file holds is described in docs/format/store.md.
const (
	fileVersion       = 1
	checkpointVersion = 1
	checkpointOfMany  = 2 // with the offsets of several partitions
	checkpointSize    = 1 + 16 + 8 + 8 + 4
	rowPrefix         = 'r' // in front of every key: bbolt has no empty keys, Kafka has
	timeSize          = 8
)

var (
	rowsBucket    = []byte("rows")
	metaBucket    = []byte("meta")
	versionKey    = []byte("version")
	checkpointKey = []byte("checkpoint")
)

// ErrVersion is returned by Open for a file that a later version of this package has written. The file is left as it is.
var ErrVersion = errors.New("unknown version of a store file")

// errCorrupt marks a file whose content cannot be right; it is moved aside at the next Open.
var errCorrupt = errors.New("store file is corrupt")

// appendKey appends the key as the file has it.
func appendKey(b, key []byte) []byte { return append(append(b, rowPrefix), key...) }

// appendCheckpoint appends the encoded checkpoint.
func appendCheckpoint(b []byte, c store.Checkpoint) []byte {
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

// decodeCheckpoint is the inverse of appendCheckpoint. Times have whole milliseconds, in UTC.
func decodeCheckpoint(b []byte) (store.Checkpoint, error) {
	if len(b) > 0 && b[0] != checkpointVersion && b[0] != checkpointOfMany {
		return store.Checkpoint{}, fmt.Errorf("checkpoint: %w: %d", ErrVersion, b[0])
	}
	if more := len(b) - checkpointSize; more < 0 || more%8 != 0 || more > 0 && b[0] == checkpointVersion {
		return store.Checkpoint{}, fmt.Errorf("%w: checkpoint of %d bytes", errCorrupt, len(b))
	}
	body := b[:len(b)-4]
	if crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(b[len(body):]) {
		return store.Checkpoint{}, fmt.Errorf("%w: checksum of the checkpoint", errCorrupt)
	}
	c := store.Checkpoint{
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

// decodeRow takes a row of the file apart: eight bytes of time, then the value.
func decodeRow(stored []byte) (value []byte, ms int64, err error) {
	if len(stored) < timeSize {
		return nil, 0, fmt.Errorf("%w: row of %d bytes", errCorrupt, len(stored))
	}
	return stored[timeSize:len(stored):len(stored)], int64(binary.BigEndian.Uint64(stored)), nil
}
