package storage

import (
	"encoding/binary"
	"math"
)

// Series says which rows form series: those whose keys differ in their ends alone, which begin with a
// number of eight bytes. In a store of windows the rows of a key are a series by time. Operators scan a
// part of one for each record, so an engine that knows of series need not put all rows in order, nor
// look where no row has such a number.
//
// A series is never a part of another: what comes before the number of one key is not the beginning of
// what comes before that of another.
type Series struct {
	Class byte // the first byte of the keys that belong to series
	Tail  int  // how many bytes the ends of the keys have, 8 at least; 0: no row belongs to a series
}

// SeriesIndexer is implemented by engines that make use of series.
type SeriesIndexer interface {
	// IndexSeries is called before the engine is used, each time that it is opened or passed on, with
	// the same series.
	IndexSeries(s Series)
}

// Prefix returns what the keys of a row's series have in common; nil when it belongs to none.
func (s Series) Prefix(key []byte) []byte {
	n := len(key) - s.Tail
	if s.Tail == 0 || n <= 0 || key[0] != s.Class {
		return nil
	}
	return key[:n:n]
}

// Numbers are what the numbers of some rows lie between.
type Numbers struct{ Least, Greatest uint64 }

// NoNumbers are those of no row.
var NoNumbers = Numbers{Least: math.MaxUint64}

// Add adds the number of a row whose series has a prefix of n bytes.
func (n *Numbers) Add(key []byte, prefix int) {
	number := binary.BigEndian.Uint64(key[prefix:])
	n.Least, n.Greatest = min(n.Least, number), max(n.Greatest, number)
}

// MayHave reports whether a scan may visit a row with one of these numbers. It is true for a scan that
// is not of a series.
func (n Numbers) MayHave(r Range) bool {
	if r.Series == 0 {
		return true
	}
	from, to := binary.BigEndian.Uint64(r.From[r.Series:]), binary.BigEndian.Uint64(r.To[r.Series:])
	return from <= n.Greatest && to >= n.Least
}
