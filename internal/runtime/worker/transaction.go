package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
)

// With exactly once a commit is a transaction: everything that was made of the records between two cuts becomes visible
// together with their offsets (KIP-98, KIP-447). The steps are those of every commit. What differs:
//
//   - What is sent after a cut leaves the producer only when the transaction before it has ended.
//   - Step 3 commits the offsets inside the transaction, as the group member to which the tasks were assigned, and then
//     ends the transaction. A member that has lost its tasks is refused, and so is all that it has written.
//   - Nothing can be taken out of a transaction by itself. When a task fails, or a transaction cannot be committed, all
//     tasks of the worker begin again at their committed offsets, and their stores at their checkpoints. It does not
//     matter then whether a transaction whose end was not answered was committed: the committed offsets say so.
//   - The producer is replaced at once. The next one of the same transactional id aborts what is open, and raises the
//     epoch, so that nothing that is still under way can arrive later.
//   - Nobody else's records can be committed in a changelog, so there is no search for foreign writes.

// transactional is what a worker has beside its producer for exactly once. The fields belong to the goroutine of Run.
type transactional struct {
	transactor kafka.Transactor
	beginning  bool          // nothing may be sent: Begin of the transactor has not returned
	unused     bool          // no task has begun since the transactor did: it has written nothing
	idle       bool          // the last round had no record
	timeout    time.Duration // of transactions; it grows when transactions take longer
	maxTimeout time.Duration // the most that the brokers accept, as far as known
	cutAt      time.Time     // when the open transaction was cut; zero: it is not
	overran    bool          // the last transaction waited for brokers until its time-out; none has succeeded since
	fenced     []time.Time   // when transactions were fenced lately
	anotherID  string        // makes the transactional id another one, where somebody else uses it; else empty

	opened kafka.TransactionConfig // that of the transactor

	rewinding      *rewind // nil: nothing is to be rewound
	outcomeUnknown bool    // nobody knows whether the transaction was committed that has failed
	restarts       int     // how often the tasks began again since the last commit
}

const (
	// maxWaitingBytes is how much may wait for a transaction to end before no more records are processed.
	maxWaitingBytes = 4 << 20
	// A time-out of the coordinator looks like another process with the same transactional id, and comes singly.
	maxFenced = 3
	// A transaction that takes longer than its time-out is aborted by the coordinator: one in which a function of the
	// user takes that long. Its tasks begin again with a longer time-out, up to what brokers accept by default.
	minTimeout    = 10 * time.Second
	timeoutGrowth = 4
	maxTimeout    = 15 * time.Minute
	// idleTransaction is from one cut to the next when there is no input. Sooner, most requests of a transaction come
	// while the coordinator still writes the markers of the one before, and have to be repeated.
	idleTransaction = 5 * time.Millisecond
	// maxAbortTime is how long the end of Run waits for the coordinator.
	maxAbortTime = 500 * time.Millisecond
	fencedPeriod = time.Minute
)

// MaxTransaction is how long a commit interval may be where commits are transactions.
const MaxTransaction = minTimeout / 2

func (w *Worker) exactlyOnce() bool { return w.cfg.Transactor != nil }

// openTransactor opens a producer with transactions. The worker goes on meanwhile, and tasks that are transferred to it
// wait: the coordinator may first have to end what an earlier producer of the same transactional id left open.
func (w *Worker) openTransactor(cfg kafka.ProduceConfig) error {
	w.opened = w.transactionConfig()
	transactor, err := w.cfg.Transactor(cfg, w.opened)
	if err != nil {
		return err
	}
	w.producer, w.transactor, w.cutAt = transactor, transactor, time.Time{}
	w.beginning, w.unused = true, true
	pause := w.restartPause()
	go func() {
		defer crashpoint.Catch(w.cfg.Crashed)
		err := transactor.Begin(w.ctx)
		_ = kafka.Sleep(w.ctx, pause)
		if err == nil {
			w.cfg.Hook.At(crashpoint.TransactionalID)
		}
		w.command(func() { w.begun(transactor, err) })
	}()
	return nil
}

func (w *Worker) transactionConfig() kafka.TransactionConfig {
	return kafka.TransactionConfig{ID: w.transactionalID(), Timeout: w.timeout}
}

// begun has the tasks start that have waited.
func (w *Worker) begun(transactor kafka.Transactor, err error) {
	switch {
	case transactor != w.transactor || w.ctx.Err() != nil: // it was replaced meanwhile
		return
	case errors.Is(err, kafka.ErrTransactionTimeout) && w.timeout > minTimeout: // longer than the brokers accept
		w.timeout /= timeoutGrowth
		w.maxTimeout, w.beginning = w.timeout, false
		w.replaceProducer()
		return
	case err != nil && w.leaseEnded():
		// The error is no consequence of that, but nobody would hear of it. Abandon comes, and opens the next one, which
		// says it again if it still holds.
		w.beginning, w.unused = false, false
		return
	case err != nil:
		err = fmt.Errorf("exactly once: %w", err)
		if errors.Is(err, kafka.ErrNotAuthorized) {
			err = fmt.Errorf("%w: the user has to be allowed to Write and Describe transactional ids that begin with %q",
				err, w.cfg.Group)
		}
		if errors.Is(err, kafka.ErrTransactionTimeout) {
			err = fmt.Errorf("%w: transactions may take %v, and the brokers' setting transaction.max.timeout.ms is less: "+
				"raise it", err, w.timeout)
		}
		// Nothing was begun. The tasks would wait for ever: what has them begin again does not abort, nor replaces, a
		// transactor whose Begin is still to return.
		if errors.Is(err, kafka.ErrUncertain) || w.isOfTransaction(err) {
			w.beginning, w.unused = false, false
		}
		w.failWorker(err)
		return
	}
	w.beginning = false
	for _, active := range w.tasks {
		if !active.waiting {
			continue
		}
		active.waiting = false
		if !active.releasing && !active.undo {
			active.stopped = false
			w.startTask(active)
		}
	}
}

// transactionsBehind reports whether too much waits for a transaction to end.
func (w *Worker) transactionsBehind() bool {
	return w.exactlyOnce() && (w.beginning || w.transactor.Waiting() > maxWaitingBytes)
}

// errRefused is the result of a transaction that goes on only when policies have decided about records that a broker
// refused.
var errRefused = errors.New("records were refused")

// commitTransaction has a goroutine do steps 2 and 3. The worker's may be in a function of the user for so long that
// the coordinator would end the transaction. Only where a broker has refused a record does the worker have to decide.
func (w *Worker) commitTransaction(pending *pendingCommit) {
	pending.transaction, pending.ticket, w.cutAt = pending.ticket, nil, pending.began
	pending.result = make(chan error, 1)
	ticket, result, offsets := pending.transaction, pending.result, pending.offsets
	member, transactor, handled := w.member, w.transactor, w.refusedHandled
	go func() {
		defer crashpoint.Catch(w.cfg.Crashed)
		select {
		case <-ticket.Done:
		case <-w.ctx.Done():
			result <- context.Cause(w.ctx)
			return
		}
		// A record that was refused after the cut is of this transaction, too: nothing of the next one is sent yet.
		switch {
		case ticket.Err != nil:
			result <- fmt.Errorf("produce: %w", ticket.Err)
			return
		case w.refused.Load() != handled:
			result <- errRefused
			return
		}
		w.cfg.Hook.At(crashpoint.SendAcked)
		result <- w.endTransaction(pending, transactor, member, offsets)
	}()
}

// transactionDueAt returns when a cut is due for what was processed, as long as there is no more input: readers see
// nothing before the transaction has ended, so that waiting for more would only make results late. A position that has
// moved over markers waits for the interval: each transaction on a repartition topic would cause another.
func (w *Worker) transactionDueAt() time.Time {
	interval := w.lastCut.Add(w.cfg.CommitInterval)
	if w.idle {
		for _, active := range w.tasks {
			if active.processed && active.canCut() {
				return w.lastCut.Add(min(idleTransaction, w.cfg.CommitInterval))
			}
		}
	}
	return interval
}

// endTransaction is step 3: the offsets become a part of the transaction, and it ends. After a loss it ends by itself,
// since the transactor is closed. keeps 1
func (w *Worker) endTransaction(
	pending *pendingCommit, transactor kafka.Transactor, member string, offsets map[kafka.TopicPartition]kafka.OffsetMeta,
) error {
	if len(offsets) > 0 {
		if err := w.committer.commit(w.ctx, member, offsets, transactor.CommitOffsets); err != nil {
			return err
		}
	}
	w.cfg.Hook.At(crashpoint.OffsetsAccepted)
	pending.ending.Store(true)
	err := transactor.End(w.ctx)
	if err == nil {
		w.cfg.Hook.At(crashpoint.SendCommitted)
	}
	return err
}

// abortOpen ends what is open when Run ends, so that readers need not wait for the time-out.
func (w *Worker) abortOpen() {
	if !w.exactlyOnce() {
		return
	}
	w.cfg.Hook.At(crashpoint.AbortOpen)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), maxAbortTime)
	defer cancel()
	if err := w.transactor.AbortOpen(ctx); err != nil {
		w.cfg.Logger.Warn("millstream: a transaction may be left open, since its coordinator does not answer; who reads "+
			"what it wrote waits until it times out",
			"worker", w.cfg.ID, "timeout", w.timeout, "error", err)
	}
}

// extendTransaction has the commit in flight take in all that was sent since its cut: dead letters of records that a
// broker refused are among that. They have to be in the transaction in which those records are missing. A second cut
// ends it, and the commit is of both epochs.
func (w *Worker) extendTransaction(pending *pendingCommit) {
	w.transactor.Extend()
	// A checkpoint must not pass its epoch: the first epochs keep the ends that are known now.
	ends := maps.Clone(pending.ends)
	for i := range pending.epochs {
		if pending.epochs[i].ends == nil {
			pending.epochs[i].ends = ends
		}
	}
	next := w.cut()
	if next == nil { // what made the cut impossible has abandoned the epochs
		return
	}
	pending.epochs = append(pending.epochs, next.epochs...)
	for _, active := range next.tasks {
		if !slices.Contains(pending.tasks, active) {
			pending.tasks = append(pending.tasks, active)
		}
	}
	pending.counts.take(&next.counts)
	maps.Copy(pending.offsets, next.offsets)
	maps.Copy(pending.expired, next.expired)
	pending.ticket, pending.refused, pending.extended = next.ticket, false, true
}

// isOfTransaction reports whether err says that the open transaction cannot be committed.
func (w *Worker) isOfTransaction(err error) bool {
	return w.exactlyOnce() && (errors.Is(err, kafka.ErrFenced) || errors.Is(err, kafka.ErrAborted))
}

// noteAborted finds out why a transaction could not be committed.
func (w *Worker) noteAborted(err error) {
	if !w.exactlyOnce() || w.cfg.Membership.Allowed() != nil { // others may have ended it, as they should
		return
	}
	now := time.Now()
	var took time.Duration
	if began := w.transactor.Began(); !began.IsZero() {
		took = now.Sub(began)
	}
	if took >= w.timeout && w.timeout < w.maxTimeout {
		// Brokers that were away for a while are back, since one of them has said that the transaction has timed out. With a
		// longer time-out nothing would be gained, and whoever waits for what this process has left open when it dies would
		// wait for longer. Only brokers that are always slow need it: these let the next transaction time out, too.
		if !w.cutAt.IsZero() && w.cutAt.Sub(w.transactor.Began()) < w.timeout/2 && !w.overran {
			w.overran = true
			return
		}
		w.timeout = min(timeoutGrowth*w.timeout, w.maxTimeout)
		w.cfg.Logger.Warn("millstream: a transaction took longer than its time-out; the next one may take longer",
			"worker", w.cfg.ID, "took", took, "timeout", w.timeout)
		return
	}
	if w.anotherID != "" || !errors.Is(err, kafka.ErrFenced) {
		return
	}
	w.fenced = slices.DeleteFunc(w.fenced, func(at time.Time) bool { return now.Sub(at) > fencedPeriod })
	if w.fenced = append(w.fenced, now); len(w.fenced) == maxFenced {
		w.anotherID = rand.Text()
		w.cfg.Logger.Error("millstream: another process has the transactional id of this one, as where a state directory "+
			"was copied; going on with a new one", "worker", w.cfg.ID, "error", err)
	}
}
