// Package run has the run file: rows in ascending order that are written once and never changed. A
// Builder writes one, in sequence, and syncs it; a Reader maps it. A run is one such file or several
// with disjoint ranges of keys, and a Merge makes one run of several.
//
// A run file is a bbolt database with one bucket, "rows", followed by what bbolt does not look at: a
// filter, which says of most keys that are not in the file that they are not, and a table with a
// checksum of each page. docs/format/store.md has the bytes. A page is compared with its
// checksum before anything in it is believed: when it is touched for the first time since the file
// was opened, and in every merge. So a byte that changed is an error, never a row.
package run

import (
	"bytes"
	"fmt"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// Identity says which run file of which store a file is. A file that was exchanged with another is
// recognised by it.
type Identity struct {
	Store     string
	Partition int32
	Sequence  uint64 // of the files of this store partition
}

// Info is what is known of a run file without its rows.
type Info struct {
	Identity
	Rows, Tombstones  int64
	Smallest, Largest []byte // the first and the last key, of rows or tombstones; nil in an empty file
	Length            int64  // of the file, in bytes
	Sum               uint32 // of the table of checksums, and with it of the whole file
}

// Overlaps reports whether the ranges of two files have a key in common.
func (i *Info) Overlaps(o *Info) bool {
	return bytes.Compare(i.Smallest, o.Largest) <= 0 && bytes.Compare(o.Smallest, i.Largest) <= 0
}

var rowsBucket = []byte("rows")

const (
	// rowPrefix is in front of each key: bbolt has no empty keys, Kafka has.
	rowPrefix = 'r'
	// tombstone is the whole value of a deleted row in a file. Those of other rows are longer, since
	// they begin with the row's time.
	tombstone = 'd'
	timeSize  = 8
	// DefaultPageSize is that of new files.
	DefaultPageSize = 16 << 10
)

var (
	prefixBytes    = []byte{rowPrefix}
	tombstoneBytes = []byte{tombstone}
)

// stateOf returns the state of a row as it is in a file. It panics over bytes that are neither a row
// nor a tombstone.
func stateOf(stored []byte) memtable.State {
	switch {
	case len(stored) >= timeSize:
		return memtable.Live
	case len(stored) == 1 && stored[0] == tombstone:
		return memtable.Deleted
	}
	panic(fmt.Sprintf("a row of %d bytes", len(stored)))
}

// errDamaged is wrapped by every error of a file that cannot be right.
var errDamaged = storage.ErrDamaged
