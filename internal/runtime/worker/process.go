package worker

import "time"

const (
	maxRoundRecords = 1000                  // records of a task in one round, at most
	maxRoundTime    = 20 * time.Millisecond // a round that takes longer has fewer records the next time
	clockEvery      = 16                    // records between two readings of the clock; one costs as much as a record
)

// round lets each task process some records, in turn. It reports whether a record was processed.
func (w *Worker) round() (busy bool) {
	if w.commitBehind() {
		return false
	}
	full := w.mustPause()
	sent := w.open.out
	for _, active := range w.tasks {
		// Tasks without stores need no memory of the budget.
		if active.stopped || active.paused || full && len(active.Engines) > 0 {
			continue
		}
		n, err := w.processTask(active)
		if n > 0 {
			busy = true
			w.open.in += int64(n)
		}
		if err != nil {
			w.failTask(active, err)
		}
	}
	w.leaveUserCode()
	if busy {
		w.lastBusy = time.Now()
	}
	// Once a round and not once a record, so that batches are larger. A producer that is beginning has replaced the one
	// that the records were sent to, and is not to be called yet; what is about to be aborted need not be sent.
	if w.open.out != sent && !w.beginning && w.rewinding == nil {
		w.producer.Flush()
	}
	w.countOpen()
	return busy
}

func (w *Worker) processTask(active *activeTask) (int, error) {
	n, err := w.processRecords(active)
	if err == nil && active.punctuationDue() {
		w.enterUserCode(&active.activity)
		err = active.task.Punctuate()
		active.dirty, active.processed = true, true
	}
	active.dirty, active.processed = active.dirty || n > 0, active.processed || n > 0
	w.commitWanted = w.commitWanted || active.task.CommitRequested()
	return n, err
}

// processRecords has a task process up to active.limit records. Commits, queries and revocations
// wait for the end of a round, so a task with slow functions must have few records in it. A fixed
// limit of 1000 did not work: a function of 20 ms kept commits waiting for 20 s. So a task begins
// with few records, and its limit follows the time that they take.
func (w *Worker) processRecords(active *activeTask) (processed int, err error) {
	began := time.Now()
	w.userCall.Store(&active.activity)
	for now := began; ; {
		// The watch over functions that do not return compares UserCalls; this makes a new one every few
		// records.
		w.userCallStarted.Store(now.UnixNano())
		ask := min(active.limit-processed, clockEvery)
		done, err := active.task.Process(ask)
		processed, now = processed+done, time.Now()
		if done > 0 {
			w.meter.Sample(active.ID.Subtopology, now, active.task.LastTime(), active.task.StreamTime(), done)
		}
		switch took := now.Sub(began); {
		// Too slow: half as many the next time.
		case took > maxRoundTime:
			active.limit = max(processed/2, 1)
			return processed, err
		// Nothing more to process at present, or a step asked for a commit, or the task failed.
		case done < ask || err != nil:
			return processed, err
		// The limit is used up. It doubles only when there is much time left, so that it does not
		// alternate.
		case processed == active.limit:
			if took < maxRoundTime/4 {
				active.limit = min(2*active.limit, maxRoundRecords)
			}
			return processed, nil
		}
	}
}
