package operator

import (
	"iter"
	"math"
	"time"

	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// Windowing is what aggregations in windows have in common. Times are milliseconds since 1970.
type Windowing[K, V, A any] struct {
	// Start and Add are those of Fold.
	Start func() A
	Add   func(k K, v V, a A, exists bool) A
	// Delete reports whether the row is to be deleted. May be nil.
	Delete func(window.Key[K], A) bool
	// Old has changes carry old values.
	Old bool
	// UntilCommit has changes report in HasOld whether there was a row, whatever Old says: an
	// UpdateBuffer follows, which needs that.
	UntilCommit bool
	// OnClose has a row emitted when its window closes, and not before.
	OnClose bool
	// Grace is how long after its end a window accepts records.
	Grace int64
	// Time is the operator's stream time, -1 before the first record. It is saved with the
	// committed offsets.
	Time *int64
	// CountLate counts a record, or its part in one window, that arrives after the window has
	// closed.
	CountLate func()
	// Out gets the changes.
	Out wire.TableOutlet[window.Key[K], A]

	tracker closeTracker
}

// advanceTime moves stream time and returns what it was.
func (w *Windowing[K, V, A]) advanceTime(at int64) (before int64) {
	before = *w.Time
	// The task has set the operator's time to the committed one: after a restart nothing is known
	// about which windows are open.
	if before != w.tracker.streamTime {
		w.tracker.known = false
	}
	*w.Time = max(before, at)
	w.tracker.streamTime = *w.Time
	return before
}

// closeAt moves stream time to that of a record, and returns the range of the marks that may close
// by it; ok is false when there are none. openFor is how long after its mark a row accepts records.
func (w *Windowing[K, V, A]) closeAt(at, openFor int64) (from, to int64, ok bool) {
	before := w.advanceTime(at)
	if !w.OnClose || before == *w.Time {
		return 0, 0, false
	}
	// What was closed at the time before was emitted then.
	if before >= 0 {
		from = before - openFor + 1
	}
	to = *w.Time - openFor
	return from, to, w.tracker.mayClose(from, to)
}

// wouldClose reports whether a record at the given time would close a row. rows scans the rows with
// marks in a range.
func (w *Windowing[K, V, A]) wouldClose(
	at, openFor int64, rows func(from, to int64) iter.Seq2[storage.WindowEntry, error],
) bool {
	from, to := *w.Time-openFor+1, at-openFor
	tracker := &w.tracker
	switch {
	case *w.Time < 0 || at <= *w.Time || to < max(from, 0):
		return false
	case tracker.known && tracker.streamTime == *w.Time:
		if to < tracker.firstOpen {
			return false
		}
		from = max(from, tracker.firstOpen)
	}
	// Only the store knows whether there is such a row: nothing else does after a restart, and the row with the first mark
	// may have been deleted, or have become part of a session that ends later.
	for range rows(max(from, 0), to) {
		// An error is not handled here: AdvanceTime scans the same rows next and returns it.
		return true
	}
	if tracker.known && tracker.streamTime == *w.Time {
		tracker.firstOpen = to + 1 // the next call begins there
	}
	return false
}

// emit emits the change that the record has made to the row of a window.
func (w *Windowing[K, V, A]) emit(record topology.Record[K, V], windowed window.Key[K], res FoldResult[A]) error {
	if w.OnClose {
		return nil
	}
	c := wire.Change[window.Key[K], A]{
		Record: topology.WithValue(topology.WithKey(record, windowed), res.New), Old: res.Old, HasOld: res.HasOld,
	}
	c.Tombstone = res.Deleted
	c.Time = time.UnixMilli(res.Time)
	return w.Out(c)
}

// emitClosed emits the row of a window that r has closed.
func (w *Windowing[K, V, A]) emitClosed(r topology.Record[K, V], k window.Key[K], a A, at int64) error {
	c := wire.Change[window.Key[K], A]{Record: topology.WithValue(topology.WithKey(r, k), a)}
	c.Time = time.UnixMilli(at)
	return w.Out(c)
}

// initialOld returns the old value of a row that did not exist: that of start, unless it is nil
// (see Fold.oldValue).
func initialOld[A any](start func() A) (a A, ok bool) {
	if start == nil {
		return a, false
	}
	a = start()
	return a, !isNil(&a)
}

func windowKey[K any](k K, start, end int64) window.Key[K] {
	return window.Key[K]{Key: k, Start: time.UnixMilli(start), End: time.UnixMilli(end)}
}

// closeTracker knows which windows may have closed without being emitted. Stream time moves with
// nearly every record, and without it each of them would cost a scan by time. A row is known by its
// mark: the start of a window, or the end of a session. Marks close in ascending order.
//
// Closed rows are emitted before the record that closes them is stored. That record may move the
// store's time so far that the closed rows expire. Kafka Streams stores first, and loses them.
type closeTracker struct {
	firstOpen  int64 // no open mark is smaller
	known      bool  // firstOpen is valid: it is not after a restart
	streamTime int64 // the stream time that firstOpen takes into account
}

// noteOpen records that a row with this mark was written.
func (c *closeTracker) noteOpen(mark int64) { c.firstOpen = min(c.firstOpen, mark) }

// mayClose reports whether there may be a row with a mark in [from, to].
func (c *closeTracker) mayClose(from, to int64) bool {
	return to >= max(from, 0) && !(c.known && to < c.firstOpen)
}

// reset forgets all marks. It is called before a scan from the smallest mark on, which then notes
// the first one that is still open.
func (c *closeTracker) reset() { c.firstOpen, c.known = math.MaxInt64, true }
