package storage

import "time"

// Change is the last thing that an epoch did to a key: one record of the changelog.
type Change struct {
	Key   []byte
	Value []byte // nil: a tombstone
	Time  int64
	// Headers are those of the changelog's record, in stores that keep headers.
	Headers Headers
}

// Checkpoint is how far into its changelog a store has got. Its encoding is in docs/format.
type Checkpoint struct {
	TopicID [16]byte  // of the changelog topic; zero when the broker has no topic IDs
	Offset  int64     // the changelog offset after the last record that the store contains
	Time    time.Time // wall clock when it was written
	// Offsets are those of each partition, for a store that is filled from all partitions of a topic
	// (a global table). Offset is their sum then.
	Offsets []int64
}

// Engine is a store of one partition as the runtime drives it. All methods but Healthy belong to
// the owning worker's goroutine.
//
// Writes belong to epochs (KIP-892 has a similar idea): an epoch is what was written between two
// cuts. Invariants:
//
//  1. What reaches disk belongs to settled epochs: Kafka has accepted their records.
//  2. The checkpoint on disk is the changelog offset after the last record of the newest epoch on
//     disk.
//  3. Epochs settle from the oldest and are undone from the newest.
type Engine interface {
	Bytes

	// Cut ends the current epoch and passes its changes to emit: the last value of each key, and
	// tombstones after all values. Kafka may accept only the first of them: were a tombstone accepted
	// and the put that belongs to it not, a row would be lost.
	//
	// Cut returns the epoch's number. The epoch waits for Settle or Undo. emit must copy the bytes
	// that it needs later, and must not call the engine.
	Cut(emit func(Change) error) (epoch uint64, err error)
	// Expire declares, in the current epoch, that the rows with from <= key < to are neither read nor
	// written any more. Once the epoch has settled, the engine removes them in its own time, and Cut
	// does not emit them; until then reads may still find them. If the epoch is undone, all of them
	// are there again. A call with the same from and a greater to includes the earlier one. The engine
	// retains from and to.
	//
	// Before a Restore, an Expire counts as part of a settled epoch.
	Expire(from, to []byte)
	// Settle reports that Kafka has accepted all epochs up to this one. The changelog ends at c for
	// this store. The engine may write those epochs to disk from now on, in its own time. Engines
	// without a disk ignore c.
	Settle(epoch uint64, c Checkpoint)
	// Undo removes the writes of the current epoch and of every cut epoch that is not settled. All of
	// these are in memory.
	Undo() error

	// Checkpoint returns what the files contained when they were opened or last flushed; ok is false when
	// there is none.
	Checkpoint() (c Checkpoint, ok bool)
	// Position returns where the changelog stands for the settled rows, those in memory included: never
	// before Checkpoint. ok is false when that is not known, as for a store without rows or for one that
	// had no checkpoint.
	Position() (c Checkpoint, ok bool)
	// ForgetPosition makes Position what Checkpoint is, until the next Restore or Settle. A store in memory
	// has none then. It is for rows of which it is not known whether the changelog has them.
	ForgetPosition()
	// Restore applies records of the changelog. They belong to no epoch: Kafka has them already, so
	// Cut does not emit them. c is where the changelog stands after them.
	Restore(changes []Change, c Checkpoint) error
	// Truncate removes all rows, the files and the checkpoint.
	Truncate() error

	// Sizes returns how large the store is. It reads and counts no rows.
	Sizes() Sizes

	// Dirty returns the bytes written in the current epoch. The worker commits early when they are
	// many.
	Dirty() int64
	// Flush starts to write all settled epochs to disk. With wait it returns when they are there.
	Flush(wait bool) error
	// Healthy returns nil, or why the last flush failed; flushes are retried. Safe from any goroutine.
	Healthy() error
	// Close releases the files. With flush it writes the settled epochs to disk first. Others are
	// dropped.
	Close(flush bool) error
}

// Sizes says how large a store of one partition is.
type Sizes struct {
	// Rows is how many rows there are, in memory and in files. One of which there are several versions, in memory and in
	// files that are not merged yet, counts as often: it is an upper bound of what Len counts.
	Rows        int64
	MemoryBytes int64 // of rows in memory
	Files       int
	FileBytes   int64
}

// Damageable is implemented by engines with files, one of which may be found to be damaged. A damaged
// engine still serves the rows that are in memory. It refuses all others with an error that wraps
// ErrDamaged, until its owner moves the file aside and restores the store. All methods are safe
// from any goroutine.
type Damageable interface {
	// Damaged returns why a file cannot be trusted; nil while no damage is known.
	Damaged() error
	// Distrust declares the store damaged, because rows do not decode, for example.
	Distrust(reason error)
	// OnDisk reports whether files have any rows.
	OnDisk() bool
	// OnDamage sets a function that is called once when damage is found, on the goroutine that finds
	// it. It must not block, and must not call the engine.
	OnDamage(f func())
	// Faulted reports whether addr, at which the process faulted, lies in the mapped file.
	Faulted(addr uintptr) bool
}

// AheadReader is implemented by engines that can read what look-ups of several keys will read before
// these come: the processor then waits once for the memory of all of them, and not for that of each.
type AheadReader interface {
	// ReadAhead is a hint that the keys, none of them nil, are looked up or written soon, perhaps. It
	// changes nothing that a caller can see but damage that it may find. An engine of which other keys
	// are looked up than those that it got reads nothing ahead.
	ReadAhead(keys [][]byte)
}

// TimedAheadReader is an AheadReader of rows that have a time besides their key.
type TimedAheadReader interface {
	// ReadAheadAt is ReadAhead for records with these keys and times, in milliseconds.
	ReadAheadAt(keys [][]byte, times []int64)
}
