package storage

import "iter"

// WindowEntry is a row of a window or session store. Key and Value are valid until the next call on
// the store.
type WindowEntry struct {
	Key []byte
	// Start and End are milliseconds since 1970. End of a window is Start plus the store's window
	// size; End of a session is the time of its last record.
	Start, End int64
	Value      []byte
	Time       int64   // of the row; for sessions it is End
	Headers    Headers // only in stores that keep headers; a copy, valid for ever
}

// WindowBytes is a window store of one partition as operators use it: a row has a key and the start
// of a window. It is owned by one goroutine, the worker of its task. Times are milliseconds since
// 1970.
//
// A row is expired when its window started at ObservedTime minus the retention, or earlier. Reads
// do not see expired rows, and Put refuses them. Ranges of times include both ends. A scan is valid
// within the call only; the store may be written during it, as with Bytes.
type WindowBytes interface {
	// Get returns the row of key and start. In a store with duplicates it is the last one put.
	Get(key []byte, start int64) (value []byte, time int64, ok bool, err error)
	// Put writes a row. It copies key and value. A store with duplicates adds a row; others replace
	// it. The observed time becomes start if that is greater. written is false, and nothing changes,
	// when the row is expired.
	Put(key []byte, start int64, value []byte, time int64) (written bool, err error)
	// Delete removes the row; in a store with duplicates, all rows of key and start. The changelog's
	// tombstone gets the time.
	Delete(key []byte, start, time int64) error
	// Fetch visits the rows of key whose windows start in [from, to], by start and then in the order
	// in which they were put.
	Fetch(key []byte, from, to int64, backward bool) iter.Seq2[WindowEntry, error]
	// Visit calls f for each row that Fetch would visit forward, until f returns false. It allocates
	// nothing, where Fetch makes an iterator for each call.
	Visit(key []byte, from, to int64, f func(WindowEntry, error) bool)
	// All visits the rows whose keys are in keys and whose windows start in [from, to], by the bytes
	// of the key and then as Fetch does.
	All(keys Range, from, to int64) iter.Seq2[WindowEntry, error]
	// ByTime visits the rows of all keys whose windows start in [from, to], by start and then by the
	// bytes of the key. With an index by time it costs as much as the rows it visits, otherwise as
	// much as all rows.
	ByTime(from, to int64) iter.Seq2[WindowEntry, error]
	// ObservedTime is the greatest start put so far, -1 before the first. A restore restores it.
	ObservedTime() int64
	// Observe raises the observed time. Operators call it so that rows expire with their own stream
	// time, which may be ahead of what they put. In a store with an index by time, rows that a Put has
	// expired stay visible to ByTime until that Put has settled.
	Observe(time int64) error
}

// SessionBytes is a session store of one partition: a row has a key, a start and an inclusive end.
// All that is said of WindowBytes holds for it, with a session's end in place of a window's start.
type SessionBytes interface {
	// Get returns the row of the session.
	Get(key []byte, start, end int64) (value []byte, ok bool, err error)
	// Put writes a row; written is false when it is expired. The changelog's record gets the time.
	Put(key []byte, start, end int64, value []byte, time int64) (written bool, err error)
	// Delete removes a row.
	Delete(key []byte, start, end, time int64) error
	// Find visits the sessions of key that end at endFrom or later and start at startTo or earlier, by
	// end and then by start.
	Find(key []byte, endFrom, startTo int64, backward bool) iter.Seq2[WindowEntry, error]
	// All visits such sessions of the keys in keys, by the bytes of the key and then as Find does.
	All(keys Range, endFrom, startTo int64) iter.Seq2[WindowEntry, error]
	// ByTime visits the sessions of all keys that end in [from, to], by end, then by the bytes of the
	// key, then by start.
	ByTime(from, to int64) iter.Seq2[WindowEntry, error]
	// ObservedTime is the greatest end put so far, -1 before the first.
	ObservedTime() int64
	// Observe raises the observed time, as WindowBytes.Observe does.
	Observe(time int64) error
}

// Version is one version of a row. Value is valid until the next call on the store.
type Version struct {
	Value    []byte // nil: the row is deleted in this version
	From, To int64  // the version is valid at From <= time < To; To is math.MaxInt64 for the latest
	// Headers are set in stores that keep headers; a copy, valid for ever.
	Headers Headers
}

// VersionedBytes is a store of one partition that keeps the versions of its rows (KIP-889). A
// version is expired when it ended before ObservedTime minus the history retention.
type VersionedBytes interface {
	// Get returns the latest version. ok is false when there is none or it is a deletion.
	Get(key []byte) (v Version, ok bool, err error)
	// AsOf returns the version that was valid at time. For a time before the history retention ok is
	// false, unless the latest version is that old.
	AsOf(key []byte, time int64) (v Version, ok bool, err error)
	// Put writes the version that begins at time; with a nil value the row is deleted from then on. It
	// returns the end of the version's validity, math.MaxInt64 for the latest. written is false, and
	// nothing changes, when time lies before the history retention.
	Put(key, value []byte, time int64) (validTo int64, written bool, err error)
	// History visits the versions of key that were valid at some time in [from, to], by time. It
	// leaves out deletions.
	History(key []byte, from, to int64, backward bool) iter.Seq2[Version, error]
	// Latest visits the latest versions of all keys, by the bytes of the key. It leaves out deletions.
	Latest() iter.Seq2[Entry, error]
	// ObservedTime is the greatest time put so far, -1 before the first.
	ObservedTime() int64
}
