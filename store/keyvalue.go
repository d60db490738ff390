package store

import (
	"iter"
	"time"
)

// ReadKeyValue reads a store of rows with distinct keys, ordered by the bytes of their encoded keys. One that was opened in a
// processor belongs to its task's goroutine. Errors name the store and the key's bytes; a store that could not be opened
// returns why from each call.
type ReadKeyValue[K, V any] interface {
	// Get returns the value of key, ok false when there is no such row.
	Get(key K) (v V, ok bool, err error)
	// Range visits the rows within bounds, all rows without any, in ascending order. The store may be written meanwhile: changes
	// ahead of the scan are seen, and no key comes twice. The iterator must not be kept. It ends after the first error.
	Range(bounds ...Bound[K]) iter.Seq2[Row[K, V], error]
	// Backward is Range in descending order.
	Backward(bounds ...Bound[K]) iter.Seq2[Row[K, V], error]
	// All visits all rows in ascending order.
	All() iter.Seq2[Row[K, V], error]
	// Len returns the number of rows. It may have to count them.
	Len() (int64, error)
}

// KeyValue reads and writes a store of rows with distinct keys.
type KeyValue[K, V any] interface {
	ReadKeyValue[K, V]
	// Put writes a row.
	Put(key K, v V) error
	// PutIfAbsent writes a row if there is none with that key; else it returns the value of the one there is, and present true.
	PutIfAbsent(key K, v V) (old V, present bool, err error)
	// Delete removes the row of key, if there is one.
	Delete(key K) error
}

// Row is a row of a store.
type Row[K, V any] struct {
	Key   K
	Value V
	// Time is that of the record that last changed the row; the zero Time in stores that keep none.
	Time time.Time
	// Headers are those of the record that last changed the row, in stores made with KeepHeaders.
	Headers Headers
}

// Stamped is a value with the time of its row, as the stores made by NewTimestamped hold it.
type Stamped[V any] struct {
	Value V
	// Time is kept to the millisecond. A zero Time is written as that of the record being processed.
	Time time.Time
	// Headers are kept in stores made with KeepHeaders; others leave them out.
	Headers Headers
}

// Bound is one end of a range. K is the type of the store's keys: give a constant its type, as in store.From(int64(7)).
type Bound[K any] struct {
	key      K
	end      end
	excluded bool
}

type end uint8

const (
	noEnd end = iota
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
