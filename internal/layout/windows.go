package layout

import (
	"iter"
	"math"

	"github.com/millstream-go/millstream/store"
)

// windows implements store.WindowBytes.
type windows struct{ view }

// Get implements store.WindowBytes.
func (w *windows) Get(key []byte, start int64) (value []byte, time int64, ok bool, err error) {
	if key == nil {
		return nil, 0, false, store.ErrNilKey
	}
	if w.dups {
		return w.last(key, start)
	}
	if w.unseen(start) {
		return nil, 0, false, nil
	}
	w.key = w.shape.appendRow(w.key[:0], row{key: key, start: start})
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

// Put implements store.WindowBytes.
func (w *windows) Put(key []byte, start int64, value []byte, time int64) (kept bool, err error) {
	l, err := w.home(key)
	if err != nil {
		return false, err
	}
	return l.put(row{key: key, start: start}, value, time)
}

// Delete implements store.WindowBytes.
func (w *windows) Delete(key []byte, start, time int64) error {
	l, err := w.home(key)
	if err != nil {
		return err
	}
	if !w.dups {
		return l.delete(row{key: key, start: start}, time)
	}
	s := w.enter()
	defer w.leave(s)
	for e, err := range s.segment(l, key, start, start, false) {
		if err != nil {
			return err
		}
		r := row{key: s.key}
		w.shape.readTail(&r, e.Key[len(e.Key)-w.shape.tailLen():])
		if err := l.delete(r, time); err != nil {
			return err
		}
	}
	return nil // what deletes nothing is not in the changelog, and moves no time that a restore would not know
}

// Fetch implements store.WindowBytes.
func (w *windows) Fetch(key []byte, from, to int64, backward bool) iter.Seq2[store.WindowEntry, error] {
	return w.fetch(key, from, to, math.MaxInt64, backward)
}

// Visit implements store.WindowBytes.
func (w *windows) Visit(key []byte, from, to int64, f func(store.WindowEntry, error) bool) {
	w.visit(key, from, to, math.MaxInt64, false, f)
}

// All implements store.WindowBytes.
func (w *windows) All(from, to int64) iter.Seq2[store.WindowEntry, error] {
	return w.all(from, to, math.MaxInt64)
}

// ByTime implements store.WindowBytes.
func (w *windows) ByTime(from, to int64) iter.Seq2[store.WindowEntry, error] {
	return w.byTime(from, to)
}

// sessions implements store.SessionBytes.
type sessions struct{ view }

// Get implements store.SessionBytes.
func (s *sessions) Get(key []byte, start, end int64) (value []byte, ok bool, err error) {
	if key == nil {
		return nil, false, store.ErrNilKey
	}
	if s.unseen(end) {
		return nil, false, nil
	}
	s.key = s.shape.appendRow(s.key[:0], row{key: key, start: start, end: end})
	value, _, ok, err = s.rows.Get(s.key)
	return value, ok, err
}

// Put implements store.SessionBytes.
func (s *sessions) Put(key []byte, start, end int64, value []byte, time int64) (kept bool, err error) {
	l, err := s.home(key)
	if err != nil {
		return false, err
	}
	return l.put(row{key: key, start: start, end: end}, value, time)
}

// Delete implements store.SessionBytes.
func (s *sessions) Delete(key []byte, start, end, time int64) error {
	l, err := s.home(key)
	if err != nil {
		return err
	}
	return l.delete(row{key: key, start: start, end: end}, time)
}

// Find implements store.SessionBytes.
func (s *sessions) Find(key []byte, endFrom, startTo int64, backward bool) iter.Seq2[store.WindowEntry, error] {
	return s.fetch(key, endFrom, math.MaxInt64, startTo, backward)
}

// All implements store.SessionBytes.
func (s *sessions) All(endFrom, startTo int64) iter.Seq2[store.WindowEntry, error] {
	return s.all(endFrom, math.MaxInt64, startTo)
}

// ByTime implements store.SessionBytes.
func (s *sessions) ByTime(from, to int64) iter.Seq2[store.WindowEntry, error] {
	return s.byTime(from, to)
}
