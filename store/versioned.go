package store

import (
	"iter"
	"math"
	"time"
)

// ReadVersioned reads a store that keeps versions of its rows (KIP-889). Times have whole milliseconds. What ReadKeyValue says of
// goroutines, errors and iterators holds here too.
type ReadVersioned[K, V any] interface {
	// Get returns the latest version, ok false when there is none or it is a deletion.
	Get(key K) (v VersionRow[V], ok bool, err error)
	// AsOf returns the version that was valid at t. For a t that lies further back than the store's history there is none, unless the
	// latest version is that old.
	AsOf(key K, t time.Time) (v VersionRow[V], ok bool, err error)
	// History visits the versions of key that were valid somewhere in [from, to], deletions left out, by time.
	History(key K, from, to time.Time) iter.Seq2[VersionRow[V], error]
	// HistoryBackward is History in descending order.
	HistoryBackward(key K, from, to time.Time) iter.Seq2[VersionRow[V], error]
	// All visits the latest version of each row, deletions left out, by the bytes of the encoded key.
	All() iter.Seq2[Row[K, V], error]
}

// Versioned reads and writes a store that keeps versions of its rows.
type Versioned[K, V any] interface {
	ReadVersioned[K, V]
	// Put writes the version that begins at t. It returns until when the version is valid, the zero Time if it is the latest. kept is false,
	// and nothing is written, when t lies further back than the store's history, which a processor's task counts among the records it drops.
	Put(key K, v V, t time.Time) (validTo time.Time, kept bool, err error)
	// Delete writes a version without a value that begins at t, as Put does: the row is deleted from t on.
	Delete(key K, t time.Time) (validTo time.Time, kept bool, err error)
}

// VersionRow is a version of a row.
type VersionRow[V any] struct {
	Value V
	// From is when the version begins, and To when it ends: the first millisecond at which it is not valid, the zero Time for the latest.
	From, To time.Time
	// Headers are those of the record that the version came with, in stores made with KeepHeaders.
	Headers Headers
}

type versions[K, V any] struct {
	laid[K, V]
	rows VersionedBytes
}

func (s *versions[K, V]) Get(key K) (row VersionRow[V], ok bool, err error) {
	k, err := s.encode(key)
	if err != nil {
		return row, false, err
	}
	v, ok, err := s.rows.Get(k)
	return s.version(k, v, ok, err)
}

func (s *versions[K, V]) AsOf(key K, t time.Time) (row VersionRow[V], ok bool, err error) {
	k, err := s.encode(key)
	if err != nil {
		return row, false, err
	}
	v, ok, err := s.rows.AsOf(k, t.UnixMilli())
	return s.version(k, v, ok, err)
}

func (s *versions[K, V]) version(k []byte, v Version, ok bool, err error) (row VersionRow[V], _ bool, _ error) {
	if err != nil {
		return row, false, s.wrap("get", k, err)
	}
	if !ok {
		return row, false, nil
	}
	row.From, row.To, row.Headers = time.UnixMilli(v.From), endOf(v.To), v.Headers
	row.Value, err = s.decode(k, v.Value)
	return row, err == nil, err
}

// endOf is the end of a version's validity.
func endOf(ms int64) time.Time {
	if ms == math.MaxInt64 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func (s *versions[K, V]) Put(key K, v V, t time.Time) (validTo time.Time, kept bool, err error) {
	k, b, err := s.both(key, v)
	if err != nil {
		return validTo, false, err
	}
	return s.put("put", k, b, t)
}

func (s *versions[K, V]) Delete(key K, t time.Time) (validTo time.Time, kept bool, err error) {
	k, err := s.encode(key)
	if err != nil {
		return validTo, false, err
	}
	return s.put("delete", k, nil, t)
}

func (s *versions[K, V]) put(what string, k, b []byte, t time.Time) (validTo time.Time, kept bool, err error) {
	to, kept, err := s.rows.Put(k, b, t.UnixMilli())
	if err != nil {
		return validTo, false, s.wrap(what, k, err)
	}
	s.kept(kept)
	if !kept {
		return validTo, false, nil
	}
	return endOf(to), true, nil
}

func (s *versions[K, V]) History(key K, first, last time.Time) iter.Seq2[VersionRow[V], error] {
	return s.history(key, first, last, false)
}

func (s *versions[K, V]) HistoryBackward(key K, first, last time.Time) iter.Seq2[VersionRow[V], error] {
	return s.history(key, first, last, true)
}

func (s *versions[K, V]) history(key K, first, last time.Time, backward bool) iter.Seq2[VersionRow[V], error] {
	if s.err != nil {
		return failing[VersionRow[V]](s.err)
	}
	k, err := s.key.Fresh(key)
	if err != nil {
		return failing[VersionRow[V]](s.wrap("encode the key", nil, err))
	}
	return func(yield func(VersionRow[V], error) bool) {
		for v, err := range s.rows.History(k, from(first), last.UnixMilli(), backward) {
			row, _, err := s.version(k, v, err == nil, err)
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (s *versions[K, V]) All() iter.Seq2[Row[K, V], error] {
	if s.err != nil {
		return failing[Row[K, V]](s.err)
	}
	return func(yield func(Row[K, V], error) bool) {
		for e, err := range s.rows.Latest() {
			row, err := s.latest(e, err)
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (s *versions[K, V]) latest(e Entry, err error) (row Row[K, V], _ error) {
	if err != nil {
		return row, s.wrap("scan", e.Key, err)
	}
	if row.Key, err = s.key.Decode(e.Key); err != nil {
		return row, s.wrap("decode the key", e.Key, err)
	}
	row.Value, err = s.decode(e.Key, e.Value)
	row.Time, row.Headers = moment(e.Time), e.Headers
	return row, err
}
