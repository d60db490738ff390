package worker

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
)

// Tasks whose transaction is aborted begin again where they have settled, in memory: the engines undo what is not
// settled, the tasks are wired anew from the offsets and times of the last commit, and the transaction is aborted.
// Nothing is read from files or changelogs, however much of the state is not on disk.
//
// It is done only where it is known what has settled. When the end of a transaction was requested and has failed, the
// offsets in Kafka may be those after it: memory is trusted neither way then, and the tasks are opened anew.

// rewind is one that is due.
type rewind struct {
	// pending is a commit that was in flight, and whose goroutine goes on: with its end it is known what has settled.
	// Nil: there is none.
	pending *pendingCommit
	cause   error
}

const (
	// minRestartPause is from the second failure in a row until the tasks begin again. It doubles with each.
	minRestartPause = 100 * time.Millisecond
	maxRestartPause = 5 * time.Second
)

// restartPause returns how long the tasks wait before they begin again. What has made one transaction fail, such as a
// broker that is away, or a disk, may make the next one fail: tasks that begin again at once, again and again, would
// keep brokers and disks busy.
func (w *Worker) restartPause() time.Duration {
	if w.restarts < 2 {
		return 0
	}
	return min(minRestartPause<<min(w.restarts-2, 10), maxRestartPause)
}

// noteSettled notes the offsets of the task in a commit that has succeeded.
func (t *activeTask) noteSettled(offsets map[kafka.TopicPartition]kafka.OffsetMeta) {
	if t.task == nil {
		return
	}
	for _, tp := range t.task.Partitions() {
		if at, ok := offsets[tp]; ok {
			t.settled[tp] = at
		}
	}
}

// driveRewind advances a rewind, as far as it goes without waiting.
func (w *Worker) driveRewind() {
	r := w.rewinding
	if r == nil || w.ctx.Err() != nil {
		return
	}
	if c := r.pending; c != nil && c.result != nil {
		if !c.pollResult() {
			return
		}
		r.pending = nil
		switch {
		// It was committed, although something else has failed meanwhile: only what came after it is undone.
		case c.err == nil:
			c.noteEnds()
			w.settle(c)
		case errors.Is(c.err, ErrMembershipLost):
			w.rewinding = nil
			w.reopen(Lost, c.err)
			return
		case c.ending.Load() && (errors.Is(c.err, kafka.ErrUncertain) || w.isOfTransaction(c.err)):
			w.rewinding = nil
			w.reopen(Uncertain, fmt.Errorf("%w (after: %w)", c.err, r.cause))
			return
		// An error that no retry cures.
		case !errors.Is(c.err, kafka.ErrUncertain) && !w.isOfTransaction(c.err) && !errors.Is(c.err, errRefused):
			w.rewinding, w.broken = nil, c.err
			w.reopen(Broken, c.err)
			return
		}
	}
	w.rewinding = nil
	w.rewind(r.cause)
}

// rewind has all tasks begin again that are not to be returned. keeps 3
func (w *Worker) rewind(cause error) {
	if w.broken == nil && !w.stopping {
		// What was wrong is said elsewhere when a task has failed.
		level := w.cfg.Logger.Warn
		if w.failedTask() {
			level = w.cfg.Logger.Debug
		}
		level("millstream: the tasks of a worker begin again where they have committed, in memory", "worker", w.cfg.ID,
			"error", cause)
	}
	for i, active := range w.tasks {
		switch {
		case active.err != nil || active.releasing: // it is returned as it is, and undone then
		case active.task == nil: // it waits, and has changed nothing
			active.undo, active.waiting = false, true
		default:
			if err := w.closeTask(active); err != nil {
				// What its stores are is not known: it is opened anew, and with it all, since one producer is for
				// all.
				active.task = nil
				w.reopen(Uncertain, err)
				return
			}
			w.tasks[i] = active.again()
		}
	}
	w.newLease()
	w.commitWanted, w.deadLettersAfterTicket = false, false
	w.cfg.Hook.At(crashpoint.RewindUndone)
	w.abortTransaction()
}

// failedTask reports whether a task has failed for good, or because of a damaged file.
func (w *Worker) failedTask() bool {
	for _, active := range w.tasks {
		if active.err != nil {
			return true
		}
	}
	return false
}

// again returns the task as it was when it had settled last. It waits until the worker may write. It is another one:
// goroutines that ask what the worker does may still read t.
func (t *activeTask) again() *activeTask {
	out := &activeTask{
		Handover: t.Handover, activity: activity{id: t.ID}, limit: clockEvery, ends: t.ends, logs: t.logs,
		queued: map[kafka.TopicPartition]int64{}, settled: t.settled, stopped: true, waiting: true,
	}
	out.Start = maps.Clone(t.settled)
	return out
}

// abortTransaction aborts what is open, and has the tasks start then that wait.
func (w *Worker) abortTransaction() {
	switch {
	case w.beginning: // nothing was written yet
		return
	// What a transaction may take, or its id, has changed.
	case w.opened != w.transactionConfig():
		w.replaceProducer()
		return
	}
	w.beginning, w.unused, w.cutAt = true, true, time.Time{}
	w.countProducer()
	transactor, pause := w.transactor, w.restartPause()
	go func() {
		defer crashpoint.Catch(w.cfg.Crashed)
		err := transactor.Abort(w.ctx)
		if err == nil {
			w.cfg.Hook.At(crashpoint.RewindAborted)
		}
		_ = kafka.Sleep(w.ctx, pause)
		w.command(func() {
			if transactor != w.transactor || w.ctx.Err() != nil {
				return
			}
			if err != nil {
				// Somebody else has the id, or the coordinator refuses to raise its epoch: the next producer takes
				// it.
				w.cfg.Logger.Debug("millstream: a transaction could not be aborted", "worker", w.cfg.ID, "error", err)
				w.beginning = false
				w.replaceProducer()
				return
			}
			w.countProducer() // what was refused until now belongs to what was undone
			w.begun(transactor, nil)
			w.cfg.Hook.At(crashpoint.RewindDone)
		})
	}()
}
