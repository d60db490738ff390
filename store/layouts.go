package store

import "iter"

// WindowEntry is a row of a window or session store. Key and Value live until the next call on the store.
type WindowEntry struct {
	Key        []byte
	Start, End int64 // milliseconds since 1970; End of a window is Start plus the store's size, that of a session its last record's time
	Value      []byte
	Time       int64   // of the row; of sessions it is End
	Headers    Headers // of stores that keep them, in memory of their own
}

// WindowBytes is a store of rows that have a key and the start of a window, of one partition, as operators use it. It is owned
// by one goroutine, the worker of its task. Times are milliseconds since 1970. Rows whose window started at ObservedTime less the
// retention, or before, are expired: reads do not see them, and what is put there is refused. Ranges include both ends; a scan is valid inside
// the call only, and the store may be written meanwhile as with Bytes.
type WindowBytes interface {
	// Get returns the row of key and start; the last one put in a store that keeps duplicates.
	Get(key []byte, start int64) (value []byte, time int64, ok bool, err error)
	// Put writes a row and copies key and value; a store that keeps duplicates adds one. kept is false, and nothing is written,
	// when the row is expired already. The observed time becomes start if that is greater.
	Put(key []byte, start int64, value []byte, time int64) (kept bool, err error)
	// Delete removes the row, all of them in a store that keeps duplicates; time goes to the changelog.
	Delete(key []byte, start, time int64) error
	// Fetch visits the rows of key whose windows start in [from, to], by start and then in the order they were put.
	Fetch(key []byte, from, to int64, backward bool) iter.Seq2[WindowEntry, error]
	// Visit calls f with what Fetch visits forward, until f returns false. It allocates nothing, where an iterator is a function made for
	// each call.
	Visit(key []byte, from, to int64, f func(WindowEntry, error) bool)
	// All visits the rows of all keys whose windows start in [from, to], by the bytes of the key and then as Fetch does.
	All(from, to int64) iter.Seq2[WindowEntry, error]
	// ByTime visits the rows of all keys whose windows start in [from, to], by start and then by the bytes of the key. Stores made with
	// the index by time do so at the cost of the rows visited, others at that of all rows.
	ByTime(from, to int64) iter.Seq2[WindowEntry, error]
	// ObservedTime is the greatest start put so far, -1 before the first. It is restored with the store.
	ObservedTime() int64
	// Observe raises the observed time, so that rows expire with the stream time of an operator rather than with what it puts. ByTime of
	// stores made with the index by time sees rows that what was put has made expire, until that has settled.
	Observe(time int64) error
}

// SessionBytes is a store of rows that have a key, a start and an inclusive end. What WindowBytes says holds here too, with a
// session's end where that has a window's start.
type SessionBytes interface {
	// Get returns the row of the session.
	Get(key []byte, start, end int64) (value []byte, ok bool, err error)
	// Put writes a row; kept is false when it is expired already. time goes to the changelog.
	Put(key []byte, start, end int64, value []byte, time int64) (kept bool, err error)
	// Delete removes a row.
	Delete(key []byte, start, end, time int64) error
	// Find visits the sessions of key that end at endFrom or later and start at startTo or earlier, by end and then by start.
	Find(key []byte, endFrom, startTo int64, backward bool) iter.Seq2[WindowEntry, error]
	// All visits the sessions of all keys with such ends and starts, by the bytes of the key and then as Find does.
	All(endFrom, startTo int64) iter.Seq2[WindowEntry, error]
	// ByTime visits the sessions of all keys that end in [from, to], by end, then by the bytes of the key, then by start.
	ByTime(from, to int64) iter.Seq2[WindowEntry, error]
	ObservedTime() int64
	Observe(time int64) error
}

// Version is one version of a row. Value lives until the next call on the store.
type Version struct {
	Value    []byte // nil: deleted
	From, To int64  // valid from From, included, to To, excluded; To is math.MaxInt64 for the latest
	// Headers are those of stores that keep them, in memory of their own.
	Headers Headers
}

// VersionedBytes is a store that keeps the versions of its rows (KIP-889). Versions that ended longer than the history
// retention before ObservedTime are expired.
type VersionedBytes interface {
	// Get returns the latest version, ok false when there is none or it is a deletion.
	Get(key []byte) (v Version, ok bool, err error)
	// AsOf returns the version that was valid at time; not for a time that lies further back than the history retention, unless the latest
	// version is that old.
	AsOf(key []byte, time int64) (v Version, ok bool, err error)
	// Put writes the version that begins at time; a nil value deletes from then on. It returns until when the version is valid,
	// math.MaxInt64 if it is the latest; kept is false, and nothing is written, when time lies further back than the history retention.
	Put(key, value []byte, time int64) (validTo int64, kept bool, err error)
	// History visits the versions of key that were valid somewhere in [from, to], deletions left out, by time.
	History(key []byte, from, to int64, backward bool) iter.Seq2[Version, error]
	// Latest visits the latest versions of all keys, deletions left out, by the bytes of the key.
	Latest() iter.Seq2[Entry, error]
	ObservedTime() int64
}
