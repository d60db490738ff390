package worker

import "time"

const (
	earlyBytes = 8 << 20        // written to stores since the last cut: the next one is due
	fullBytes  = 4 * earlyBytes // more waits for the commit in flight

	relief  = 5 * time.Millisecond  // how often stores are asked for memory while there is none
	squeeze = 50 * time.Millisecond // after that a round goes on all the same
)

// written is what the tasks wrote to their stores since the last cut.
func (w *Worker) written() int64 {
	var n int64
	for _, r := range w.tasks {
		for _, e := range r.Engines {
			n += e.Dirty()
		}
	}
	return n
}

// full says that records have to wait: so much was written since the last cut that the commit in flight comes first, or the
// memory of all stores is used up until some of it is on disk.
func (w *Worker) full() bool {
	if w.inFlight != nil && w.written() >= fullBytes {
		return true
	}
	if !w.cfg.Budget.Full() || !w.stateful() {
		w.fullSince = time.Time{}
		return false
	}
	if w.fullSince.IsZero() {
		w.fullSince = time.Now()
	}
	w.relieve()
	if time.Since(w.fullSince) >= squeeze {
		// Nothing helps: the budget is less than that many stores need at least. Slowly is better than not at all.
		w.fullSince = time.Time{}
		return false
	}
	return true
}

// relieve has the stores give memory back. They release what is on disk in a cut; and what nobody is writing yet has to be.
func (w *Worker) relieve() {
	pressing := w.cfg.Budget.Pressing()
	for _, r := range w.tasks {
		r.Pressed.Store(len(r.Engines) > 0)
		for _, e := range r.Engines {
			if pressing {
				_ = e.Flush(false) // a flush that fails is tried again, and Ready says so
			}
		}
	}
}

func (w *Worker) stateful() bool {
	for _, r := range w.tasks {
		if len(r.Engines) > 0 {
			return true
		}
	}
	return false
}
