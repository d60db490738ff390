package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/changelog"
	"github.com/millstream-go/millstream/internal/runtime/offsetmeta"
	"github.com/millstream-go/millstream/internal/storage"
)

// pendingCommit is the commit in flight.
type pendingCommit struct {
	began   time.Time
	tasks   []*activeTask
	epochs  []epoch
	offsets map[kafka.TopicPartition]kafka.OffsetMeta
	expired map[kafka.TopicPartition]int64 // by changelog: offsets below it may be deleted once the commit succeeds

	counts        counts                         // of its epochs, with exactly once
	ticket        *kafka.Ticket                  // of step 2; nil while it does not wait for the producer
	transaction   *kafka.Ticket                  // of step 2, where a goroutine waits for it and goes on to step 3
	ends          map[kafka.TopicPartition]int64 // of all tickets so far
	refused       bool                           // policies have to decide about its refused records first
	extended      bool                           // to what was queued after its cut, dead letters among it
	foreignWrites []kafka.ForeignWrite           // found by the check before a task is returned
	foreignKeys   chan foreignKeys               // result of reading foreign writes; nil: nothing is being read
	result        chan error                     // of step 3
	ending        atomic.Bool                    // the end of the transaction was requested, so that it may be committed
	hasResult     bool
	err           error
}

// epoch is one store's part in a commit.
type epoch struct {
	task         *activeTask
	engine       storage.Engine
	log          *changelog.Log // nil: the store has no changelog
	source       *changelog.Log // of a store that is restored from a topic; nil: it is not
	sourceOffset int64          // up to which the epoch contains the source
	number       uint64
	// ends are those of the ticket that covers the epoch's records, where later epochs are part of the same commit; nil:
	// those of the commit.
	ends map[kafka.TopicPartition]int64
}

// acknowledged returns where the changelogs end with the records of the epoch.
func (e *epoch) acknowledged(pending *pendingCommit) map[kafka.TopicPartition]int64 {
	if e.ends != nil {
		return e.ends
	}
	return pending.ends
}

// foreignKeys are the keys that another process wrote into changelogs of the worker.
type foreignKeys struct {
	keys map[*changelog.Log][][]byte
	err  error
}

// waitChannels returns what the commit waits for. Either is nil when it does not wait for that.
func (c *pendingCommit) waitChannels() (ticket <-chan struct{}, result <-chan error) {
	if c.ticket != nil {
		ticket = c.ticket.Done
	}
	return ticket, c.result
}

func (w *Worker) anyToCut() bool {
	for _, active := range w.tasks {
		if active.canCut() {
			return true
		}
	}
	return false
}

// canCut reports whether the task takes part in the next cut. A task that failed does not: its last
// record was processed in part, and its epoch will be undone.
func (t *activeTask) canCut() bool {
	return (t.dirty || t.MemoryWanted.Load()) && t.err == nil && !t.undo && t.task != nil
}

// cutDue reports whether a cut is due.
func (w *Worker) cutDue() bool { return w.anyToCut() && !time.Now().Before(w.cutDueAt()) }

// cutDueAt returns the time at which the next cut is due; the zero time means now.
func (w *Worker) cutDueAt() time.Time {
	// A step asked for a commit, the worker stops, or the open epochs have become large.
	if w.commitWanted || w.stopping || w.bytesSinceCut() >= cutBytes {
		return time.Time{}
	}
	// Somebody waits: the group for tasks to be revoked, or stores for memory.
	for _, active := range w.tasks {
		if active.releasing || active.MemoryWanted.Load() {
			return time.Time{}
		}
	}
	if w.exactlyOnce() {
		return w.transactionDueAt()
	}
	// Under load commits come at the interval. Without input there is nothing to gather for the rest
	// of it.
	interval, idle := w.lastCut.Add(w.cfg.CommitInterval), w.lastBusy.Add(idleCutDelay)
	if idle.Before(interval) {
		return idle
	}
	return interval
}

// driveCommits advances the commit in flight as far as it goes without waiting, begins the next one
// when it is due, and returns the tasks that are settled.
func (w *Worker) driveCommits() {
	w.driveRewind()
	if w.rewinding != nil { // what a commit in flight has settled must not be undone, and nobody knows yet
		return
	}
	w.advance()
	w.stopDamaged() // before the cut: rows that are missing from a damaged file must not lead to a commit
	if w.inFlight == nil && w.broken == nil && w.cutDue() {
		w.inFlight = w.cut()
		w.advance()
	}
	w.finishForeignCheck()
	w.driveRewind() // a commit may just have failed: nobody would wake the worker for that
	if w.rewinding == nil {
		w.returnTasks()
	}
}

// cut is step 1. It queues records and waits for nothing but room in the producer (keeps 4). It
// returns nil when there can be no commit.
func (w *Worker) cut() *pendingCommit {
	w.cfg.Hook.At(crashpoint.CutBegin)
	// First, what steps defer until a commit: it belongs before the offsets, and steps may still write
	// to stores.
	if !w.flushTasks() {
		return nil
	}
	pending := &pendingCommit{
		began: time.Now(), offsets: map[kafka.TopicPartition]kafka.OffsetMeta{},
		expired: map[kafka.TopicPartition]int64{}, ends: map[kafka.TopicPartition]int64{},
	}
	w.lastCut, w.commitWanted, w.deadLettersAfterTicket = pending.began, false, false
	// Offsets and epochs end at the same record: nothing is processed between here and the last
	// epoch's cut. A store with one record more or less than its offsets say would count it twice, or
	// never, after a restore.
	for _, active := range w.tasks {
		if active.canCut() {
			active.dirty, active.processed, active.cut = false, false, true
			active.MemoryWanted.Store(false)
			pending.tasks = append(pending.tasks, active)
			active.noteExpired(pending.expired)
			// A transaction without an offset of the task would be accepted of a member that has lost it.
			maps.Copy(pending.offsets, active.task.Cut(w.exactlyOnce()))
			for _, engine := range active.task.Engines() {
				pending.epochs = append(pending.epochs, active.newEpoch(engine.Engine))
			}
		}
	}
	w.cfg.Hook.At(crashpoint.CutOffsets)
	for i := range pending.epochs {
		active := pending.epochs[i].task
		if active.err != nil { // excluded below, at its first store
			continue
		}
		// The stores of a task stand together: at the first of them, all read what their cut needs.
		if i == 0 || pending.epochs[i-1].task != active {
			if err := prepareCut(active, pending.epochs[i:]); err != nil {
				if !w.excludeTask(pending, active, err) {
					w.failWorker(err)
					return nil
				}
				if w.leaseEnded() { // no task can leave a transaction alone
					return nil
				}
				continue
			}
		}
		// From here on records of the task are queued, and a record that is queued cannot be withdrawn. A
		// task cannot leave the commit alone any more, so an error ends the commits of the whole worker.
		if err := pending.epochs[i].cut(w.lease.Load().ctx, w.producer); err != nil {
			w.failWorker(err)
			return nil
		}
		if i == len(pending.epochs)/2 {
			w.cfg.Hook.At(crashpoint.CutHalf)
		}
	}
	w.countOpen()
	pending.counts.take(&w.open)
	pending.epochs = slices.DeleteFunc(pending.epochs, func(ep epoch) bool { return ep.task.err != nil })
	pending.ticket = w.producer.Cut()
	w.cfg.Hook.At(crashpoint.CutDone)
	return pending
}

// noteExpired adds to the offsets of the next cut how much of the task's changelogs has expired. A
// restore compares it with the start of the log, and so tells what the owner deleted from what
// somebody else deleted.
func (t *activeTask) noteExpired(expired map[kafka.TopicPartition]int64) {
	for _, log := range t.Logs {
		if at, ok := log.Expired(); ok {
			t.task.NoteExpired(offsetmeta.ExpiredKey(log.Store), at)
			if next, until, ok := log.Next(); ok {
				t.task.NoteExpired(offsetmeta.NextKey(log.Store), next)
				t.task.NoteExpired(offsetmeta.UntilKey(log.Store), until)
			}
			if log.Deletable {
				expired[log.TopicPartition] = at
			}
		}
	}
}

// excludeTask removes a task from a commit that is being cut, because one of its stores could not
// be read. It reports false when the cause is not a damaged file: then nothing is removed. No
// record of the task's epoch is queued yet.
func (w *Worker) excludeTask(pending *pendingCommit, excluded *activeTask, err error) bool {
	if !excluded.Damage.causes(excluded.ID, err) {
		return false
	}
	// Without its changelog records, its offsets must not be committed either: the input would count
	// as processed.
	excluded.cut = false
	pending.tasks = slices.DeleteFunc(pending.tasks, func(other *activeTask) bool { return other == excluded })
	for _, tp := range excluded.task.Partitions() {
		delete(pending.offsets, tp)
	}
	for _, log := range excluded.Logs {
		delete(pending.expired, log.TopicPartition)
	}
	w.failTask(excluded, err)
	return true
}

// flushTasks has the steps of all tasks that are cut emit what they defer until a commit. It
// reports whether there can be a commit.
func (w *Worker) flushTasks() bool {
	for _, active := range w.tasks {
		if !active.canCut() {
			continue
		}
		w.enterUserCode(&active.activity) // the steps that follow call users' functions
		if err := active.task.Flush(); err != nil {
			w.failTask(active, err)
		}
	}
	w.leaveUserCode()
	return w.broken == nil && !w.leaseEnded()
}

// newEpoch returns the part of a store in a commit that is being cut.
func (t *activeTask) newEpoch(engine storage.Engine) epoch {
	ep := epoch{task: t, engine: engine, log: t.logs[engine]}
	for _, source := range t.Sources {
		if source.Engine == engine {
			// What the store contains of its topic is what the task has processed of it.
			ep.source, ep.sourceOffset = source, t.task.Position(source.TopicPartition)
		}
	}
	return ep
}

// prepareCut has all stores of a task read what their cut needs. These are the first ones of
// epochs. During the cut itself no store reads its files. If one did, this could happen:
//
//	the changelog records of store A are queued -> store B finds a file damaged -> the task begins again at the last
//	commit, but A's records stay in its changelog -> A restores them, and their input counts twice
func prepareCut(active *activeTask, epochs []epoch) error {
	for _, ep := range epochs {
		if ep.task != active {
			break
		}
		if preparer, ok := ep.engine.(interface{ PrepareCut() error }); ok {
			if err := preparer.PrepareCut(); err != nil {
				return err
			}
		}
	}
	return nil
}

// cut ends the store's epoch and queues its changes for the changelog, if it has one.
func (e *epoch) cut(ctx context.Context, p kafka.Producer) (err error) {
	if e.log != nil {
		e.number, err = e.log.Cut(ctx, p)
		return err
	}
	e.number, err = e.engine.Cut(func(storage.Change) error { return nil })
	return err
}

// advance moves the commit in flight from step to step, as far as that needs no waiting. A step can
// end the commit and begin another one, in which case the caller's next call continues with that.
func (w *Worker) advance() {
	for pending := w.inFlight; pending != nil && w.inFlight == pending; {
		switch {
		// Steps 2 and 3 of a transaction: a goroutine goes on with them, unless a record was refused.
		case pending.ticket != nil && w.exactlyOnce() && !pending.refused:
			w.commitTransaction(pending)
		// Step 2: the producer has acknowledged everything, or given up. sendDone sets the next thing to
		// wait for: another ticket, foreignKeys, or result.
		case pending.ticket != nil && kafka.Closed(pending.ticket.Done):
			w.sendDone(pending)
		// Still step 2: the keys of foreign writes are read. resendRows queues the rows again, with
		// another ticket.
		case pending.foreignKeys != nil && w.resendRows(pending):
		// Step 3: the coordinator has answered. finishCommit settles (step 4), or abandons the epochs.
		case pending.result != nil && pending.pollResult():
			w.finishCommit(pending)
		default:
			return
		}
	}
}

// commitBehind reports whether no record may be processed before the commit in flight is further.
func (w *Worker) commitBehind() bool {
	// Its next ticket is of all that was queued meanwhile. Where some records of many are always refused, that would bring
	// it more dead letters, and so another ticket, for ever.
	if c := w.inFlight; c != nil && c.extended && (c.ticket != nil || w.exactlyOnce()) {
		return true
	}
	return w.transactionsBehind()
}

func (c *pendingCommit) pollResult() bool {
	if c.hasResult {
		return true
	}
	select {
	case c.err = <-c.result:
		c.hasResult = true
	default:
	}
	return c.hasResult
}

// sendDone is called when a ticket of step 2 is done. It starts step 3, unless something must be
// sent before.
func (w *Worker) sendDone(pending *pendingCommit) {
	ticket := pending.ticket
	pending.ticket = nil
	// Copied, not replaced: an earlier ticket of this commit may have the end of another changelog.
	// With the ends of the last ticket alone, the others' checkpoints would stay behind.
	maps.Copy(pending.ends, ticket.Ends)
	if ticket.Err != nil {
		w.failWorker(fmt.Errorf("produce: %w", ticket.Err))
		return
	}
	// The producer reports a refused record before it completes the ticket, so the inbox has all of
	// them by now. Their policies must decide before the offsets are committed. A policy may also stop
	// the task, and with it this commit.
	w.drainInbox()
	if w.inFlight != pending {
		return
	}
	switch {
	// Dead letters of refused records were queued after the ticket. Committing without them would lose
	// the records if the process died before the letters were acknowledged.
	case w.deadLettersAfterTicket && w.exactlyOnce():
		w.extendTransaction(pending)
	case w.deadLettersAfterTicket:
		w.deadLettersAfterTicket, pending.ticket, pending.extended = false, w.producer.Cut(), true
	// Another process has written into a changelog. Its rows stand behind ours, and a restore would
	// apply them.
	case len(ticket.Foreign)+len(pending.foreignWrites) > 0:
		foreign := append(pending.foreignWrites, ticket.Foreign...)
		pending.foreignWrites = nil
		w.startForeignRead(pending, foreign)
	// The policies have decided, and no letter was queued. A goroutine goes on.
	case w.exactlyOnce():
		pending.ticket, pending.refused = ticket, false
	// Everything before the cut is acknowledged.
	default:
		w.commitOffsets(pending)
	}
}

// commitOffsets is step 3. The request runs on a goroutine of its own: while the group rebalances
// it can take as long as the rebalance, and processing must go on. keeps 1
func (w *Worker) commitOffsets(pending *pendingCommit) {
	w.cfg.Hook.At(crashpoint.SendAcked)
	pending.result = make(chan error, 1)
	if len(pending.offsets) == 0 { // only stores changed, as in a cut that is made for memory
		pending.result <- nil
		return
	}
	member := w.member
	go func() {
		defer crashpoint.Catch(w.cfg.Crashed)
		// After a loss this goroutine ends by itself: Commit finds another member id. Nobody reads the
		// result then.
		err := w.committer.Commit(w.ctx, member, pending.offsets)
		if err == nil {
			w.cfg.Hook.At(crashpoint.SendCommitted)
		}
		pending.result <- err
	}()
}

// finishCommit ends step 3.
func (w *Worker) finishCommit(pending *pendingCommit) {
	// A policy has to decide first, on this goroutine.
	if errors.Is(pending.err, errRefused) {
		pending.ticket, pending.transaction, pending.refused = pending.transaction, nil, true
		pending.result, pending.hasResult, pending.err = nil, false, nil
		return
	}
	pending.noteEnds()
	w.inFlight = nil
	if pending.err != nil {
		w.meter.CommitFailed()
	}
	switch {
	// The coordinator has accepted the offsets: the epochs settle.
	case pending.err == nil:
		w.settle(pending)
	// The worker was aborted while the request was under way. Nobody knows whether it was accepted;
	// nothing may settle.
	case w.ctx.Err() != nil:
	// UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID: others run the tasks, or will. The epochs are undone.
	case errors.Is(pending.err, ErrMembershipLost):
		w.abandonEpochs(Lost, pending.err)
	// An error that no retry cures, such as GROUP_AUTHORIZATION_FAILED: the App stops.
	default:
		w.outcomeUnknown = pending.ending.Load()
		w.failWorker(pending.err)
		w.outcomeUnknown = false
	}
}

// noteEnds notes where the changelogs end with what the transaction has.
func (c *pendingCommit) noteEnds() {
	if c.transaction != nil && kafka.Closed(c.transaction.Done) {
		maps.Copy(c.ends, c.transaction.Ends)
	}
}

// settle is step 4. keeps 2
func (w *Worker) settle(pending *pendingCommit) {
	w.cfg.Hook.At(crashpoint.SettleBegin)
	for i, ep := range pending.epochs {
		switch {
		// The checkpoint is the end of the changelog as the broker acknowledged it.
		case ep.log != nil:
			ep.log.Settle(ep.number, ep.acknowledged(pending))
		// A store that is restored from a topic: the checkpoint is the input position at the cut.
		case ep.source != nil:
			ep.source.SettleAt(ep.number, ep.sourceOffset)
		// A store without a changelog: nothing to restore it from, so no offset.
		default:
			ep.engine.Settle(ep.number, storage.Checkpoint{Time: time.Now()})
		}
		if i == len(pending.epochs)/2 {
			w.cfg.Hook.At(crashpoint.SettleHalf)
		}
	}
	for _, active := range pending.tasks {
		active.cut = false
		active.noteSettled(pending.offsets)
		if !active.committed && active.moved(pending.offsets) {
			active.committed = true
			w.cfg.Report(Report{Worker: w.cfg.ID, Task: active.ID, Kind: Committed})
		}
	}
	w.restarts = 0
	w.publish(&pending.counts)
	w.stats.Commits.Add(1)
	w.meter.Commit(time.Since(pending.began))
	w.cutAt, w.overran = time.Time{}, false
	w.cfg.Hook.At(crashpoint.SettleDone)
	w.enterUserCode(&activity{what: "Config.Events.Commit"})
	defer w.leaveUserCode()
	w.cfg.OnCommit(Commit{
		Tasks: len(pending.tasks), Took: time.Since(pending.began), Offsets: pending.offsets, Expired: pending.expired,
	})
}

// handleProduceFailure applies the production policy to a record that a broker refused. The commit
// that waits for the record's ticket includes the result: a dead letter, or a dropped record.
func (w *Worker) handleProduceFailure(failure kafka.ProduceFailure) {
	failure.Err = w.explainDeleted(failure.Topic, failure.Err)
	active := w.taskWriting(failure.Topic)
	if active == nil {
		// A record of a changelog or a repartition topic, a dead letter, or one of a task that failed
		// meanwhile. No policy may skip it: the commit would count input as processed whose rows or output
		// are missing.
		w.failWorker(fmt.Errorf("a record could not be written: %w", failure.Err)) // which names the partition
		return
	}
	w.deadLettersAfterTicket = true
	w.enterUserCode(&active.activity)
	defer w.leaveUserCode()
	if err := active.task.ProduceFailed(failure); err != nil {
		// The record belongs to the commit in flight, or to none yet. Without it no commit of this worker
		// is complete: all of its tasks begin again at the last one, if the App does not stop.
		w.failTask(active, err)
		if !w.leaseEnded() {
			w.abandonEpochs(Uncertain, err)
		}
	}
}

// taskWriting returns a task whose production policy decides about records of the topic: one with a
// sink that names it, else one with a sink that chooses its topic by the record. There is none for
// internal topics and for topics of dead letters that no sink names. Such a record may be of any
// step of any task, and the policy of a sink that chooses could be to skip what it has nothing to do
// with: a row of a store, or the last copy of a record.
func (w *Worker) taskWriting(topic string) *activeTask {
	if w.cfg.Task.Graph.IsInternalTopic(w.cfg.Task.Application, topic) {
		return nil
	}
	var dynamic *activeTask
	letters := false
	for _, active := range w.tasks {
		if active.task == nil || active.err != nil {
			continue
		}
		letters = letters || active.task.WroteDeadLetterTo(topic)
		for _, node := range w.cfg.Task.Graph.Subtopologies[active.ID.Subtopology].Nodes {
			switch {
			case node.Kind != graph.Sink:
			case node.Sink.Topic == "":
				dynamic = active
			case node.Sink.Topic == topic && !node.Sink.Internal:
				return active
			}
		}
	}
	if letters {
		return nil
	}
	return dynamic
}
