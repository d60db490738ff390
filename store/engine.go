package store

import (
	"iter"
	"time"
)

// Entry is a row of an Engine. Key and Value live until the next call on the engine.
type Entry struct {
	Key, Value []byte
	Time       int64   // milliseconds since 1970; -1: unknown
	Headers    Headers // of stores that keep them, in memory of their own
}

// Range says which keys a scan visits and in which direction. The zero Range is all keys, ascending.
type Range struct {
	From, To            []byte // nil: no bound
	FromAfter, ToBefore bool   // the bound itself is left out
	Backward            bool
}

// Bytes is a timestamped key-value store of one partition as operators use it. It is owned by one goroutine, the worker of
// its task. Keys are ordered by their bytes, unsigned. A nil key is not allowed, an empty one is; a nil value is not allowed (it is
// Delete that removes), an empty one is.
type Bytes interface {
	// Get returns the row of key. The value lives until the next call on the store.
	Get(key []byte) (value []byte, time int64, ok bool, err error)
	// Put writes a row and copies key and value.
	Put(key, value []byte, time int64) error
	// Delete removes the row of key, if there is one; time goes to the changelog.
	Delete(key []byte, time int64) error
	// Scan visits the rows of a range. It is valid inside the call only: the iterator must not be kept. The store may be
	// written meanwhile: writes ahead of the scan are seen, and no key comes twice.
	Scan(r Range) iter.Seq2[Entry, error]
	// Len returns the number of rows. It may have to count them.
	Len() (int64, error)
}

// Visitor is implemented by engines that can scan without an iterator, which is a function made for each call.
type Visitor interface {
	// Visit calls f with what Scan visits, until f returns false. What holds for a scan holds for it.
	Visit(r Range, f func(Entry, error) bool)
}

// Change is the last thing an epoch did to a key: what its changelog is to hold.
type Change struct {
	Key   []byte
	Value []byte // nil: deleted
	Time  int64
	// Headers are those of the changelog's record, where the store keeps headers.
	Headers Headers
}

// Checkpoint says which part of its changelog a store contains. Formats: docs/format.
type Checkpoint struct {
	TopicID [16]byte  // the changelog's identity; zero when the broker knows none
	Offset  int64     // of the changelog record after the last one contained
	Time    time.Time // wall clock when it was written
	// Offsets are those of each partition, for a store that is kept from all partitions of a topic; Offset is their sum then.
	Offsets []int64
}

// Engine is a store of one partition as the runtime drives it. All methods but Healthy belong to the owning worker's goroutine.
//
// Time is cut into epochs (KIP-892 has a similar idea): what is written between two cuts is one epoch. Invariants:
//
//  1. What reaches disk belongs to epochs that are settled: Kafka has accepted them.
//  2. The checkpoint on disk is the changelog offset after the last record of the newest epoch on disk.
//  3. Epochs settle, or are undone, in order: settled from the oldest, undone from the newest.
type Engine interface {
	Bytes

	// Cut ends the current epoch and hands its changes to emit, last value per key, deletions after all others (were a
	// deletion accepted and the put that goes with it not, a row would be lost). It returns the epoch's number; a
	// cut epoch waits for Settle or Undo. emit must not keep the bytes and must not call the engine.
	Cut(emit func(Change) error) (epoch uint64, err error)
	// Expire says, in the current epoch, that nobody asks for the rows with from <= key < to any more, nor writes them: unless the epoch
	// is undone, after which all of them are there. Once it has settled they go, some time, without being visited one by one by the caller
	// and without a word to Cut; until then reads may find them. What was said of the same from before, with a lower to, is included.
	// The engine keeps from and to. Before a Restore, it is as if it had been said by an epoch that has settled.
	Expire(from, to []byte)
	// Settle says that Kafka has accepted all epochs up to this one and that the changelog ends at c for it. The engine
	// may write them to disk from now on, in its own time. c is ignored by engines without disk.
	Settle(epoch uint64, c Checkpoint)
	// Undo takes back the current epoch and every cut one that is not settled, in memory.
	Undo() error

	// Checkpoint returns what the file held when it was opened or last flushed, ok false when it holds none.
	Checkpoint() (c Checkpoint, ok bool)
	// Restore applies records of the changelog, outside of epochs: they are accepted already and not for Cut to emit.
	// c says where the changelog stands after them.
	Restore(changes []Change, c Checkpoint) error
	// Truncate empties the store, file and all, and forgets the checkpoint.
	Truncate() error

	// Dirty returns the bytes written in the current epoch: what an early cut goes by.
	Dirty() int64
	// Flush starts to write all settled epochs to disk, and waits for it when wait is true.
	Flush(wait bool) error
	// Healthy returns nil, or why the last flush failed; flushes are retried. Safe from any goroutine.
	Healthy() error
	// Close flushes what is settled when flush is true, abandons the rest, and releases the file.
	Close(flush bool) error
}

// Readable is implemented by engines that several goroutines may read at once while nobody calls another method.
type Readable interface {
	// GetTo is Get, but that it appends the value to buf: it lives as long as buf's owner likes.
	GetTo(buf, key []byte) (value []byte, time int64, ok bool, err error)
}
