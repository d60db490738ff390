package store

import "errors"

// Limits of every engine. The one on keys is that of a page tree on disk; stores in memory have it too, so that a program
// tested with them does not fail with others.
const (
	MaxKey   = 1<<15 - 2 // bytes of a key
	MaxValue = 1 << 30   // bytes of a value
)

// Errors of a single row: the store is unharmed and the record's policy decides.
var (
	ErrNilKey        = errors.New("store: nil key")
	ErrNilValue      = errors.New("store: nil value (Delete removes a row)")
	ErrKeyTooLong    = errors.New("store: key is longer than 32766 bytes")
	ErrValueTooLarge = errors.New("store: value is larger than 1 GiB")
)
