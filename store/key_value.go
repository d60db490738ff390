package store

import (
	"iter"
	"time"
)

// ReadKeyValue reads a store of rows with distinct keys.
//
// Ascending order is that of the bytes of the encoded keys, unsigned. With the serdes String,
// Bytes, Bool and UUID it is the order of the values. With signed numbers and Time, negative values
// come after all others.
//
// A store that was opened in a processor belongs to its task's goroutine. Errors name the store and
// the key's bytes. When a store could not be opened, each call returns the reason.
type ReadKeyValue[K, V any] interface {
	// Get returns the value of key; ok is false when there is no such row.
	Get(key K) (v V, ok bool, err error)
	// Range visits the rows within bounds in ascending order; without bounds, all rows. Bounds are
	// compared in that order too: From(int64(0)) visits negative keys as well, and a range from a
	// negative to a positive bound is an error, ErrRangeReversed.
	//
	// The store may be written during a scan. In a processor the scan sees changes ahead of it, and
	// visits no key twice; outside of the topology it sees the rows of one commit, but of a global store
	// also what is written ahead of it. The iterator must not be stored. It ends after the first error.
	Range(bounds ...Bound[K]) iter.Seq2[Row[K, V], error]
	// Backward is Range in descending order.
	Backward(bounds ...Bound[K]) iter.Seq2[Row[K, V], error]
	// All visits all rows in ascending order.
	All() iter.Seq2[Row[K, V], error]
	// Len returns the number of rows. Some stores have to count them.
	Len() (int64, error)
}

// KeyValue reads and writes a store of rows with distinct keys.
type KeyValue[K, V any] interface {
	ReadKeyValue[K, V]
	// Put writes a row.
	Put(key K, v V) error
	// PutIfAbsent writes a row if there is none with that key. Otherwise it returns the value of the
	// row, and present is true.
	PutIfAbsent(key K, v V) (old V, present bool, err error)
	// Delete removes the row of key, if there is one.
	Delete(key K) error
}

// Row is a row of a store.
type Row[K, V any] struct {
	Key   K
	Value V
	// Time is that of the record that last changed the row. It is the zero Time in stores made with
	// NewKeyValue, which keep no times.
	Time time.Time
	// Headers are those of the record that last changed the row, in stores with KeepHeaders.
	Headers Headers
}

// Timestamped is a value with the time of its row: the values of stores made with NewTimestamped.
type Timestamped[V any] struct {
	Value V
	// Time is stored to the millisecond. A zero Time is written as that of the record being processed.
	Time time.Time
	// Headers are stored in stores with KeepHeaders; others ignore them.
	Headers Headers
}

// Bound is one end of a range of keys, in the order of the bytes of encoded keys (ReadKeyValue). K
// is the type of the store's keys. A constant needs its type, as in store.From(int64(7)).
type Bound[K any] struct {
	key      K
	end      boundEnd
	excluded bool
}

type boundEnd uint8

const (
	noEnd boundEnd = iota
	lower
	upper
)

// From bounds a range to keys that are k or come after it.
func From[K any](k K) Bound[K] { return Bound[K]{key: k, end: lower} }

// Above bounds a range to keys that come after k.
func Above[K any](k K) Bound[K] { return Bound[K]{key: k, end: lower, excluded: true} }

// To bounds a range to keys that are k or come before it.
func To[K any](k K) Bound[K] { return Bound[K]{key: k, end: upper} }

// Below bounds a range to keys that come before k.
func Below[K any](k K) Bound[K] { return Bound[K]{key: k, end: upper, excluded: true} }
