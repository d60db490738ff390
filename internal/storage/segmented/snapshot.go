package segmented

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/storage"
)

// Snapshot is a partition of a store as of one settled epoch, with local keys. In a segmented store its
// rows and the stream time by which they expire are of the same epoch: that time is a row too
// (invariant 2 of this package). Windows that a Put has expired and that has not settled are there,
// and so they are for both kinds of reads: what is settled needs no expiryTime of its own.
type Snapshot struct {
	rows storage.Snapshot
	// rules is a store without an engine. It has the observed time of the snapshot, and decides what has
	// expired. Nil: a key-value store.
	rules *Store
	buf   []byte
}

// OpenSnapshot returns a snapshot of an engine that Wrap has returned. Any goroutine may call it.
func OpenSnapshot(e storage.Engine) (*Snapshot, error) {
	if wrapped, ok := e.(*headerEngine); ok { // rows have their headers in front: the view splits them
		e = wrapped.Engine
	}
	s, segmented := e.(*Store)
	if segmented {
		e = s.Engine
	}
	source, ok := e.(storage.Snapshotter)
	if !ok {
		return nil, fmt.Errorf("a %T cannot be read from outside", e)
	}
	rows, err := source.Snapshot()
	if err != nil {
		return nil, err
	}
	out := &Snapshot{rows: rows, buf: make([]byte, 0, 64)}
	if !segmented {
		return out, nil
	}
	observed := int64(-1)
	v, _, ok, err := rows.AppendTo(nil, metaKey)
	if err == nil && ok {
		var m meta
		if m, err = s.parseMeta(v); err == nil {
			observed = m.observedTime
		}
	}
	if err != nil {
		rows.Close()
		return nil, err
	}
	// Only what never changes is copied: the store belongs to another goroutine.
	out.rules = &Store{
		name: s.name, kind: s.kind, shape: s.shape, timeIndex: s.timeIndex, retention: s.retention,
		observedTime: observed, settledTime: observed,
	}
	return out, nil
}

// Close ends the snapshot. A second Close does nothing.
func (s *Snapshot) Close() { s.rows.Close() }

// Observed returns the observed time, -1 in a key-value store.
func (s *Snapshot) Observed() int64 {
	if s.rules == nil {
		return -1
	}
	return s.rules.observedTime
}

// Get returns the row of a local key, unless it has expired. The value is a copy, valid for ever, and
// not nil: an empty one is a value.
func (s *Snapshot) Get(key []byte) (value []byte, time int64, ok bool, err error) {
	if s.rules != nil && s.rules.keyHasExpired(key) {
		return nil, 0, false, nil
	}
	v, time, ok, err := s.rows.AppendTo(s.buf[:0], key)
	if !ok || err != nil {
		return nil, 0, false, err
	}
	s.buf = v[:0]
	return append(make([]byte, 0, max(1, len(v))), v...), time, true, nil
}

// Rows returns a reader of the rows in a range of local keys that have not expired.
func (s *Snapshot) Rows(r storage.Range) storage.RowReader {
	if s.rules == nil {
		return s.rows.Rows(r)
	}
	return &unexpired{s.rules, s.rows.Rows(s.rules.clipExpired(r))}
}

// unexpired leaves out expired rows.
type unexpired struct {
	rules *Store
	rows  storage.RowReader
}

// Next implements storage.RowReader.
func (u *unexpired) Next() (e storage.Entry, ok bool, err error) {
	for {
		if e, ok, err = u.rows.Next(); !ok || err != nil || !u.rules.keyHasExpired(e.Key) {
			return e, ok, err
		}
	}
}
