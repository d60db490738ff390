package op

import (
	"math"

	"github.com/millstream-go/millstream/topology"
)

// FixedWindows folds records in windows whose starts are multiples of Advance: tumbling and hopping ones, and the one of all records
// since From, if it is Unlimited.
type FixedWindows[K, V, A any] struct {
	Windows[K, V, A]
	Advance   int64
	Unlimited bool
	From      int64
}

// See moves stream time to a record that is not folded, and sends what that closes.
func (w *FixedWindows[K, V, A]) See(r topology.Record[K, V]) error {
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
func (w *FixedWindows[K, V, A]) Closes(at int64) bool {
	return w.closes(at, w.lastClosed(*w.Time)+1, w.lastClosed(at), w.Rows.store.ByTime)
}

// lastClosed is the start of the last window that is closed at a stream time: ends do not belong to windows.
func (w *FixedWindows[K, V, A]) lastClosed(now int64) int64 { return now - w.Grace - w.Size }

// Record folds r into its windows, by ascending start. A window takes records while stream time is less than its end and the grace
// period; r may be late for some of its windows and not for others.
func (w *FixedWindows[K, V, A]) Record(r topology.Record[K, V]) error {
	w.Rows.Keep(r.Headers)
	if err := w.See(r); err != nil {
		return err
	}
	at := r.Time.UnixMilli()
	if err := w.Rows.of(r.Key); err != nil {
		return err
	}
	if w.Unlimited {
		if at < w.From {
			return nil
		}
		return w.into(r, at, w.From, math.MaxInt64)
	}
	closed := w.lastClosed(*w.Time)
	for start := max(0, at-w.Size+w.Advance) / w.Advance * w.Advance; start <= at; start += w.Advance {
		if start <= closed {
			w.Late()
			continue
		}
		if err := w.into(r, at, start, start+w.Size); err != nil {
			return err
		}
	}
	return nil
}

func (w *FixedWindows[K, V, A]) into(r topology.Record[K, V], at, start, end int64) error {
	a, was, row, err := w.Rows.load(start)
	if err != nil {
		return err
	}
	if !row {
		a, was = w.fresh(), at
	}
	return w.fold(r, a, was, row, end)
}
