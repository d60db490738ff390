package store

import "github.com/millstream-go/millstream/internal/storage"

// Limits of every store. The one on keys is that of a page of the files; stores in memory have it
// too, so that a program that was tested with them does not fail with others.
const (
	MaxKey   = storage.MaxKey   // bytes of a key: 32,766
	MaxValue = storage.MaxValue // bytes of a value: 1 GiB
)

// Errors of a single row. The store is unharmed, and the failure policy decides about the record.
var (
	ErrNilKey        = storage.ErrNilKey
	ErrNilValue      = storage.ErrNilValue // Delete removes a row
	ErrKeyTooLong    = storage.ErrKeyTooLong
	ErrValueTooLarge = storage.ErrValueTooLarge
)

// ErrDamaged is wrapped by errors of reads and writes that found a file of a store damaged. The
// runtime moves the file aside and restores that partition of the store from its changelog. It asks no failure
// policy, since no record is to blame. A processor should return such an error; if it goes on
// instead, what it did since the last commit is undone all the same.
var ErrDamaged = storage.ErrDamaged
