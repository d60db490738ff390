package store

import (
	"iter"
	"time"
)

// ReadWindow reads a store of rows that have a key and the start of a window. Times have whole milliseconds; ranges of them include both
// ends. Rows that have expired are not seen. What ReadKeyValue says of goroutines, errors and iterators holds here too.
type ReadWindow[K, V any] interface {
	// Get returns the row of key whose window begins at start: the last one put in a store that keeps duplicates.
	Get(key K, start time.Time) (v V, ok bool, err error)
	// Fetch visits the rows of key whose windows begin in [from, to], by start and then in the order they were put.
	Fetch(key K, from, to time.Time) iter.Seq2[WindowRow[K, V], error]
	// Backward is Fetch in descending order.
	Backward(key K, from, to time.Time) iter.Seq2[WindowRow[K, V], error]
	// All visits the rows of all keys whose windows begin in [from, to], by the bytes of the encoded key and then as Fetch does.
	All(from, to time.Time) iter.Seq2[WindowRow[K, V], error]
}

// Window reads and writes a store of rows that have a key and the start of a window.
type Window[K, V any] interface {
	ReadWindow[K, V]
	// Put writes a row; a store that keeps duplicates adds one. A row that has expired already is not kept, which a processor's task counts
	// among the records it drops.
	Put(key K, start time.Time, v V) error
	// Delete removes the row, all of them in a store that keeps duplicates.
	Delete(key K, start time.Time) error
}

// ReadSession reads a store of rows that have a key, a start and an inclusive end. What ReadWindow says holds here too.
type ReadSession[K, V any] interface {
	// Get returns the row of the session.
	Get(key K, start, end time.Time) (v V, ok bool, err error)
	// Find visits the sessions of key that end at endFrom or later and start at startTo or earlier, by end and then by start: those that
	// overlap [endFrom, startTo].
	Find(key K, endFrom, startTo time.Time) iter.Seq2[WindowRow[K, V], error]
	// Backward is Find in descending order.
	Backward(key K, endFrom, startTo time.Time) iter.Seq2[WindowRow[K, V], error]
	// All visits the sessions of all keys with such ends and starts, by the bytes of the encoded key and then as Find does.
	All(endFrom, startTo time.Time) iter.Seq2[WindowRow[K, V], error]
}

// Session reads and writes a store of rows that have a key, a start and an inclusive end.
type Session[K, V any] interface {
	ReadSession[K, V]
	// Put writes a row. A row that has expired already is not kept, which a processor's task counts among the records it drops.
	Put(key K, start, end time.Time, v V) error
	// Delete removes the row of the session.
	Delete(key K, start, end time.Time) error
}

// WindowRow is a row of a window or session store.
type WindowRow[K, V any] struct {
	Key K
	// Start is that of the window or session. End is Start plus the size of the store's windows, or a session's inclusive end.
	Start, End time.Time
	Value      V
	// Time is that of the record that last changed the row; of sessions it is End.
	Time time.Time
	// Headers are those of the record that last changed the row, in stores made with KeepHeaders.
	Headers Headers
}

type windows[K, V any] struct {
	laid[K, V]
	rows WindowBytes
}

func (s *windows[K, V]) Get(key K, start time.Time) (v V, ok bool, err error) {
	k, err := s.encode(key)
	if err != nil {
		return v, false, err
	}
	b, _, ok, err := s.rows.Get(k, start.UnixMilli())
	if err != nil {
		return v, false, s.wrap("get", k, err)
	}
	if !ok {
		return v, false, nil
	}
	v, err = s.decode(k, b)
	return v, err == nil, err
}

func (s *windows[K, V]) Put(key K, start time.Time, v V) error {
	k, b, err := s.both(key, v)
	if err != nil {
		return err
	}
	kept, err := s.rows.Put(k, start.UnixMilli(), b, s.now())
	if err != nil {
		return s.wrap("put", k, err)
	}
	s.kept(kept)
	return nil
}

func (s *windows[K, V]) Delete(key K, start time.Time) error {
	k, err := s.encode(key)
	if err != nil {
		return err
	}
	if err := s.rows.Delete(k, start.UnixMilli(), s.now()); err != nil {
		return s.wrap("delete", k, err)
	}
	return nil
}

func (s *windows[K, V]) Fetch(key K, first, last time.Time) iter.Seq2[WindowRow[K, V], error] {
	return s.fetch(key, first, last, false)
}

func (s *windows[K, V]) Backward(key K, first, last time.Time) iter.Seq2[WindowRow[K, V], error] {
	return s.fetch(key, first, last, true)
}

func (s *windows[K, V]) fetch(key K, first, last time.Time, backward bool) iter.Seq2[WindowRow[K, V], error] {
	return s.ofKey(key, func(k []byte) iter.Seq2[WindowEntry, error] {
		return s.rows.Fetch(k, from(first), last.UnixMilli(), backward)
	})
}

func (s *windows[K, V]) All(first, last time.Time) iter.Seq2[WindowRow[K, V], error] {
	return s.visit(func() iter.Seq2[WindowEntry, error] { return s.rows.All(from(first), last.UnixMilli()) })
}

type sessions[K, V any] struct {
	laid[K, V]
	rows SessionBytes
}

func (s *sessions[K, V]) Get(key K, start, end time.Time) (v V, ok bool, err error) {
	k, err := s.encode(key)
	if err != nil {
		return v, false, err
	}
	b, ok, err := s.rows.Get(k, start.UnixMilli(), end.UnixMilli())
	if err != nil {
		return v, false, s.wrap("get", k, err)
	}
	if !ok {
		return v, false, nil
	}
	v, err = s.decode(k, b)
	return v, err == nil, err
}

func (s *sessions[K, V]) Put(key K, start, end time.Time, v V) error {
	k, b, err := s.both(key, v)
	if err != nil {
		return err
	}
	kept, err := s.rows.Put(k, start.UnixMilli(), end.UnixMilli(), b, s.now())
	if err != nil {
		return s.wrap("put", k, err)
	}
	s.kept(kept)
	return nil
}

func (s *sessions[K, V]) Delete(key K, start, end time.Time) error {
	k, err := s.encode(key)
	if err != nil {
		return err
	}
	if err := s.rows.Delete(k, start.UnixMilli(), end.UnixMilli(), s.now()); err != nil {
		return s.wrap("delete", k, err)
	}
	return nil
}

func (s *sessions[K, V]) Find(key K, endFrom, startTo time.Time) iter.Seq2[WindowRow[K, V], error] {
	return s.find(key, endFrom, startTo, false)
}

func (s *sessions[K, V]) Backward(key K, endFrom, startTo time.Time) iter.Seq2[WindowRow[K, V], error] {
	return s.find(key, endFrom, startTo, true)
}

func (s *sessions[K, V]) find(key K, endFrom, startTo time.Time, backward bool) iter.Seq2[WindowRow[K, V], error] {
	return s.ofKey(key, func(k []byte) iter.Seq2[WindowEntry, error] {
		return s.rows.Find(k, from(endFrom), startTo.UnixMilli(), backward)
	})
}

func (s *sessions[K, V]) All(endFrom, startTo time.Time) iter.Seq2[WindowRow[K, V], error] {
	return s.visit(func() iter.Seq2[WindowEntry, error] { return s.rows.All(from(endFrom), startTo.UnixMilli()) })
}

// ofKey visits rows of a key, which is encoded in memory of its own: the scan outlives other calls, which use the buffer.
func (s *laid[K, V]) ofKey(key K, scan func(k []byte) iter.Seq2[WindowEntry, error]) iter.Seq2[WindowRow[K, V], error] {
	if s.err != nil {
		return failing[WindowRow[K, V]](s.err)
	}
	k, err := s.key.Fresh(key)
	if err != nil {
		return failing[WindowRow[K, V]](s.wrap("encode the key", nil, err))
	}
	return s.visit(func() iter.Seq2[WindowEntry, error] { return scan(k) })
}

// visit decodes rows as they are visited.
func (s *laid[K, V]) visit(scan func() iter.Seq2[WindowEntry, error]) iter.Seq2[WindowRow[K, V], error] {
	if s.err != nil {
		return failing[WindowRow[K, V]](s.err)
	}
	return func(yield func(WindowRow[K, V], error) bool) {
		for e, err := range scan() {
			row, err := s.row(e, err)
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (s *laid[K, V]) row(e WindowEntry, err error) (row WindowRow[K, V], _ error) {
	if err != nil {
		return row, s.wrap("scan", e.Key, err)
	}
	if row.Key, err = s.key.Decode(e.Key); err != nil {
		return row, s.wrap("decode the key", e.Key, err)
	}
	if row.Value, err = s.decode(e.Key, e.Value); err != nil {
		return row, err
	}
	row.Start, row.End, row.Time = time.UnixMilli(e.Start), time.UnixMilli(e.End), moment(e.Time)
	row.Headers = e.Headers
	return row, nil
}

func failing[R any](err error) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var none R
		yield(none, err)
	}
}
