package worker

import "time"

const (
	cutBytes      = 8 << 20      // after so many bytes written to stores a cut is due
	maxUncutBytes = 4 * cutBytes // after so many, processing waits for the commit in flight

	memoryPoll    = 5 * time.Millisecond  // between two requests for memory while the budget is full
	maxMemoryWait = 50 * time.Millisecond // then a round is processed although the budget is full
)

// bytesSinceCut returns how much the tasks wrote to their stores since the last cut.
func (w *Worker) bytesSinceCut() int64 {
	var n int64
	for _, active := range w.tasks {
		for _, e := range active.Engines {
			n += e.Dirty()
		}
	}
	return n
}

// mustPause reports whether tasks with stores must not process records at present.
func (w *Worker) mustPause() bool {
	if w.uncutBehind() {
		return true
	}
	if !w.cfg.Budget.Full() || !w.hasStores() {
		w.memoryFullSince = time.Time{}
		return false
	}
	if w.memoryFullSince.IsZero() {
		w.memoryFullSince = time.Now()
	}
	w.requestMemory()
	// Waiting does not help: the budget is smaller than what these stores need at least. One round
	// every maxMemoryWait is slow; standing still would be for ever.
	if time.Since(w.memoryFullSince) >= maxMemoryWait && !w.storeUnhealthy() {
		w.memoryFullSince = time.Time{}
		return false
	}
	return true
}

// uncutBehind reports whether the commit in flight is so slow that going on would make the next epoch larger without
// bound.
func (w *Worker) uncutBehind() bool { return w.inFlight != nil && w.bytesSinceCut() >= maxUncutBytes }

// storeUnhealthy reports whether a store cannot write to its disk at present. Its rows stay in
// memory then, and every round would add more.
func (w *Worker) storeUnhealthy() bool {
	for _, active := range w.tasks {
		for _, e := range active.Engines {
			if e.Healthy() != nil {
				return true
			}
		}
	}
	return false
}

// requestMemory asks all stores for memory. A store releases memory only in a cut, and only of rows
// that are on disk. So it asks for cuts, and under pressure for flushes of what is not being
// flushed yet.
func (w *Worker) requestMemory() {
	pressing := w.cfg.Budget.Pressing()
	for _, active := range w.tasks {
		active.MemoryWanted.Store(len(active.Engines) > 0)
		for _, e := range active.Engines {
			if pressing {
				_ = e.Flush(false) // a flush that fails is repeated, and App.Ready reports it
			}
		}
	}
}

// hasStores reports whether a task has a store. Without one the worker cannot release memory.
func (w *Worker) hasStores() bool {
	for _, active := range w.tasks {
		if len(active.Engines) > 0 {
			return true
		}
	}
	return false
}
