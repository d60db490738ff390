package worker

import "time"

const (
	perRound  = 1000                  // records of a task before the next one has its turn, at most
	longRound = 20 * time.Millisecond // fewer records then
	perLook   = 16                    // records between two looks at the clock: one costs as much as a cheap record
)

// round lets each task process some records, and says whether one did.
func (w *Worker) round() (busy bool) {
	if w.full() {
		return false
	}
	sent := w.stats.Out.Load()
	for _, r := range w.tasks {
		if r.stopped {
			continue
		}
		n, err := w.process(r)
		if n > 0 {
			busy = true
			w.stats.In.Add(int64(n))
		}
		if err != nil {
			w.fail(r, err)
		}
	}
	w.stats.Since.Store(0)
	if busy {
		w.lastBusy = time.Now()
	}
	if w.stats.Out.Load() != sent {
		w.producer.Flush()
	}
	return busy
}

func (w *Worker) process(r *running) (int, error) {
	n, err := w.records(r)
	if err == nil && r.punctuate() {
		err = r.task.Punctuate()
		r.dirty = true
	}
	r.dirty = r.dirty || n > 0
	w.soon = w.soon || r.task.CommitRequested()
	return n, err
}

// records has a task process some. A commit, a query and a revocation wait for the end of a round, so a round of slow functions has
// few records. How slow they are shows only afterwards: it begins with few, and a function that has become slow is noticed
// at the next look at the clock.
func (w *Worker) records(r *running) (n int, err error) {
	began := time.Now()
	for now := began; ; {
		w.stats.Since.Store(now.UnixNano())
		ask := min(r.limit-n, perLook)
		done, err := r.task.Process(ask)
		n, now = n+done, time.Now()
		switch took := now.Sub(began); {
		case took > longRound:
			r.limit = max(n/2, 1)
			return n, err
		case done < ask || err != nil:
			return n, err
		case n == r.limit:
			if took < longRound/4 {
				r.limit = min(2*r.limit, perRound)
			}
			return n, nil
		}
	}
}
