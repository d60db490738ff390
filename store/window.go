package store

import (
	"iter"
	"time"

	"github.com/millstream-go/millstream/internal/storage"
)

// ReadWindow reads a store of rows that have a key and the start of a window. Times have whole
// milliseconds. Ranges of times include both ends; the zero Time at either end is no bound, and a
// range that ends before it begins is empty. Reads do not see expired rows. The order of keys,
// goroutines, errors and iterators are as with ReadKeyValue.
type ReadWindow[K, V any] interface {
	// Get returns the row of key whose window begins at start. In a store with Duplicates it is the
	// last one put.
	Get(key K, start time.Time) (v V, ok bool, err error)
	// Fetch visits the rows of key whose windows begin in [from, to], by start and then in the order
	// they were put.
	Fetch(key K, from, to time.Time) iter.Seq2[WindowRow[K, V], error]
	// Backward is Fetch in descending order.
	Backward(key K, from, to time.Time) iter.Seq2[WindowRow[K, V], error]
	// All visits the rows of all keys, or of those within bounds, whose windows begin in [from, to],
	// by the bytes of the encoded key and then as Fetch does. Bounds are as in ReadKeyValue.Range.
	All(from, to time.Time, bounds ...Bound[K]) iter.Seq2[WindowRow[K, V], error]
	// AllBackward is All in descending order.
	AllBackward(from, to time.Time, bounds ...Bound[K]) iter.Seq2[WindowRow[K, V], error]
}

// Window reads and writes a store of rows that have a key and the start of a window.
type Window[K, V any] interface {
	ReadWindow[K, V]
	// Put writes a row. In a store with Duplicates it adds one. A row that has expired is not written;
	// the task of a processor counts it among the dropped records.
	Put(key K, start time.Time, v V) error
	// Delete removes the row. In a store with Duplicates it removes all rows of key and start.
	Delete(key K, start time.Time) error
}

// ReadSession reads a store of rows that have a key, a start and an inclusive end. Times, ranges
// and expired rows are as with ReadWindow.
type ReadSession[K, V any] interface {
	// Get returns the row of the session.
	Get(key K, start, end time.Time) (v V, ok bool, err error)
	// Find visits the sessions of key that end at endFrom or later and start at startTo or earlier, by
	// end and then by start. These are the sessions that overlap [endFrom, startTo]; when endFrom is
	// the later one, those that contain both times.
	Find(key K, endFrom, startTo time.Time) iter.Seq2[WindowRow[K, V], error]
	// Backward is Find in descending order.
	Backward(key K, endFrom, startTo time.Time) iter.Seq2[WindowRow[K, V], error]
	// Fetch visits all sessions of key, by end and then by start.
	Fetch(key K) iter.Seq2[WindowRow[K, V], error]
	// FetchBackward is Fetch in descending order.
	FetchBackward(key K) iter.Seq2[WindowRow[K, V], error]
	// All visits the sessions with such ends and starts of all keys, or of those within bounds, by the
	// bytes of the encoded key and then as Find does. Bounds are as in ReadKeyValue.Range.
	All(endFrom, startTo time.Time, bounds ...Bound[K]) iter.Seq2[WindowRow[K, V], error]
	// AllBackward is All in descending order.
	AllBackward(endFrom, startTo time.Time, bounds ...Bound[K]) iter.Seq2[WindowRow[K, V], error]
}

// Session reads and writes a store of rows that have a key, a start and an inclusive end.
type Session[K, V any] interface {
	ReadSession[K, V]
	// Put writes a row. A row that has expired is not written; the task of a processor counts it among
	// the dropped records.
	Put(key K, start, end time.Time, v V) error
	// Delete removes the row of the session.
	Delete(key K, start, end time.Time) error
}

// WindowRow is a row of a window or session store.
type WindowRow[K, V any] struct {
	Key K
	// Start is that of the window or session. End is Start plus the size of the store's windows, or a
	// session's inclusive end.
	Start, End time.Time
	Value      V
	// Time is that of the record that last changed the row; of sessions it is End.
	Time time.Time
	// Headers are those of the record that last changed the row, in stores with KeepHeaders.
	Headers Headers
}

type windowStore[K, V any] struct {
	segmented[K, V]
	rows storage.WindowBytes
}

func (s *windowStore[K, V]) Get(key K, start time.Time) (v V, ok bool, err error) {
	k, err := s.encode(key)
	if err != nil {
		return v, false, err
	}
	b, _, ok, err := s.rows.Get(k, start.UnixMilli())
	return s.decodeRow(k, b, ok, err)
}

func (s *windowStore[K, V]) Put(key K, start time.Time, v V) error {
	k, b, err := s.encodeRow(key, v, start)
	if err != nil {
		return err
	}
	written, err := s.rows.Put(k, start.UnixMilli(), b, s.writeTime())
	return s.putResult(k, written, err)
}

func (s *windowStore[K, V]) Delete(key K, start time.Time) error {
	k, err := s.encode(key)
	if err != nil {
		return err
	}
	if err := s.rows.Delete(k, start.UnixMilli(), s.writeTime()); err != nil {
		return s.wrap("delete", k, err)
	}
	return nil
}

func (s *windowStore[K, V]) Fetch(key K, first, last time.Time) iter.Seq2[WindowRow[K, V], error] {
	return s.fetch(key, first, last, false)
}

func (s *windowStore[K, V]) Backward(key K, first, last time.Time) iter.Seq2[WindowRow[K, V], error] {
	return s.fetch(key, first, last, true)
}

func (s *windowStore[K, V]) fetch(key K, first, last time.Time, backward bool) iter.Seq2[WindowRow[K, V], error] {
	return s.ofKey(key, func(k []byte) iter.Seq2[storage.WindowEntry, error] {
		return s.rows.Fetch(k, ceilMillis(first), floorMillis(last), backward)
	})
}

func (s *windowStore[K, V]) All(first, last time.Time, bounds ...Bound[K]) iter.Seq2[WindowRow[K, V], error] {
	return s.ofKeys(bounds, false, func(keys storage.Range) iter.Seq2[storage.WindowEntry, error] {
		return s.rows.All(keys, ceilMillis(first), floorMillis(last))
	})
}

func (s *windowStore[K, V]) AllBackward(first, last time.Time, bounds ...Bound[K]) iter.Seq2[WindowRow[K, V], error] {
	return s.ofKeys(bounds, true, func(keys storage.Range) iter.Seq2[storage.WindowEntry, error] {
		return s.rows.All(keys, ceilMillis(first), floorMillis(last))
	})
}

type sessionStore[K, V any] struct {
	segmented[K, V]
	rows storage.SessionBytes
}

func (s *sessionStore[K, V]) Get(key K, start, end time.Time) (v V, ok bool, err error) {
	k, err := s.encode(key)
	if err != nil {
		return v, false, err
	}
	b, ok, err := s.rows.Get(k, start.UnixMilli(), end.UnixMilli())
	return s.decodeRow(k, b, ok, err)
}

func (s *sessionStore[K, V]) Put(key K, start, end time.Time, v V) error {
	k, b, err := s.encodeRow(key, v, start, end)
	if err != nil {
		return err
	}
	written, err := s.rows.Put(k, start.UnixMilli(), end.UnixMilli(), b, s.writeTime())
	return s.putResult(k, written, err)
}

func (s *sessionStore[K, V]) Delete(key K, start, end time.Time) error {
	k, err := s.encode(key)
	if err != nil {
		return err
	}
	if err := s.rows.Delete(k, start.UnixMilli(), end.UnixMilli(), s.writeTime()); err != nil {
		return s.wrap("delete", k, err)
	}
	return nil
}

func (s *sessionStore[K, V]) Find(key K, endFrom, startTo time.Time) iter.Seq2[WindowRow[K, V], error] {
	return s.find(key, endFrom, startTo, false)
}

func (s *sessionStore[K, V]) Backward(key K, endFrom, startTo time.Time) iter.Seq2[WindowRow[K, V], error] {
	return s.find(key, endFrom, startTo, true)
}

func (s *sessionStore[K, V]) find(key K, endFrom, startTo time.Time, backward bool) iter.Seq2[WindowRow[K, V], error] {
	return s.ofKey(key, func(k []byte) iter.Seq2[storage.WindowEntry, error] {
		return s.rows.Find(k, ceilMillis(endFrom), floorMillis(startTo), backward)
	})
}

func (s *sessionStore[K, V]) Fetch(key K) iter.Seq2[WindowRow[K, V], error] {
	return s.find(key, time.Time{}, time.Time{}, false)
}

func (s *sessionStore[K, V]) FetchBackward(key K) iter.Seq2[WindowRow[K, V], error] {
	return s.find(key, time.Time{}, time.Time{}, true)
}

func (s *sessionStore[K, V]) All(endFrom, startTo time.Time, bounds ...Bound[K]) iter.Seq2[WindowRow[K, V], error] {
	return s.ofKeys(bounds, false, func(keys storage.Range) iter.Seq2[storage.WindowEntry, error] {
		return s.rows.All(keys, ceilMillis(endFrom), floorMillis(startTo))
	})
}

func (s *sessionStore[K, V]) AllBackward(
	endFrom, startTo time.Time, bounds ...Bound[K],
) iter.Seq2[WindowRow[K, V], error] {
	return s.ofKeys(bounds, true, func(keys storage.Range) iter.Seq2[storage.WindowEntry, error] {
		return s.rows.All(keys, ceilMillis(endFrom), floorMillis(startTo))
	})
}

// ofKey visits rows of a key. The key is encoded to new memory: other calls use the codec's buffer
// during the scan.
func (s *segmented[K, V]) ofKey(
	key K, scan func(k []byte) iter.Seq2[storage.WindowEntry, error],
) iter.Seq2[WindowRow[K, V], error] {
	if s.err != nil {
		return errorSeq[WindowRow[K, V]](s.err)
	}
	k, err := s.key.EncodeNew(key)
	if err != nil {
		return errorSeq[WindowRow[K, V]](s.wrap("encode the key", nil, err))
	}
	return s.visit(func() iter.Seq2[storage.WindowEntry, error] { return scan(k) })
}

// ofKeys visits rows of a range of keys.
func (s *segmented[K, V]) ofKeys(
	bounds []Bound[K], backward bool, scan func(keys storage.Range) iter.Seq2[storage.WindowEntry, error],
) iter.Seq2[WindowRow[K, V], error] {
	if s.err != nil {
		return errorSeq[WindowRow[K, V]](s.err)
	}
	keys, err := keyRange(s.key, bounds, backward)
	if err != nil {
		return errorSeq[WindowRow[K, V]](s.wrapOpen(err))
	}
	return s.visit(func() iter.Seq2[storage.WindowEntry, error] { return scan(keys) })
}

// visit decodes rows while they are visited.
func (s *segmented[K, V]) visit(scan func() iter.Seq2[storage.WindowEntry, error]) iter.Seq2[WindowRow[K, V], error] {
	if s.err != nil {
		return errorSeq[WindowRow[K, V]](s.err)
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

func (s *segmented[K, V]) row(e storage.WindowEntry, err error) (row WindowRow[K, V], _ error) {
	if err != nil {
		return row, s.wrap("scan", e.Key, err)
	}
	if row.Key, err = s.key.Decode(e.Key); err != nil {
		return row, s.wrap("decode the key", e.Key, err)
	}
	if row.Value, err = s.decode(e.Key, e.Value); err != nil {
		return row, err
	}
	row.Start, row.End, row.Time = time.UnixMilli(e.Start), time.UnixMilli(e.End), rowTime(e.Time)
	row.Headers = e.Headers
	return row, nil
}

// errorSeq returns an iterator that yields only an error.
func errorSeq[R any](err error) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var none R
		yield(none, err)
	}
}
