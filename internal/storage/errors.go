package storage

import "errors"

// Limits of every engine, described in package store.
const (
	MaxKey   = 1<<15 - 2
	MaxValue = 1 << 30
)

// Errors of a single row, described in package store.
var (
	ErrNilKey        = errors.New("store: nil key")
	ErrNilValue      = errors.New("store: nil value (Delete removes a row)")
	ErrKeyTooLong    = errors.New("store: key is longer than 32766 bytes")
	ErrValueTooLarge = errors.New("store: value is larger than 1 GiB")
)

// ErrDamaged is wrapped by errors of reads and writes that found a file of a store damaged.
var ErrDamaged = errors.New("store: the file is damaged")

// Errors of snapshots.
var (
	// ErrUnavailable is returned by reads from outside while a store is closed or restored.
	ErrUnavailable = errors.New("store: it is closed or being restored")
	// ErrSnapshotEnded is returned by a scan from outside that has kept too much of a store.
	ErrSnapshotEnded = errors.New("store: the scan was ended, because the earlier rows that were kept for it would " +
		"have needed more memory than Config.MemoryBudget: read faster, or a smaller range")
)
