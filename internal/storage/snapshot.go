package storage

// Snapshotter is implemented by engines that any goroutine may read while their owner writes.
type Snapshotter interface {
	// Snapshot returns the rows of the newest settled epoch, to be closed. It may be called from any
	// goroutine, at any time. It waits for nothing that its owner waits for: neither a user's function
	// nor Kafka nor a flush. While the store is closed or restored it returns ErrUnavailable.
	Snapshot() (Snapshot, error)
}

// Snapshot is the rows of a store as of one settled epoch, whatever is written, settled, undone,
// flushed or merged meanwhile. Rows that an Expire has declared expired up to that epoch may be
// missing. It belongs to one goroutine at a time.
//
// A snapshot keeps memory and files of the store from being released. When it keeps too much, the
// store ends it, and reads return ErrSnapshotEnded. When the store is closed they return
// ErrUnavailable.
type Snapshot interface {
	// AppendTo returns the row of key, with the value appended to buf.
	AppendTo(buf, key []byte) (value []byte, time int64, ok bool, err error)
	// Rows returns a reader of the rows in r. A snapshot may have several at once.
	Rows(r Range) RowReader
	// Close ends the snapshot. Rows that were read stay valid. A second Close does nothing.
	Close()
}

// RowReader visits rows in order. A reader that is not used any more need not be closed.
type RowReader interface {
	// Next returns the next row; at the end ok is false. Its bytes are a copy, and valid until the
	// next call of Next.
	Next() (e Entry, ok bool, err error)
}
