package run

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/btree"
)

// The end of a run file, behind the pages of bbolt and the filter. Numbers are big-endian.
//
//	table:   | CRC-32C of each page of bbolt and of the filter, 4 |
//	tail:    | version, 1 or 2 | page size 4 | pages of bbolt 8 | pages of the filter 4 | its blocks 4 | rows 8 | tombstones 8 |
//	         | sequence 8 | partition 4 | store, smallest and largest key: each length 4, bytes |
//	         | from version 2 on: class 1 | length of the ends of keys 1 | least and greatest number, each 8 |
//	trailer: | length of the tail 4 | length of the file 8 | CRC-32C of all from the table to here 4 | "msrun\r\n\x1a" 8 |
const (
	// tailVersion changes together with the version of the root, by which a program that does not know it
	// refuses the store. Without that, it would take the file for a damaged one, and move it aside.
	tailVersion = 1
	// seriesVersion is that of files that note the numbers of their rows. Others are as they were.
	seriesVersion = 2
	seriesSize    = 1 + 1 + 8 + 8
	tailFixed     = 1 + 4 + 8 + 4 + 4 + 8 + 8 + 8 + 4
	trailerSize   = 4 + 8 + 4 + 8
	magic         = "msrun\r\n\x1a" // a transfer as text changes it
	// longestTail bounds what is read before the tail has been compared with its checksum.
	longestTail = 1 << 20
	// smallestPage is less than any page that bbolt opens: of files below 4 KiB it cannot tell the size.
	smallestPage = 1 << 10
)

type tail struct {
	pageSize     uint32
	pages        uint64 // of bbolt
	filterPages  uint32
	filterBlocks uint32
	info         Info
	series       storage.Series
	numbers      storage.Numbers
}

// appendTail appends the tail and the trailer to b, which has the table and nothing else. at is the
// offset of the table. It sets the length and the sum of the file.
func appendTail(b []byte, t *tail, at int64) []byte {
	start := len(b)
	version := byte(tailVersion)
	if t.series.Tail > 0 {
		version = seriesVersion
	}
	b = append(b, version)
	b = binary.BigEndian.AppendUint32(b, t.pageSize)
	b = binary.BigEndian.AppendUint64(b, t.pages)
	b = binary.BigEndian.AppendUint32(b, t.filterPages)
	b = binary.BigEndian.AppendUint32(b, t.filterBlocks)
	b = binary.BigEndian.AppendUint64(b, uint64(t.info.Rows))
	b = binary.BigEndian.AppendUint64(b, uint64(t.info.Tombstones))
	b = binary.BigEndian.AppendUint64(b, t.info.Sequence)
	b = binary.BigEndian.AppendUint32(b, uint32(t.info.Partition))
	for _, s := range [][]byte{[]byte(t.info.Store), t.info.Smallest, t.info.Largest} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	if t.series.Tail > 0 {
		b = append(b, t.series.Class, byte(t.series.Tail))
		b = binary.BigEndian.AppendUint64(b, t.numbers.Least)
		b = binary.BigEndian.AppendUint64(b, t.numbers.Greatest)
	}
	length := len(b) - start
	t.info.Length = at + int64(len(b)) + trailerSize
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	b = binary.BigEndian.AppendUint64(b, uint64(t.info.Length))
	// b has the checksums of all pages, so this one stands for the whole file: the root, which has
	// it too, tells the file from any other of the same name.
	t.info.Sum = crc32.Checksum(b, btree.Castagnoli)
	b = binary.BigEndian.AppendUint32(b, t.info.Sum)
	return append(b, magic...)
}

var errTail = errors.New("the end of the file is not that of a run file")

// readTail decodes the end of a file, and returns its table too. It returns an error unless the whole
// end is what was written.
func readTail(data []byte) (t tail, table []byte, err error) {
	n := len(data)
	if n < tailFixed+trailerSize {
		return t, nil, fmt.Errorf("%w: %d bytes", errTail, n)
	}
	trailer := data[n-trailerSize:]
	length := int64(binary.BigEndian.Uint64(trailer[4:]))
	tailLength := int(binary.BigEndian.Uint32(trailer))
	switch {
	case string(trailer[16:]) != magic:
		return t, nil, errTail
	case length != int64(n):
		return t, nil, fmt.Errorf("%w: %d bytes of %d", errTail, n, length)
	case tailLength < tailFixed || tailLength > min(longestTail, n-trailerSize):
		return t, nil, fmt.Errorf("%w: a tail of %d bytes", errTail, tailLength)
	}
	tailAt := n - trailerSize - tailLength
	b := data[tailAt : n-trailerSize]
	if b[0] != tailVersion && b[0] != seriesVersion {
		return t, nil, fmt.Errorf("%w: version %d, known are %d and %d", errTail, b[0], tailVersion, seriesVersion)
	}
	t.pageSize = binary.BigEndian.Uint32(b[1:])
	t.pages = binary.BigEndian.Uint64(b[5:])
	t.filterPages = binary.BigEndian.Uint32(b[13:])
	t.filterBlocks = binary.BigEndian.Uint32(b[17:])
	// What the table is begins where the pages end. If that is wrong, the checksum is.
	pages := t.pages + uint64(t.filterPages)
	if t.pageSize < smallestPage || t.pages < 4 || t.pages > uint64(n)/uint64(t.pageSize) ||
		pages > uint64(n)/uint64(t.pageSize) || tailAt-int(pages*uint64(t.pageSize)) != int(pages*4) {
		return t, nil, fmt.Errorf("%w: %d and %d pages of %d bytes", errTail, t.pages, t.filterPages, t.pageSize)
	}
	tableAt := int(pages * uint64(t.pageSize))
	t.info.Sum = binary.BigEndian.Uint32(trailer[12:])
	if got := crc32.Checksum(data[tableAt:n-trailerSize+12], btree.Castagnoli); got != t.info.Sum {
		return t, nil, fmt.Errorf("%w: its checksum is %#x, and %#x was written", errTail, got, t.info.Sum)
	}
	t.info.Length = length
	t.info.Rows = int64(binary.BigEndian.Uint64(b[21:]))
	t.info.Tombstones = int64(binary.BigEndian.Uint64(b[29:]))
	t.info.Sequence = binary.BigEndian.Uint64(b[37:])
	t.info.Partition = int32(binary.BigEndian.Uint32(b[45:]))
	var parts [3][]byte
	rest := b[tailFixed:]
	for i := range parts {
		if len(rest) < 4 {
			return t, nil, errTail
		}
		size := binary.BigEndian.Uint32(rest)
		if rest = rest[4:]; uint64(size) > uint64(len(rest)) {
			return t, nil, errTail
		}
		parts[i], rest = append([]byte{}, rest[:size]...), rest[size:]
	}
	if b[0] == seriesVersion {
		if len(rest) < seriesSize || rest[1] < timeSize {
			return t, nil, errTail
		}
		t.series = storage.Series{Class: rest[0], Tail: int(rest[1])}
		t.numbers = storage.Numbers{Least: binary.BigEndian.Uint64(rest[2:]), Greatest: binary.BigEndian.Uint64(rest[10:])}
		rest = rest[seriesSize:]
	}
	if len(rest) > 0 || uint64(t.filterBlocks)*blockSize > uint64(t.filterPages)*uint64(t.pageSize) ||
		t.filterBlocks == 0 {
		return t, nil, errTail
	}
	t.info.Store, t.info.Smallest, t.info.Largest = string(parts[0]), parts[1], parts[2]
	if t.info.Rows+t.info.Tombstones == 0 {
		t.info.Smallest, t.info.Largest = nil, nil
	}
	return t, data[tableAt:tailAt], nil
}
