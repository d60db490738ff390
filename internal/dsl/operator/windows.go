package operator

import (
	"math"

	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

// Windows is an aggregation in windows that have a length: what fixed and sliding windows share.
type Windows[K, V, A any] struct {
	Windowing[K, V, A]
	Rows *WindowRows[K, A]
	Size int64

	endInclusive bool // a window contains its end
}

// openFor returns how long after its start a window accepts records.
func (w *Windows[K, V, A]) openFor() int64 {
	if w.endInclusive {
		return w.Size + w.Grace + 1
	}
	return w.Size + w.Grace
}

// lastClosed returns the start of the last window that is closed.
func (w *Windows[K, V, A]) lastClosed() int64 { return *w.Time - w.openFor() }

// AdvanceTime moves stream time to that of a record that is not folded, and emits the windows that
// this closes.
func (w *Windows[K, V, A]) AdvanceTime(r topology.Record[K, V]) error {
	if from, to, ok := w.closeAt(r.Time.UnixMilli(), w.openFor()); ok {
		return w.emitClosedWindows(r, from, to)
	}
	return nil
}

// WouldClose reports whether a record at the given time would close a window that is open.
func (w *Windows[K, V, A]) WouldClose(at int64) bool {
	return w.wouldClose(at, w.openFor(), w.Rows.store.ByTime)
}

// foldInto folds the record into the loaded row, which has value a and time rowTime if exists is set.
func (w *Windows[K, V, A]) foldInto(record topology.Record[K, V], agg A, rowTime int64, row bool, end int64) error {
	at := record.Time.UnixMilli()
	res := FoldResult[A]{Time: max(at, rowTime)}
	var err error
	if w.Old || w.UntilCommit {
		if res.Old, res.HasOld, err = w.oldValue(row); err != nil {
			return err
		}
	}
	return w.add(record, res, agg, row, end)
}

// oldValue returns the loaded row's old value, in memory that Add does not share.
func (w *Windows[K, V, A]) oldValue(row bool) (agg A, ok bool, err error) {
	switch {
	case row && w.Old:
		agg, err = w.Rows.decodeAgain()
		return agg, true, err
	case w.UntilCommit:
		return agg, row, nil
	}
	agg, ok = initialOld(w.Start)
	return agg, ok, nil
}

// add adds the record to the loaded row, and writes and emits it. res has the result's time and old
// value.
func (w *Windows[K, V, A]) add(record topology.Record[K, V], res FoldResult[A], agg A, row bool, end int64) error {
	agg = w.Add(record.Key, record.Value, agg, row)
	k := windowKey(record.Key, w.Rows.start, end)
	if w.Delete != nil && w.Delete(k, agg) {
		// A deletion that is buffered until the commit has the time of the record, as in Kafka
		// Streams.
		if res.Deleted = true; w.UntilCommit {
			res.Time = record.Time.UnixMilli()
		}
		if err := w.Rows.remove(record.Time.UnixMilli()); err != nil {
			return err
		}
		return w.emit(record, k, res)
	}
	res.New = agg
	stored, err := w.Rows.save(agg, res.Time)
	return w.emitSaved(record, k, res, stored, err)
}

// emitSaved emits a row that was written.
func (w *Windows[K, V, A]) emitSaved(
	record topology.Record[K, V], windowed window.Key[K], res FoldResult[A], stored bool, err error,
) error {
	if err != nil {
		return err
	}
	// Several operators may write one store (a cogroup). Another one's stream time may be so far
	// ahead that the store rejects this window.
	if !stored {
		w.CountLate()
		return nil
	}
	w.tracker.noteOpen(w.Rows.start)
	return w.emit(record, windowed, res)
}

// initial returns what Add gets where there is no row.
func (w *Windows[K, V, A]) initial() (a A) {
	if w.Start != nil {
		a = w.Start()
	}
	return a
}

// emitClosedWindows emits the rows of the windows that begin in [from, to] and that the record has
// closed.
func (w *Windows[K, V, A]) emitClosedWindows(record topology.Record[K, V], from, to int64) error {
	w.tracker.reset()
	for e, err := range w.Rows.store.ByTime(max(from, 0), math.MaxInt64) {
		if err != nil {
			return w.Rows.wrap("scan", err)
		}
		// The first row that is still open ends the scan, and is where the next one begins.
		if e.Start > to {
			w.tracker.noteOpen(e.Start)
			break
		}
		k, err := w.Rows.key.Decode(e.Key)
		if err != nil {
			return keyError(w.Rows.name, e.Key, "decode the key", err)
		}
		start, at := e.Start, e.Time
		a, err := w.Rows.setVisited(start, e.Value)
		if err != nil {
			return err
		}
		if err := w.emitClosed(record, windowKey(k, start, start+w.Size), a, at); err != nil {
			return err
		}
	}
	return nil
}
