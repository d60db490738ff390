package worker

import "github.com/millstream-go/millstream/internal/kafka"

// A task that is paused stays with its worker. It processes no record and calls no punctuation, and nothing is fetched
// for it; what it has done is committed as usual, and so is what its stores write under memory pressure. It can be
// handed back at any time. To hand it back for the pause, and to open it again after it, would be simpler, but would
// close the user's processors and restore stores in memory.

// resumption is the end of a pause that waits for the ends of the inputs.
type resumption struct{}

// applyPauses pauses and resumes tasks.
func (w *Worker) applyPauses() {
	for _, active := range w.tasks {
		if active.stopped {
			continue
		}
		switch paused := w.cfg.Paused(active.ID.Subtopology); {
		case paused && !active.paused:
			// The records that were fetched stay with the task: at most what a partition's buffer takes.
			w.cfg.Fetcher.Remove(active.task.Partitions()...)
			w.setPaused(active, true)
		case paused:
			active.resuming = nil // an answer that is under way is of no use
		case active.paused && active.resuming == nil:
			w.resumeTask(active)
		}
	}
}

func (w *Worker) setPaused(active *activeTask, paused bool) {
	active.paused, active.resuming = paused, nil
	kind := Resumed
	if paused {
		kind = Paused
	}
	w.cfg.Report(Report{Worker: w.cfg.ID, Task: active.ID, Kind: kind})
}

// resumeTask has a task go on. One that merges partitions by time has to know first where they end now, as when it was
// opened. Otherwise it would take a partition for empty of which it has no record yet, and process what it has of the
// others too early:
//
//	paused with a record of A queued, B is at its end -> an earlier record is written to B -> resumed: the record of A
//	is processed before that of B is fetched
func (w *Worker) resumeTask(active *activeTask) {
	tps := active.task.Partitions()
	if len(tps) == 1 || w.cfg.Task.MaxIdle < 0 {
		w.continueTask(active)
		return
	}
	this := new(resumption)
	active.resuming = this
	lease := w.lease.Load().ctx
	go func() {
		// As long as brokers are away; after any other error the fetch finds the same, and says more.
		var ends map[kafka.TopicPartition]int64
		err := kafka.RetryUnavailable(lease, func() (err error) {
			ends, err = w.cfg.StableEnds(lease, tps)
			return err
		})
		w.command(func() {
			if active.resuming != this || active.stopped { // paused again, or handed back
				return
			}
			if err != nil {
				w.cfg.Logger.Debug("millstream: looking up the ends of a resumed task failed", "task", active.ID.String(),
					"error", err)
			}
			for tp, end := range ends {
				active.ends[tp] = max(active.ends[tp], end)
			}
			w.continueTask(active)
		})
	}()
}

// continueTask has a task that was paused fetch and process.
func (w *Worker) continueTask(active *activeTask) {
	active.task.RestartIdle()
	w.fetch(active)
	w.setPaused(active, false)
}

// fetch begins to fetch the inputs of a task, behind what is queued.
func (w *Worker) fetch(active *activeTask) {
	for _, tp := range active.task.Partitions() {
		w.cfg.Fetcher.Add(tp, active.queued[tp], w)
		// They count against the buffer, which is a new one: else each pause would let in a buffer more.
		if bytes := active.task.BufferedBytes(tp); bytes > 0 {
			w.cfg.Fetcher.Release(tp, -bytes)
		}
	}
}
