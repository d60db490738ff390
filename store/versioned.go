package store

import (
	"iter"
	"math"
	"time"

	"github.com/millstream-go/millstream/internal/storage"
)

// ReadVersioned reads a store with versions of its rows (KIP-889). Times have whole milliseconds.
// Goroutines, errors and iterators are as with ReadKeyValue.
type ReadVersioned[K, V any] interface {
	// Get returns the latest version. ok is false when there is none or it is a deletion.
	Get(key K) (v VersionRow[V], ok bool, err error)
	// AsOf returns the version that was valid at t. For a t before the store's history ok is false,
	// unless the latest version is that old.
	AsOf(key K, t time.Time) (v VersionRow[V], ok bool, err error)
	// History visits the versions of key that were valid at some time in [from, to], by time, and
	// leaves out deletions. The zero Time at either end is no bound.
	History(key K, from, to time.Time) iter.Seq2[VersionRow[V], error]
	// HistoryBackward is History in descending order.
	HistoryBackward(key K, from, to time.Time) iter.Seq2[VersionRow[V], error]
	// All visits the latest version of each row, by the bytes of the encoded key, and leaves out
	// deletions.
	All() iter.Seq2[Row[K, V], error]
}

// Versioned reads and writes a store with versions of its rows.
type Versioned[K, V any] interface {
	ReadVersioned[K, V]
	// Put writes the version that begins at t. It returns the end of the version's validity, the zero
	// Time if it is the latest. written is false, and nothing changes, when t lies before the store's
	// history; the task of a processor counts that among the dropped records.
	Put(key K, v V, t time.Time) (validTo time.Time, written bool, err error)
	// Delete deletes the row from t on. It writes a version without a value, as Put does.
	Delete(key K, t time.Time) (validTo time.Time, written bool, err error)
}

// VersionRow is a version of a row.
type VersionRow[V any] struct {
	Value V
	// The version is valid from From until the last millisecond before To. To is the zero Time for the
	// latest version.
	From, To time.Time
	// Headers are those of the record that made the version, in stores with KeepHeaders.
	Headers Headers
}

type versionedStore[K, V any] struct {
	segmented[K, V]
	rows storage.VersionedBytes
}

func (s *versionedStore[K, V]) Get(key K) (row VersionRow[V], ok bool, err error) {
	k, err := s.encode(key)
	if err != nil {
		return row, false, err
	}
	v, ok, err := s.rows.Get(k)
	return s.version(k, v, ok, err)
}

func (s *versionedStore[K, V]) AsOf(key K, t time.Time) (row VersionRow[V], ok bool, err error) {
	k, err := s.encode(key)
	if err != nil {
		return row, false, err
	}
	v, ok, err := s.rows.AsOf(k, t.UnixMilli())
	return s.version(k, v, ok, err)
}

// version decodes what a read of key k found.
func (s *versionedStore[K, V]) version(
	k []byte, v storage.Version, ok bool, err error,
) (row VersionRow[V], _ bool, _ error) {
	if err != nil {
		return row, false, s.wrap("get", k, err)
	}
	if !ok {
		return row, false, nil
	}
	row.From, row.To, row.Headers = time.UnixMilli(v.From), validToTime(v.To), v.Headers
	row.Value, err = s.decode(k, v.Value)
	return row, err == nil, err
}

// validToTime returns the end of a version's validity as users see it.
func validToTime(ms int64) time.Time {
	if ms == math.MaxInt64 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func (s *versionedStore[K, V]) Put(key K, v V, t time.Time) (validTo time.Time, written bool, err error) {
	k, b, err := s.encodeRow(key, v, t)
	if err != nil {
		return validTo, false, err
	}
	return s.put("put", k, b, t)
}

func (s *versionedStore[K, V]) Delete(key K, t time.Time) (validTo time.Time, written bool, err error) {
	k, err := s.encode(key)
	if err == nil {
		err = s.checkTimes(k, t)
	}
	if err != nil {
		return validTo, false, err
	}
	return s.put("delete", k, nil, t)
}

func (s *versionedStore[K, V]) put(what string, k, b []byte, t time.Time) (validTo time.Time, written bool, err error) {
	to, written, err := s.rows.Put(k, b, t.UnixMilli())
	if err != nil {
		return validTo, false, s.wrap(what, k, err)
	}
	s.countExpired(written)
	if !written {
		return validTo, false, nil
	}
	return validToTime(to), true, nil
}

func (s *versionedStore[K, V]) History(key K, first, last time.Time) iter.Seq2[VersionRow[V], error] {
	return s.history(key, first, last, false)
}

func (s *versionedStore[K, V]) HistoryBackward(key K, first, last time.Time) iter.Seq2[VersionRow[V], error] {
	return s.history(key, first, last, true)
}

func (s *versionedStore[K, V]) history(key K, first, last time.Time, backward bool) iter.Seq2[VersionRow[V], error] {
	if s.err != nil {
		return errorSeq[VersionRow[V]](s.err)
	}
	k, err := s.key.EncodeNew(key)
	if err != nil {
		return errorSeq[VersionRow[V]](s.wrap("encode the key", nil, err))
	}
	return func(yield func(VersionRow[V], error) bool) {
		for v, err := range s.rows.History(k, ceilMillis(first), floorMillis(last), backward) {
			row, _, err := s.version(k, v, err == nil, err)
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (s *versionedStore[K, V]) All() iter.Seq2[Row[K, V], error] {
	if s.err != nil {
		return errorSeq[Row[K, V]](s.err)
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

func (s *versionedStore[K, V]) latest(e storage.Entry, err error) (row Row[K, V], _ error) {
	if err != nil {
		return row, s.wrap("scan", e.Key, err)
	}
	if row.Key, err = s.key.Decode(e.Key); err != nil {
		return row, s.wrap("decode the key", e.Key, err)
	}
	row.Value, err = s.decode(e.Key, e.Value)
	row.Time, row.Headers = rowTime(e.Time), e.Headers
	return row, err
}
