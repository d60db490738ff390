package operator

import (
	"slices"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/topology"
)

// SlidingWindows folds records in windows [s, s+Size], both ends included. A record at t makes two
// of them: its left window, which ends at t, and its right window, which begins at t+1 and exists
// once a later record lies in it. Windows that would begin before 0 are one: [0, Size]. A row's
// time is that of the newest record in its window; a record finds the one before it by this time.
//
// The order in which windows are visited and made is that of Kafka Streams
// (KStreamSlidingWindowAggregate), as it is the order of the results.
type SlidingWindows[K, V, A any] struct {
	Windows[K, V, A]

	search slidingSearch[K, V, A]
	// Allocated once: a loop body would be a new closure for each record.
	visitInside, visitEarly func(storage.WindowEntry, error) bool
}

// NewSlidingWindows returns the aggregation w in sliding windows.
func NewSlidingWindows[K, V, A any](w Windows[K, V, A]) *SlidingWindows[K, V, A] {
	w.endInclusive = true
	s := &SlidingWindows[K, V, A]{Windows: w}
	s.visitInside, s.visitEarly = s.insideRow, s.earlyRow
	return s
}

// slidingSearch is what a record finds among the windows of its key.
type slidingSearch[K, V, A any] struct {
	record         topology.Record[K, V]
	time           int64
	starts         []int64  // of the windows visited
	previousWindow A        // the aggregate of the last window that ends before the record
	previousTime   int64    // the time of the record before; noTime if there is none
	hasLeft        bool     // the window that ends at the record exists
	hasRight       bool     // the window that begins right after the record exists
	done           bool     // there is no window left to make
	laterRow       savedRow // what the right window starts from
	firstWindow    savedRow // the window [0, Size]
	err            error
}

// begin prepares the search for the next record. Its buffers are reused.
func (s *slidingSearch[K, V, A]) begin(r topology.Record[K, V], at int64) {
	var zero A
	s.record, s.time, s.starts, s.previousWindow, s.previousTime = r, at, s.starts[:0], zero, noTime
	s.hasLeft, s.hasRight, s.done, s.err = false, false, false, nil
	s.laterRow.present, s.firstWindow.present = false, false
}

// savedRow is a row's value and time, apart from the store: they are what they were before the row
// was folded into.
type savedRow struct {
	present bool
	raw     []byte
	time    int64
}

func (k *savedRow) copyFrom(e storage.WindowEntry) {
	k.present, k.raw, k.time = true, append(k.raw[:0], e.Value...), e.Time
}

// Record folds the record into its windows, except those that are closed.
func (w *SlidingWindows[K, V, A]) Record(record topology.Record[K, V]) error {
	w.Rows.SetHeaders(record.Headers)
	if err := w.AdvanceTime(record); err != nil {
		return err
	}
	at := record.Time.UnixMilli()
	// A window that began at the record would be closed, and so are all that begin before it. The
	// record counts as late once.
	if at <= w.lastClosed() {
		w.CountLate()
		return nil
	}
	if err := w.Rows.setKey(record.Key); err != nil {
		return err
	}
	w.search.begin(record, at)
	// The left window would begin before 0: it is the first window, which is visited from the other
	// side.
	if at < w.Size {
		w.Rows.store.Fetch(w.Rows.keyBytes, 0, at+1, false)(w.visitEarly)
		return w.finishEarly()
	}
	// A window that begins more than twice the size before the record can neither contain the
	// record nor end within reach of its left window.
	w.Rows.store.Fetch(w.Rows.keyBytes, max(0, at-2*w.Size), at+1, true)(w.visitInside)
	return w.finishInside()
}

// noTime is the time of the record before, where there is none.
const noTime = int64(-1)

// insideRow visits the windows around a record whose left window begins at 0 or later, by
// descending start. It returns false to end the scan.
func (w *SlidingWindows[K, V, A]) insideRow(entry storage.WindowEntry, err error) bool {
	search := &w.search
	if err != nil {
		search.err = w.Rows.wrap("scan", err)
		return false
	}
	search.starts = append(search.starts, entry.Start)
	end, newest := entry.Start+w.Size, entry.Time
	switch {
	// The right window: it begins behind r and does not contain it.
	case entry.Start == search.time+1:
		search.hasRight = true
		return true
	// The first window that ends before r. Its newest record is the one before r; all further
	// windows end even earlier.
	case end < search.time:
		search.previousTime = newest
		search.previousWindow, search.err = w.Rows.setVisited(entry.Start, entry.Value)
		return false
	// This window contains r and reaches beyond it. What it held before r is what r's right window
	// starts from; the first one visited reaches furthest.
	case end > search.time && !search.laterRow.present:
		search.laterRow.copyFrom(entry)
	}
	if search.err = w.update(entry); search.err != nil {
		return false
	}
	// The left window. If its newest record has r's time, that record has made all windows there
	// are to make.
	if end == search.time {
		search.hasLeft, search.previousTime = true, newest
		search.done = newest == search.time
	}
	return !search.done
}

// finishInside makes the windows that the scan did not find.
func (w *SlidingWindows[K, V, A]) finishInside() error {
	s := &w.search
	if s.err != nil || s.done {
		return s.err
	}
	// The record before r gets its right window now if r is the first record in it.
	if s.previousTime != noTime && s.previousTime+1+w.Size >= s.time && !slices.Contains(s.starts, s.previousTime+1) {
		if err := w.create(s.previousTime + 1); err != nil {
			return err
		}
		// The right window of the record before may coincide with the left window of r.
		s.hasLeft = s.hasLeft || s.previousTime+1 == s.time-w.Size
	}
	if !s.hasLeft {
		if err := w.createLeft(); err != nil {
			return err
		}
	}
	return w.createRight()
}

// earlyRow visits the windows around a record in the first window, [0, Size], by ascending start.
// It returns false to end the scan.
func (w *SlidingWindows[K, V, A]) earlyRow(entry storage.WindowEntry, err error) bool {
	search := &w.search
	if err != nil {
		search.err = w.Rows.wrap("scan", err)
		return false
	}
	search.starts = append(search.starts, entry.Start)
	switch {
	// The first window is updated last (finishEarly), as in Kafka Streams. Its time is that of the
	// record before r only if it is earlier than r; later windows, visited next, may find a closer
	// one.
	case entry.Start == 0:
		search.firstWindow.copyFrom(entry)
		if entry.Time < search.time {
			search.previousTime = entry.Time
		}
	case entry.Start == search.time+1:
		search.hasRight = true
	default:
		search.laterRow.copyFrom(entry)
		search.err = w.update(entry)
	}
	return search.err == nil
}

// finishEarly makes the windows that the scan did not find, and updates the first one.
func (w *SlidingWindows[K, V, A]) finishEarly() error {
	s := &w.search
	if s.err != nil {
		return s.err
	}
	first := storage.WindowEntry{Value: s.firstWindow.raw, Time: s.firstWindow.time}
	// No window but the first one contains r. If it has later records, they are all that r's right
	// window starts from.
	if !s.laterRow.present && s.firstWindow.present {
		s.laterRow.copyFrom(first)
	}
	if err := w.createRight(); err != nil {
		return err
	}
	if s.previousTime != noTime && !slices.Contains(s.starts, s.previousTime+1) {
		if err := w.create(s.previousTime + 1); err != nil {
			return err
		}
	}
	if !s.firstWindow.present {
		return w.create(0)
	}
	return w.update(first)
}

// skipClosed reports whether the window that begins at start is closed, and then counts r as late.
func (w *SlidingWindows[K, V, A]) skipClosed(start int64) bool {
	if start > w.lastClosed() {
		return false
	}
	w.CountLate()
	return true
}

// update folds the record into a window that exists.
func (w *SlidingWindows[K, V, A]) update(entry storage.WindowEntry) error {
	if w.skipClosed(entry.Start) {
		return nil
	}
	a, err := w.Rows.setVisited(entry.Start, entry.Value)
	if err != nil {
		return err
	}
	return w.foldInto(w.search.record, a, entry.Time, true, entry.Start+w.Size)
}

// create makes a window of the record alone.
func (w *SlidingWindows[K, V, A]) create(start int64) error {
	if w.skipClosed(start) {
		return nil
	}
	w.Rows.start = start
	return w.foldInto(w.search.record, w.initial(), noTime, false, start+w.Size)
}

// createLeft makes the window that ends at the record. If the record before lies in it, it starts
// from the last window before, which ends at that record.
func (w *SlidingWindows[K, V, A]) createLeft() error {
	s, start := &w.search, w.search.time-w.Size
	if s.previousTime == noTime || s.previousTime < start {
		return w.create(start)
	}
	if w.skipClosed(start) {
		return nil
	}
	w.Rows.start = start
	res := FoldResult[A]{Time: s.time}
	if w.Old && !w.UntilCommit {
		res.Old, res.HasOld = initialOld(w.Start)
	}
	return w.add(s.record, res, s.previousWindow, true, s.time)
}

// createRight makes the window that begins right after the record, if later records lie in it. It
// starts from a window that contained them, as that was before the record was folded into it.
func (w *SlidingWindows[K, V, A]) createRight() error {
	s := &w.search
	start := s.time + 1
	if s.hasRight || !s.laterRow.present || s.laterRow.time <= s.time || w.skipClosed(start) {
		return nil
	}
	a, err := w.Rows.setVisited(start, s.laterRow.raw)
	if err != nil {
		return err
	}
	res := FoldResult[A]{New: a, Time: s.laterRow.time}
	if w.Old && !w.UntilCommit {
		res.Old, res.HasOld = initialOld(w.Start)
	}
	stored, err := w.Rows.put(s.laterRow.raw, s.laterRow.time)
	return w.emitSaved(s.record, windowKey(s.record.Key, start, start+w.Size), res, stored, err)
}
