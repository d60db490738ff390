package worker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/changelog"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/storage"
)

// activeTask is a task that a worker owns.
type activeTask struct {
	Handover
	activity // activity.task is the task, once it is wired
	logs     map[storage.Engine]*changelog.Log

	ends   map[kafka.TopicPartition]int64 // last stable offsets of the inputs, as far as known
	queued map[kafka.TopicPartition]int64 // offsets after the last batch that was queued
	// settled are the committed offsets, up to which the stores have settled.
	settled map[kafka.TopicPartition]kafka.OffsetMeta

	limit     int   // records in a round, at most
	dirty     bool  // changed since the last cut
	processed bool  // and not only by positions that moved over what is no record
	stopped   bool  // processes no more records
	waiting   bool  // is stopped until the worker may write
	paused    bool  // processes no records until it is resumed
	releasing bool  // is to be returned to the owner
	checking  bool  // the check for foreign writes is running for its changelogs
	checked   bool  // the check is done
	undo      bool  // everything that is not settled is undone when it is returned
	cut       bool  // part of the commit in flight
	committed bool  // a position has moved since it was adopted, and the commit of that has settled
	err       error // why it failed
	damaged   bool  // it failed because a file is damaged
	// resuming is the end of the pause that waits for an answer; nil: none does.
	resuming *resumption
}

// moved reports whether a commit moves a position of the task from where it began. It may have part in one that does
// not, for the metadata of an offset.
func (t *activeTask) moved(offsets map[kafka.TopicPartition]kafka.OffsetMeta) bool {
	for tp, start := range t.Start {
		if o, ok := offsets[tp]; ok && o.Offset > start.Offset {
			return true
		}
	}
	return false
}

// Adopt transfers a task to the worker, which owns everything in h from now on. It reports Adopted,
// or Failed.
func (w *Worker) Adopt(h Handover) { w.command(func() { w.adopt(h) }) }

func (w *Worker) adopt(handover Handover) {
	active := &activeTask{
		Handover: handover, activity: activity{id: handover.ID}, limit: clockEvery, ends: handover.Ends,
		queued: map[kafka.TopicPartition]int64{}, logs: map[storage.Engine]*changelog.Log{},
		settled: maps.Clone(handover.Start),
	}
	if active.ends == nil {
		active.ends = map[kafka.TopicPartition]int64{}
	}
	w.tasks = append(w.tasks, active)
	if w.broken != nil || w.stopping { // it came too late: the next returnTasks returns it as it is
		active.stopped, active.releasing, active.undo = true, true, true
		return
	}
	w.member = handover.Member
	for _, log := range handover.Logs {
		active.logs[log.Engine] = log
	}
	if w.beginning || w.rewinding != nil {
		active.stopped, active.waiting = true, true
		return
	}
	w.startTask(active)
}

// startTask has a task process records.
func (w *Worker) startTask(active *activeTask) {
	w.unused = false
	handover := active.Handover
	if !w.exactlyOnce() {
		for _, log := range handover.Logs {
			// This worker alone writes the changelog from here on. Any other offset than this one is a
			// foreign write.
			log.Expect(w.producer)
		}
	}
	w.enterUserCode(&activity{id: handover.ID})
	err := w.wire(active)
	w.leaveUserCode()
	if err != nil {
		w.failTask(active, err)
		return
	}
	for _, tp := range active.task.Partitions() {
		w.byPartition[tp] = active
		active.queued[tp] = handover.Start[tp].Offset
	}
	active.dirty = true // wiring may have written to stores
	w.cfg.Report(Report{Worker: w.cfg.ID, Task: active.ID, Kind: Adopted})
	if w.cfg.Paused(active.ID.Subtopology) { // its inputs are fetched from when it is resumed
		w.setPaused(active, true)
		return
	}
	w.fetch(active)
}

func (w *Worker) wire(active *activeTask) error {
	cfg := w.cfg.Task
	cfg.ID, cfg.Context = active.ID, w.lease.Load().ctx
	cfg.Out, cfg.Dropped = output{w}, w.noteDropped
	cfg.Inputs = slices.Collect(maps.Keys(active.Start))
	cfg.Topics = func() []string { return active.Topics }
	cfg.Released, cfg.StepCount = w.cfg.Fetcher.Release, w.meter.StepCount
	cfg.Damaged = func(err error) bool { return active.Damage.causes(active.ID, err) }
	cfg.HasLag = func(tp kafka.TopicPartition) bool { return active.queued[tp] < active.ends[tp] }
	cfg.OpenEngine = func(s *graph.Store) (storage.Engine, error) {
		if engine := active.Engines[s.Name]; engine != nil {
			return engine, nil
		}
		return nil, errors.New("it was not opened")
	}
	var err error
	if graph.CarriesProgram(active.ID) {
		if cfg.Program, err = cfg.Graph.ProgramEntry(active.ID.Subtopology); err != nil {
			return err
		}
	}
	wired, err := task.New(cfg)
	if err != nil {
		return err
	}
	active.task = wired
	wired.SetCommitted(active.Start)
	// The group assigned these partitions to this task alone. Were one of them not read, nobody would
	// read it, and the App would look healthy.
	reads := wired.Partitions()
	for tp := range active.Start {
		if !slices.Contains(reads, tp) {
			return fmt.Errorf("task %s: it was assigned %s, which none of its sources reads", active.ID, tp)
		}
	}
	return nil
}

// punctuationDue reports whether a wall-clock punctuation is due.
func (t *activeTask) punctuationDue() bool {
	at, ok := t.task.NextWake()
	return ok && !time.Now().Before(at)
}

// output is where tasks write.
type output struct{ worker *Worker }

// Partitions implements task.Output. It may wait for brokers, as long as they are away, so the watch over functions
// that do not return has to know that no user code is running. It is asked once per commit and sink.
func (o output) Partitions(topic string) (int, error) {
	o.worker.awaitsBrokers.Store(true)
	defer o.worker.awaitsBrokers.Store(false)
	return o.worker.cfg.Partitions(topic)
}

// Send implements task.Output.
func (o output) Send(topic string, partition int32, record kafka.ProduceRecord) error {
	o.worker.open.out++
	tp := kafka.TopicPartition{Topic: topic, Partition: partition}
	return o.worker.producer.Send(o.worker.lease.Load().ctx, tp, record)
}

// Release has tasks settled and returned. They stop processing at once, and Released is reported
// for each when its last epoch is settled. For tasks that the worker does not have, Released is
// reported at once.
func (w *Worker) Release(ids ...graph.TaskID) {
	w.command(func() {
		for _, id := range ids {
			if active := w.find(id); active != nil {
				w.stopTask(active)
				active.releasing = true
				continue
			}
			w.cfg.Report(Report{Worker: w.cfg.ID, Task: id, Kind: Released})
		}
	})
}

// Stop has all tasks settled and returned. Then Run returns.
func (w *Worker) Stop() {
	w.command(func() {
		w.stopping = true
		for _, active := range w.tasks {
			w.stopTask(active)
			active.releasing = true
		}
	})
}

// Abandon returns all tasks with everything undone that is not settled. Records that the producer
// has not sent yet are dropped: other members may own the changelogs by now. done is closed
// afterwards.
func (w *Worker) Abandon(done chan<- struct{}) {
	// The worker may be waiting in Send for room in the producer. A producer sends only for a member,
	// and the group does not join again before the tasks are abandoned: without this, each would wait
	// for the other.
	w.lease.Load().end(ErrMembershipLost)
	w.command(func() {
		defer close(done)
		// The goroutines behind these end by themselves: one finds another member id, the other has the
		// lease's context.
		w.inFlight, w.pendingCheck, w.rewinding = nil, nil, nil
		for _, active := range w.tasks {
			w.stopTask(active)
			active.releasing, active.undo, active.cut = true, true, false
		}
		w.returnTasks()
		w.countOpen()
		w.open.clear()
		w.newLease()
		// The producer is replaced, with what it has queued. Otherwise the next member would write these
		// records into changelogs that others own.
		if w.broken == nil && !w.unused {
			w.replaceProducer()
		}
	})
}

// replaceProducer replaces the producer, with what it has queued.
func (w *Worker) replaceProducer() {
	// That of a worker whose epochs were abandoned was replaced at once, and has written nothing yet.
	if w.beginning {
		return
	}
	w.producer.Close()
	if err := w.openProducer(); err != nil {
		w.failWorker(err)
	}
}

func (w *Worker) find(id graph.TaskID) *activeTask {
	for _, active := range w.tasks {
		if active.ID == id {
			return active
		}
	}
	return nil
}

// stopTask ends fetching and processing for a task.
func (w *Worker) stopTask(active *activeTask) {
	if active.stopped {
		return
	}
	active.stopped = true
	if active.task == nil {
		return
	}
	tps := active.task.Partitions()
	w.cfg.Fetcher.Remove(tps...)
	for _, tp := range tps {
		delete(w.byPartition, tp)
	}
}

// failTask stops a task permanently; the others go on. What the task did since its last cut is
// undone when it is returned: the record at which it failed was processed in part, and will be
// processed again.
func (w *Worker) failTask(active *activeTask, err error) { w.failTaskAs(active, Failed, err) }

// failTaskAs is failTask with another kind of report.
func (w *Worker) failTaskAs(active *activeTask, kind Kind, err error) {
	// A crash point below the task: task.Task turns panics into errors, so this one arrives as an error.
	if errors.Is(err, crashpoint.Dead) {
		panic(crashpoint.Dead)
	}
	w.stopTask(active)
	// The producer of all tasks does not know what is in the log: no task of the worker can commit.
	if errors.Is(err, kafka.ErrUncertain) || w.isOfTransaction(err) {
		w.failWorker(err)
	}
	// The lease has ended, perhaps just now: the error is a consequence, and the owner knows the cause.
	if w.leaseEnded() {
		active.undo = true
		return
	}
	if active.err != nil {
		return
	}
	// It is returned at once: the owner may open it again, which costs nobody else anything.
	active.err, active.releasing = err, true
	if active.Damage.causes(active.ID, err) {
		active.damaged, kind = true, Damaged
	}
	w.cfg.Report(Report{Worker: w.cfg.ID, Task: active.ID, Kind: kind, Err: err})
	// What a task has written cannot be taken out of a transaction by itself: it ends for all tasks of the worker.
	if w.exactlyOnce() {
		w.abandonEpochs(Uncertain, err)
	}
}

// failWorker ends all commits of the worker. Nothing settles that is not settled yet.
func (w *Worker) failWorker(err error) {
	if w.broken != nil || w.leaseEnded() {
		return
	}
	// Whether the last batch is in the log cannot be known, or the transaction cannot be committed. The tasks begin again
	// at their last commit, and the App need not stop: without transactions input may count twice, but none is lost.
	if errors.Is(err, kafka.ErrUncertain) || w.isOfTransaction(err) {
		w.noteAborted(err)
		w.abandonEpochs(Uncertain, err)
		return
	}
	w.broken = err
	w.abandonEpochs(Broken, err)
}

// abandonEpochs stops all tasks and marks everything that is not settled to be undone.
func (w *Worker) abandonEpochs(kind Kind, err error) {
	pending := w.inFlight
	w.inFlight, w.pendingCheck = nil, nil
	for _, active := range w.tasks {
		w.stopTask(active)
		active.undo, active.cut = true, false
	}
	w.countOpen()
	w.open.clear()
	w.lease.Load().end(err) // errors from now on are consequences of this one
	if w.exactlyOnce() && kind == Uncertain {
		w.restarts++
		if !w.outcomeUnknown {
			w.rewinding = &rewind{pending: pending, cause: err}
			w.countProducer() // no policy is to decide about records that are undone
			return
		}
	}
	w.reopen(kind, err)
}

// reopen has the owner take the tasks back, with everything undone that is not settled.
func (w *Worker) reopen(kind Kind, err error) {
	// A transaction that stays open holds up its readers, and who is to run the tasks. The next one of the same
	// transactional id aborts it.
	if w.exactlyOnce() {
		w.replaceProducer()
	}
	w.cfg.Report(Report{Worker: w.cfg.ID, Kind: kind, Err: err})
}

// returnTasks closes the tasks that can be returned and reports them.
func (w *Worker) returnTasks() {
	remaining := w.tasks[:0]
	for _, active := range w.tasks {
		if !active.returnable() || !w.foreignChecked(active) {
			remaining = append(remaining, active)
			continue
		}
		settled := !active.undo && active.err == nil
		err := w.closeTask(active)
		w.cfg.Report(Report{
			Worker: w.cfg.ID, Task: active.ID, Kind: Released, Err: err, Settled: settled && err == nil,
		})
	}
	clear(w.tasks[len(remaining):])
	w.tasks = remaining
}

// returnable reports whether nothing of the task is left between cut and settled, and nothing
// remains to be cut: either its epochs are abandoned, or the commit in flight is not its own and it
// has no changes. A failed task has changes, which will be undone.
func (t *activeTask) returnable() bool {
	return t.releasing && (t.undo || !t.cut && (!t.dirty || t.err != nil))
}

// closeTask closes a task and undoes what is not settled. keeps 3
func (w *Worker) closeTask(active *activeTask) error {
	clean := !active.undo && active.err == nil
	var errs []error
	// Steps close first: their functions may still read the stores.
	if active.task != nil {
		w.enterUserCode(&active.activity)
		errs = append(errs, active.task.Close(clean))
		w.leaveUserCode()
	}
	if !clean {
		for name, engine := range active.Engines {
			// A damaged file may fail here once more. It is restored as a whole, so that is no error of its
			// own.
			if err := engine.Undo(); err != nil && !(active.damaged && active.Damage.causes(active.ID, err)) {
				errs = append(errs, fmt.Errorf("store %q partition %d: %w", name, active.ID.Partition, err))
			}
		}
	}
	return errors.Join(errs...)
}
