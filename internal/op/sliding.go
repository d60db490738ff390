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

	starts   []int64 // of the windows that were visited for a record
	right    kept    // what is to go into the record's right window
	combined kept    // the window [0, Size]
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
	w.starts, w.right.there, w.combined.there = w.starts[:0], false, false
	if at < w.Size {
		return w.early(r, at)
	}
	return w.usual(r, at)
}

// none is the time of a record before, where there is none.
const none = int64(-1)

// usual is Record for a record whose left window does not begin before 0. Windows are visited by descending start.
func (w *SlidingWindows[K, V, A]) usual(r topology.Record[K, V], at int64) error {
	var before A // what the nearest window that ends before at holds
	leftThere, rightThere, last := false, false, none
	for e, err := range w.Rows.store.Fetch(w.Rows.at, max(0, at-2*w.Size), at+1, true) {
		if err != nil {
			return w.Rows.wrap("scan", err)
		}
		w.starts = append(w.starts, e.Start)
		end, newest := e.Start+w.Size, e.Time
		if e.Start == at+1 {
			rightThere = true
			continue
		}
		if end < at {
			last = newest
			if before, err = w.Rows.visited(e.Start, e.Value); err != nil {
				return err
			}
			break
		}
		if end > at && !w.right.there {
			w.right.take(e)
		}
		if err := w.update(r, e); err != nil {
			return err
		}
		if end == at {
			leftThere, last = true, newest
			if newest == at { // a record of the same time has made all windows there are to make
				return nil
			}
		}
	}
	if last != none && last+1+w.Size >= at && !slices.Contains(w.starts, last+1) {
		if err := w.create(r, last+1); err != nil {
			return err
		}
		if last+1 == at-w.Size { // which is the left window of r
			leftThere = true
		}
	}
	if !leftThere {
		if err := w.left(r, at, before, last != none && last >= at-w.Size); err != nil {
			return err
		}
	}
	return w.copyRight(r, at, rightThere)
}

// early is Record for a record in the first window, [0, Size]. Windows are visited by ascending start.
func (w *SlidingWindows[K, V, A]) early(r topology.Record[K, V], at int64) error {
	rightThere, last := false, none
	for e, err := range w.Rows.store.Fetch(w.Rows.at, 0, at+1, false) {
		if err != nil {
			return w.Rows.wrap("scan", err)
		}
		w.starts = append(w.starts, e.Start)
		switch {
		case e.Start == 0:
			w.combined.take(e)
			if e.Time < at {
				last = e.Time
			}
		case e.Start == at+1:
			rightThere = true
		default:
			w.right.take(e)
			if err := w.update(r, e); err != nil {
				return err
			}
		}
	}
	if !w.right.there && w.combined.there { // then the first window holds nothing but what belongs into the right one
		w.right.take(store.WindowEntry{Value: w.combined.raw, Time: w.combined.at})
	}
	if err := w.copyRight(r, at, rightThere); err != nil {
		return err
	}
	if last != none && !slices.Contains(w.starts, last+1) {
		if err := w.create(r, last+1); err != nil {
			return err
		}
	}
	if !w.combined.there {
		return w.create(r, 0)
	}
	return w.update(r, store.WindowEntry{Value: w.combined.raw, Time: w.combined.at})
}

// closed says whether the window that begins at start is closed, and counts r as late then.
func (w *SlidingWindows[K, V, A]) closed(start int64) bool {
	if start > w.lastClosed(*w.Time) {
		return false
	}
	w.Late()
	return true
}

// update folds r into a window that is there.
func (w *SlidingWindows[K, V, A]) update(r topology.Record[K, V], e store.WindowEntry) error {
	if w.closed(e.Start) {
		return nil
	}
	a, err := w.Rows.visited(e.Start, e.Value)
	if err != nil {
		return err
	}
	return w.fold(r, a, e.Time, true, e.Start+w.Size)
}

// create makes a window of r alone.
func (w *SlidingWindows[K, V, A]) create(r topology.Record[K, V], start int64) error {
	if w.closed(start) {
		return nil
	}
	w.Rows.start = start
	return w.fold(r, w.fresh(), none, false, start+w.Size)
}

// left makes the window that ends at r: of what the nearest window before it holds, if a record of that lies in it, and r.
func (w *SlidingWindows[K, V, A]) left(r topology.Record[K, V], at int64, before A, some bool) error {
	start := at - w.Size
	if !some {
		return w.create(r, start)
	}
	if w.closed(start) {
		return nil
	}
	w.Rows.start = start
	res := Folded[A]{Time: at}
	if w.Old && !w.Hold {
		res.Old, res.HasOld = began(w.Start)
	}
	return w.add(r, res, before, true, at)
}

// copyRight makes the window that begins right after r, if later records lie in it: it holds what the window did that holds them and r, before
// r was added.
func (w *SlidingWindows[K, V, A]) copyRight(r topology.Record[K, V], at int64, there bool) error {
	if there || !w.right.there || w.right.at <= at || w.closed(at+1) {
		return nil
	}
	a, err := w.Rows.visited(at+1, w.right.raw)
	if err != nil {
		return err
	}
	res := Folded[A]{New: a, Time: w.right.at}
	if w.Old && !w.Hold {
		res.Old, res.HasOld = began(w.Start)
	}
	saved, err := w.Rows.put(w.right.raw, w.right.at)
	return w.saved(r, windowKey(r.Key, at+1, at+1+w.Size), res, saved, err)
}
