package operator

import (
	"math"

	"github.com/millstream-go/millstream/topology"
)

// FixedWindows folds records in windows whose starts are multiples of Advance: tumbling and hopping
// windows. If Unlimited is set there is one window of all records since From.
type FixedWindows[K, V, A any] struct {
	Windows[K, V, A]
	Advance   int64
	Unlimited bool
	From      int64
}

// Record folds the record into its windows, by ascending start. A window accepts records until
// stream time reaches its end plus the grace period.
func (w *FixedWindows[K, V, A]) Record(record topology.Record[K, V]) error {
	w.Rows.SetHeaders(record.Headers)
	// Closed windows are emitted before the record is stored: see closeTracker.
	if err := w.AdvanceTime(record); err != nil {
		return err
	}
	at := record.Time.UnixMilli()
	if err := w.Rows.setKey(record.Key); err != nil {
		return err
	}
	if w.Unlimited {
		if at < w.From {
			return nil
		}
		return w.addTo(record, at, w.From, math.MaxInt64)
	}
	closed := w.lastClosed()
	// Hopping windows overlap, so the record may be late for some of its windows and not for
	// others. Each part that is late counts.
	for start := max(0, at-w.Size+w.Advance) / w.Advance * w.Advance; start <= at; start += w.Advance {
		if start <= closed {
			w.CountLate()
			continue
		}
		if err := w.addTo(record, at, start, start+w.Size); err != nil {
			return err
		}
	}
	return nil
}

// addTo folds the record into the window that begins at start.
func (w *FixedWindows[K, V, A]) addTo(record topology.Record[K, V], at, start, end int64) error {
	a, rowTime, row, err := w.Rows.load(start)
	if err != nil {
		return err
	}
	if !row {
		a, rowTime = w.initial(), at
	}
	return w.foldInto(record, a, rowTime, row, end)
}
