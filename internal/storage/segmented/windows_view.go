package segmented

import (
	"iter"
	"math"

	"github.com/millstream-go/millstream/internal/storage"
)

// windows implements storage.WindowBytes.
type windows struct{ view }

// Get implements storage.WindowBytes.
func (w *windows) Get(key []byte, start int64) (value []byte, time int64, ok bool, err error) {
	if key == nil {
		return nil, 0, false, storage.ErrNilKey
	}
	if w.duplicates {
		return w.last(key, start)
	}
	if w.hiddenFromReads(start) {
		return nil, 0, false, nil
	}
	w.key = w.shape.appendRowKey(w.key[:0], row{key: key, start: start})
	return w.rows.Get(w.key)
}

// last returns the row that was put last for key and start.
func (w *windows) last(key []byte, start int64) (value []byte, time int64, ok bool, err error) {
	for e, err := range w.Fetch(key, start, start, true) {
		if err != nil {
			return nil, 0, false, err
		}
		w.value = append(append(w.value[:0], 0), e.Value...)
		return w.value[1:], e.Time, true, nil // not nil when it is empty
	}
	return nil, 0, false, nil
}

// Put implements storage.WindowBytes.
func (w *windows) Put(key []byte, start int64, value []byte, time int64) (written bool, err error) {
	partition, err := w.partitionOf(key)
	if err != nil {
		return false, err
	}
	return partition.put(row{key: key, start: start}, value, time)
}

// Delete implements storage.WindowBytes.
func (w *windows) Delete(key []byte, start, time int64) error {
	partition, err := w.partitionOf(key)
	if err != nil {
		return err
	}
	if !w.duplicates {
		return partition.delete(row{key: key, start: start}, time)
	}
	sc := w.acquireScan()
	defer w.releaseScan(sc)
	for e, err := range sc.segment(partition, key, start, start, false) {
		if err != nil {
			return err
		}
		if len(e.Key) != len(sc.to) {
			return badKey(e.Key)
		}
		r := row{key: sc.key}
		w.shape.readTail(&r, e.Key[len(e.Key)-w.shape.tailLen():])
		if err := partition.delete(r, time); err != nil {
			return err
		}
	}
	// A delete of no row sends nothing to the changelog. So it must not raise the observed time
	// either: a restore would not know.
	return nil
}

// Fetch implements storage.WindowBytes.
func (w *windows) Fetch(key []byte, from, to int64, backward bool) iter.Seq2[storage.WindowEntry, error] {
	return w.fetch(key, from, to, math.MaxInt64, backward)
}

// Visit implements storage.WindowBytes.
func (w *windows) Visit(key []byte, from, to int64, f func(storage.WindowEntry, error) bool) {
	w.visit(key, from, to, math.MaxInt64, false, f)
}

// All implements storage.WindowBytes.
func (w *windows) All(keys storage.Range, from, to int64) iter.Seq2[storage.WindowEntry, error] {
	return w.scanKeys(keys, from, to, math.MaxInt64)
}

// ByTime implements storage.WindowBytes.
func (w *windows) ByTime(from, to int64) iter.Seq2[storage.WindowEntry, error] {
	return w.byTime(from, to)
}

// sessions implements storage.SessionBytes.
type sessions struct{ view }

// Get implements storage.SessionBytes.
func (s *sessions) Get(key []byte, start, end int64) (value []byte, ok bool, err error) {
	if key == nil {
		return nil, false, storage.ErrNilKey
	}
	if s.hiddenFromReads(end) {
		return nil, false, nil
	}
	s.key = s.shape.appendRowKey(s.key[:0], row{key: key, start: start, end: end})
	value, _, ok, err = s.rows.Get(s.key)
	return value, ok, err
}

// Put implements storage.SessionBytes.
func (s *sessions) Put(key []byte, start, end int64, value []byte, time int64) (written bool, err error) {
	partition, err := s.partitionOf(key)
	if err != nil {
		return false, err
	}
	return partition.put(row{key: key, start: start, end: end}, value, time)
}

// Delete implements storage.SessionBytes.
func (s *sessions) Delete(key []byte, start, end, time int64) error {
	partition, err := s.partitionOf(key)
	if err != nil {
		return err
	}
	return partition.delete(row{key: key, start: start, end: end}, time)
}

// Find implements storage.SessionBytes.
func (s *sessions) Find(key []byte, endFrom, startTo int64, backward bool) iter.Seq2[storage.WindowEntry, error] {
	return s.fetch(key, endFrom, math.MaxInt64, startTo, backward)
}

// All implements storage.SessionBytes.
func (s *sessions) All(keys storage.Range, endFrom, startTo int64) iter.Seq2[storage.WindowEntry, error] {
	return s.scanKeys(keys, endFrom, math.MaxInt64, startTo)
}

// ByTime implements storage.SessionBytes.
func (s *sessions) ByTime(from, to int64) iter.Seq2[storage.WindowEntry, error] {
	return s.byTime(from, to)
}
