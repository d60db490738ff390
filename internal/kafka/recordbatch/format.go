package recordbatch

import (
	"encoding/binary"
	"hash/crc32"
)

// Where the fields of a record batch begin.
const (
	baseOffsetAt      = 0
	lengthAt          = 8
	leaderEpochAt     = 12
	magicAt           = 16
	checksumAt        = 17
	attributesAt      = 21
	lastOffsetDeltaAt = 23
	baseTimeAt        = 27
	maxTimeAt         = 35
	producerIDAt      = 43
	producerEpochAt   = 51
	sequenceAt        = 53
	countAt           = 57
	recordsAt         = 61
)

// HeaderBytes is what a record batch takes besides its records.
const HeaderBytes = recordsAt

// lengthCountsFrom is where the bytes begin that the length field counts.
const lengthCountsFrom = 12

const magic = 2

// The bits of a batch's attributes, which all are in the second byte.
const (
	attrCompression   = 0x07
	attrLogAppendTime = 0x08 // all records have the batch's time
	attrTransactional = 0x10
	attrControl       = 0x20 // the one record is a marker: the end of a transaction
)

// minRecordBytes is the size of the smallest record: length, attributes, two deltas, two lengths,
// number of headers.
const minRecordBytes = 7

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Size returns how long the batch at the start of b is, which may be more than there is of it.
func Size(b []byte) int {
	if len(b) < lengthCountsFrom {
		return len(b) + 1
	}
	return lengthCountsFrom + int(binary.BigEndian.Uint32(b[lengthAt:]))
}

// checksum is of everything behind it.
func checksum(batch []byte) uint32 { return crc32.Checksum(batch[attributesAt:], castagnoli) }

func isControl(batch []byte) bool { return batch[attributesAt+1]&attrControl != 0 }

func baseOffset(batch []byte) int64 { return int64(binary.BigEndian.Uint64(batch[baseOffsetAt:])) }

func lastOffset(batch []byte) int64 {
	return baseOffset(batch) + int64(binary.BigEndian.Uint32(batch[lastOffsetDeltaAt:]))
}

func maxTime(batch []byte) int64 { return int64(binary.BigEndian.Uint64(batch[maxTimeAt:])) }
