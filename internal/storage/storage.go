// Package storage is the contract of stores: what operators, the runtime and queries see of a store
// of one partition, and what an engine below has to do for them. Keys and values are bytes here;
// package store adds the users' types.
//
// Three layers implement it. An engine (memtable, lsm) is a key-value store with epochs. Package
// segmented lays windows, sessions and versions out in an engine. Handle is what a step, a query or
// a test gets of either.
//
// It is apart from package store so that users see none of it: no Config field takes an engine.
package storage

import (
	"iter"
)

// Entry is a row of a store. Key and Value are valid until the next call on the store.
type Entry struct {
	Key, Value []byte
	Time       int64   // milliseconds since 1970; -1: unknown
	Headers    Headers // only in stores that keep headers; a copy, valid for ever
}

// Bytes is a timestamped key-value store of one partition as operators use it. It is owned by one
// goroutine, the worker of its task. Keys are ordered by their bytes, unsigned. A nil key is an
// error, an empty one is allowed. A nil value is an error too (Delete removes a row), an empty one
// is allowed.
type Bytes interface {
	// Get returns the row of key. The value is valid until the next call on the store.
	Get(key []byte) (value []byte, time int64, ok bool, err error)
	// Put writes a row. It copies key and value.
	Put(key, value []byte, time int64) error
	// Delete removes the row of key, if there is one. The changelog's tombstone gets the time.
	Delete(key []byte, time int64) error
	// Scan visits the rows of a range. The iterator is valid within the call that got it and must not
	// be stored. The store may be written during a scan: the scan sees writes ahead of it, and visits
	// no key twice.
	Scan(r Range) iter.Seq2[Entry, error]
	// Len returns the number of rows. Some stores have to count them.
	Len() (int64, error)
}

// Visitor is implemented by stores that can scan without an iterator. Scan allocates a function for
// each call; Visit does not, which counts where an operator scans for each record.
type Visitor interface {
	// Visit calls f for each row that Scan would visit, until f returns false. All that is said of
	// Scan holds for it.
	Visit(r Range, f func(Entry, error) bool)
}

// ConcurrentReader is implemented by engines that several goroutines may read at once while nobody
// calls another method.
type ConcurrentReader interface {
	// AppendTo is Get with the value appended to buf, so that it outlives the next call.
	AppendTo(buf, key []byte) (value []byte, time int64, ok bool, err error)
}
