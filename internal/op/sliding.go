package op

import (
	"slices"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/topology"
)

// SlidingWindows folds records in windows [s, s+Size], both ends included, of which a record at t has two: its left window ends at t, its
// right window begins at t+1 and is there once a later record lies in it. Windows that would begin before 0 are one: [0, Size]. A row's
// time is that of the newest record in its window, which is how a record finds the one before it.
//
// The order in which windows are visited and made is that of Kafka Streams (KStreamSlidingWindowAggregate), as it is the order of
// what is sent.
type SlidingWindows[K, V, A any] struct {
	Windows[K, V, A]

	at slide[K, V, A]
	// Made once: a loop's body would be a new closure for each record.
	visitUsual, visitEarly func(store.WindowEntry, error) bool
}

// slide is what a record finds among the windows of its key.
type slide[K, V, A any] struct {
	r        topology.Record[K, V]
	time     int64
	starts   []int64 // of the windows that were visited
	before   A       // what the nearest window that ends before the record holds
	last     int64   // the time of the record before, none where there is none
	left     bool    // the window that ends at the record is there
	right    bool    // the window that begins right after it is there
	done     bool    // there is nothing more to make
	later    kept    // what goes into the right window
	combined kept    // the window [0, Size]
	err      error
}

// begin is for the next record. Its buffers remain.
func (s *slide[K, V, A]) begin(r topology.Record[K, V], at int64) {
	var nothing A
	s.r, s.time, s.starts, s.before, s.last = r, at, s.starts[:0], nothing, none
	s.left, s.right, s.done, s.err = false, false, false, nil
	s.later.there, s.combined.there = false, false
}

// kept is a row's value and time, apart from the store: they are what they were before the row was folded into.
type kept struct {
	there bool
	raw   []byte
	at    int64
}

func (k *kept) take(e store.WindowEntry) {
	k.there, k.raw, k.at = true, append(k.raw[:0], e.Value...), e.Time
}

// See moves stream time to a record that is not folded, and sends what that closes.
func (w *SlidingWindows[K, V, A]) See(r topology.Record[K, V]) error {
	before := w.see(r.Time.UnixMilli())
	if !w.OnClose || before == *w.Time {
		return nil
	}
	from := int64(0)
	if before >= 0 {
		from = w.lastClosed(before) + 1
	}
	if to := w.lastClosed(*w.Time); w.closing.due(from, to) {
		return w.flush(r, from, to)
	}
	return nil
}

// Closes says whether a record at a time would close a window that was not.
func (w *SlidingWindows[K, V, A]) Closes(at int64) bool {
	return w.closes(at, w.lastClosed(*w.Time)+1, w.lastClosed(at), w.Rows.store.ByTime)
}

// lastClosed is the start of the last window that is closed at a stream time: ends belong to windows.
func (w *SlidingWindows[K, V, A]) lastClosed(now int64) int64 { return now - w.Grace - w.Size - 1 }

// Record folds r into its windows, those that are not closed.
func (w *SlidingWindows[K, V, A]) Record(r topology.Record[K, V]) error {
	w.Rows.Keep(r.Headers)
	if err := w.See(r); err != nil {
		return err
	}
	at := r.Time.UnixMilli()
	if at <= w.lastClosed(*w.Time) { // and so are all windows that begin before it
		w.Late()
		return nil
	}
	if err := w.Rows.of(r.Key); err != nil {
		return err
	}
	if w.visitUsual == nil {
		w.visitUsual, w.visitEarly = w.usual, w.early
	}
	w.at.begin(r, at)
	if at < w.Size {
		w.Rows.store.Fetch(w.Rows.at, 0, at+1, false)(w.visitEarly)
		return w.afterEarly()
	}
	w.Rows.store.Fetch(w.Rows.at, max(0, at-2*w.Size), at+1, true)(w.visitUsual)
	return w.afterUsual()
}

// none is the time of a record before, where there is none.
const none = int64(-1)

// usual visits the windows around a record whose left window does not begin before 0, by descending start.
func (w *SlidingWindows[K, V, A]) usual(e store.WindowEntry, err error) bool {
	s := &w.at
	if err != nil {
		s.err = w.Rows.wrap("scan", err)
		return false
	}
	s.starts = append(s.starts, e.Start)
	end, newest := e.Start+w.Size, e.Time
	switch {
	case e.Start == s.time+1:
		s.right = true
		return true
	case end < s.time:
		s.last = newest
		s.before, s.err = w.Rows.visited(e.Start, e.Value)
		return false
	case end > s.time && !s.later.there:
		s.later.take(e)
	}
	if s.err = w.update(e); s.err != nil {
		return false
	}
	if end == s.time {
		s.left, s.last = true, newest
		s.done = newest == s.time // a record of the same time has made all windows there are to make
	}
	return !s.done
}

func (w *SlidingWindows[K, V, A]) afterUsual() error {
	s := &w.at
	if s.err != nil || s.done {
		return s.err
	}
	if s.last != none && s.last+1+w.Size >= s.time && !slices.Contains(s.starts, s.last+1) {
		if err := w.create(s.last + 1); err != nil {
			return err
		}
		s.left = s.left || s.last+1 == s.time-w.Size // which is the left window of r
	}
	if !s.left {
		if err := w.createLeft(); err != nil {
			return err
		}
	}
	return w.createRight()
}

// early visits the windows around a record in the first window, [0, Size], by ascending start.
func (w *SlidingWindows[K, V, A]) early(e store.WindowEntry, err error) bool {
	s := &w.at
	if err != nil {
		s.err = w.Rows.wrap("scan", err)
		return false
	}
	s.starts = append(s.starts, e.Start)
	switch {
	case e.Start == 0:
		s.combined.take(e)
		if e.Time < s.time {
			s.last = e.Time
		}
	case e.Start == s.time+1:
		s.right = true
	default:
		s.later.take(e)
		s.err = w.update(e)
	}
	return s.err == nil
}

func (w *SlidingWindows[K, V, A]) afterEarly() error {
	s := &w.at
	if s.err != nil {
		return s.err
	}
	first := store.WindowEntry{Value: s.combined.raw, Time: s.combined.at}
	if !s.later.there && s.combined.there { // then the first window holds nothing but what belongs into the right one
		s.later.take(first)
	}
	if err := w.createRight(); err != nil {
		return err
	}
	if s.last != none && !slices.Contains(s.starts, s.last+1) {
		if err := w.create(s.last + 1); err != nil {
			return err
		}
	}
	if !s.combined.there {
		return w.create(0)
	}
	return w.update(first)
}

// closed says whether the window that begins at start is closed, and counts r as late then.
func (w *SlidingWindows[K, V, A]) closed(start int64) bool {
	if start > w.lastClosed(*w.Time) {
		return false
	}
	w.Late()
	return true
}

// update folds the record into a window that is there.
func (w *SlidingWindows[K, V, A]) update(e store.WindowEntry) error {
	if w.closed(e.Start) {
		return nil
	}
	a, err := w.Rows.visited(e.Start, e.Value)
	if err != nil {
		return err
	}
	return w.fold(w.at.r, a, e.Time, true, e.Start+w.Size)
}

// create makes a window of the record alone.
func (w *SlidingWindows[K, V, A]) create(start int64) error {
	if w.closed(start) {
		return nil
	}
	w.Rows.start = start
	return w.fold(w.at.r, w.fresh(), none, false, start+w.Size)
}

// createLeft makes the window that ends at the record: of what the nearest window before it holds, if a record of that lies in it, and the
// record.
func (w *SlidingWindows[K, V, A]) createLeft() error {
	s, start := &w.at, w.at.time-w.Size
	if s.last == none || s.last < start {
		return w.create(start)
	}
	if w.closed(start) {
		return nil
	}
	w.Rows.start = start
	res := Folded[A]{Time: s.time}
	if w.Old && !w.Hold {
		res.Old, res.HasOld = began(w.Start)
	}
	return w.add(s.r, res, s.before, true, s.time)
}

// createRight makes the window that begins right after the record, if later records lie in it: it holds what the window did that holds
// them and the record, before the record was added.
func (w *SlidingWindows[K, V, A]) createRight() error {
	s := &w.at
	start := s.time + 1
	if s.right || !s.later.there || s.later.at <= s.time || w.closed(start) {
		return nil
	}
	a, err := w.Rows.visited(start, s.later.raw)
	if err != nil {
		return err
	}
	res := Folded[A]{New: a, Time: s.later.at}
	if w.Old && !w.Hold {
		res.Old, res.HasOld = began(w.Start)
	}
	saved, err := w.Rows.put(s.later.raw, s.later.at)
	return w.saved(s.r, windowKey(s.r.Key, start, start+w.Size), res, saved, err)
}
