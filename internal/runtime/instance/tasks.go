package instance

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/group"
	"github.com/millstream-go/millstream/internal/runtime/mailbox"
	"github.com/millstream-go/millstream/internal/runtime/topics"
	"github.com/millstream-go/millstream/internal/runtime/worker"
)

// taskManager brings the tasks that the group assigns to workers, and back. It is one goroutine
// that never waits: what takes time runs on other goroutines, which put a function into its mailbox
// when they are done.
//
// A task is opening, on goroutines of its own; then running, on a worker; then being removed. Tasks
// that stay assigned are not touched when others come and go.
type taskManager struct {
	inst      *Instance
	todo      *mailbox.Mailbox[func()]
	groupDone chan struct{} // closed when the group's Run has returned

	// What follows belongs to the goroutine of loop.
	tasks    map[graph.TaskID]*assignedTask
	removals []*removal
	// damageRestarts counts how often each task was opened again because of a damaged file.
	damageRestarts map[graph.TaskID]int
	// failures are of the tasks that have failed.
	failures map[graph.TaskID]*taskFailures
	// restarting are the tasks that wait to be restarted, or were and have not committed since.
	restarting atomic.Pointer[[]failedTask]
	// loggedTasks are the tasks of the last line in the log that said what runs; nil: there was none.
	loggedTasks []string
	// runningTasks are published for other goroutines.
	runningTasks atomic.Pointer[[]graph.TaskID]
	// wantedStandbys are the standbys that the group wants here, standbys those that were started.
	wantedStandbys map[graph.TaskID]group.Standby
	standbys       map[graph.TaskID]bool
	// endingStandbys has, of standbys that were ended, what is closed when their stores are free.
	endingStandbys map[graph.TaskID]<-chan struct{}
	// assigned are all tasks of this member, and whether they run, published for other goroutines.
	assigned atomic.Pointer[map[graph.TaskID]bool]
	// readable are the store partitions of these tasks, by store and in order, for reads from outside.
	// What is published does not change.
	readable atomic.Pointer[map[string][]readable]
}

// assignedTask is a task that the group has assigned to this member.
type assignedTask struct {
	id            graph.TaskID
	deployed      topics.Task
	cancelOpening context.CancelFunc // nil: the opening has failed
	handover      *worker.Handover   // nil: it is opening
	worker        int
	running       bool
	runningSince  time.Time
	assignedSince time.Time // by a rebalance; zero once it has run
	paused        bool
	damaged       bool  // a file of its stores, or of a global store, is damaged
	failure       error // why it failed
	removing      bool  // it was revoked or lost
}

// phase returns what the task does.
func (t *assignedTask) phase() TaskPhase {
	switch {
	case t.removing:
		return TaskRevoked
	case t.running:
		return TaskRunning
	case t.failure != nil:
		return TaskWaiting
	}
	return TaskRestoring
}

// removal waits until tasks are removed.
type removal struct {
	remaining map[graph.TaskID]bool
	onRemoved func()
}

func (m *taskManager) init(inst *Instance) {
	m.inst, m.todo, m.tasks = inst, mailbox.New[func()](), map[graph.TaskID]*assignedTask{}
	m.damageRestarts, m.failures = map[graph.TaskID]int{}, map[graph.TaskID]*taskFailures{}
	m.standbys, m.endingStandbys = map[graph.TaskID]bool{}, map[graph.TaskID]<-chan struct{}{}
	m.runningTasks.Store(new([]graph.TaskID))
	m.assigned.Store(new(map[graph.TaskID]bool))
	m.readable.Store(new(map[string][]readable))
}

func (m *taskManager) loop(ctx context.Context) {
	var received []func()
	for {
		received = m.todo.Drain(received)
		for _, f := range received {
			f()
		}
		select {
		case <-m.todo.Ready():
		case <-ctx.Done():
			return
		}
	}
}

// Assigned implements group.Handler.
func (m *taskManager) Assigned(tasks []topics.Task) { m.todo.Put(func() { m.assign(tasks) }) }

// Revoke implements group.Handler.
func (m *taskManager) Revoke(ids []graph.TaskID) <-chan struct{} {
	settled := make(chan struct{})
	m.todo.Put(func() { m.revoke(ids, settled) })
	return settled
}

// Lost implements group.Handler.
func (m *taskManager) Lost(ids []graph.TaskID) <-chan struct{} {
	dropped := make(chan struct{})
	m.todo.Put(func() { m.membershipLost(ids, dropped) })
	return dropped
}

// workerReport is where workers send their reports.
func (m *taskManager) workerReport(r worker.Report) { m.todo.Put(func() { m.handleReport(r) }) }

func (m *taskManager) assign(tasks []topics.Task) {
	if len(tasks) > 0 {
		m.openTasks(tasks)
		for _, t := range tasks {
			m.tasks[t.ID].assignedSince = time.Now()
		}
	} else {
		m.publish() // that there is nothing to do is news after the start
	}
	m.notifyAssigned()
}

// notifyAssigned notifies the observer which tasks this member has after a rebalance. During a stop
// it does not: an App that stops revokes all of its tasks, which is no rebalance.
func (m *taskManager) notifyAssigned() {
	if notify := m.inst.cfg.Observer.Assigned; notify != nil && !m.inst.stopping.Load() {
		notify(m.assignedIDs())
	}
}

// openTasks begins to open tasks.
func (m *taskManager) openTasks(tasks []topics.Task) {
	batch := &worker.Opening{
		Deployment: m.inst.group.Deployment(), Graph: m.inst.graph, Member: m.inst.group.Membership().Member,
		Tasks: map[graph.TaskID]topics.Task{},
	}
	// The tasks of a batch share what they look up first, so this context ends when the last of them
	// is removed, not the first.
	ctx, cancel := context.WithCancel(m.inst.ctx)
	opening := len(tasks)
	for _, t := range tasks {
		batch.Tasks[t.ID] = t
		m.tasks[t.ID] = &assignedTask{id: t.ID, deployed: t, cancelOpening: func() {
			if opening--; opening == 0 {
				cancel()
			}
		}}
	}
	ending := m.promote(tasks)
	m.publish()
	m.inst.background(func() {
		// Before anything is looked up: where the fetch of a standby goes on after the ends of its logs were
		// looked up, its position may lie behind them.
		if len(ending) > 0 {
			m.openLate(batch, m.awaitStandbys(ctx, ending))
			m.inst.hook.At(crashpoint.PromotionDone)
		}
		if len(batch.Tasks) == 0 {
			cancel()
			return
		}
		m.openBatch(ctx, cancel, batch)
	})
}

// openLate opens the tasks of a batch whose standbys have not ended yet, each by itself when its own has. It runs on
// the goroutine of the batch, which goes on without them.
func (m *taskManager) openLate(batch *worker.Opening, late map[graph.TaskID]<-chan struct{}) {
	for id, ending := range late {
		own := &worker.Opening{
			Deployment: batch.Deployment, Graph: batch.Graph, Member: batch.Member,
			Tasks: map[graph.TaskID]topics.Task{id: batch.Tasks[id]},
		}
		delete(batch.Tasks, id)
		ctx, cancel := context.WithCancel(m.inst.ctx)
		m.todo.Put(func() { m.setCancel(id, cancel) })
		m.inst.background(func() {
			select {
			case <-ending:
			case <-m.inst.standbys.Done():
			case <-ctx.Done():
			}
			m.openBatch(ctx, cancel, own)
		})
	}
}

// openBatch opens tasks, on a goroutine of its own.
func (m *taskManager) openBatch(ctx context.Context, cancel context.CancelFunc, batch *worker.Opening) {
	batchErr := m.inst.opener.Begin(ctx, batch)
	cancel()
	for id := range batch.Tasks {
		if batchErr != nil {
			m.todo.Put(func() { m.taskOpened(id, worker.Handover{}, batchErr) })
			continue
		}
		// From here on each task has its own context: one may be removed while others of the batch are
		// being restored.
		taskCtx, cancelTask := context.WithCancel(m.inst.ctx)
		m.todo.Put(func() { m.setCancel(id, cancelTask) })
		m.inst.background(func() {
			handover, err := m.inst.opener.Open(taskCtx, batch, id)
			m.todo.Put(func() { m.taskOpened(id, handover, err) })
		})
	}
}

func (m *taskManager) setCancel(id graph.TaskID, cancel context.CancelFunc) {
	task := m.tasks[id]
	task.cancelOpening = cancel
	if task.removing { // it was removed before it had a context of its own
		cancel()
	}
}

// taskOpened is the end of an opening. The task goes to the worker that has the fewest.
func (m *taskManager) taskOpened(id graph.TaskID, handover worker.Handover, err error) {
	task := m.tasks[id]
	task.cancelOpening()
	switch {
	case isDamage(err) && !task.removing && !m.inst.failing():
		m.reopenDamaged(task)
	case err != nil:
		// Damage and a lost membership are no failure of the run. An error of a task that is being
		// removed may be that its context has ended.
		if !isDamage(err) && !task.removing && m.inst.ctx.Err() == nil && !errors.Is(err, worker.ErrMembershipLost) {
			m.inst.Fail(err)
		}
		m.openFailed(task)
	case task.removing: // it was revoked or lost when it was already open
		m.inst.releaseStores(handover, true, m.inst.cfg.Standbys > 0) // nothing but restored rows
		m.forget(task)
	default:
		task.handover, task.worker = &handover, m.leastLoaded()
		m.inst.workers[task.worker].Adopt(handover)
	}
}

// openFailed leaves a task that could not be opened assigned until it is revoked or lost, which
// will be soon: the run fails, or the member joins again.
func (m *taskManager) openFailed(task *assignedTask) {
	if task.removing {
		m.forget(task)
		return
	}
	task.cancelOpening = nil
}

func (m *taskManager) leastLoaded() int {
	load := make([]int, len(m.inst.workers))
	for _, task := range m.tasks {
		if task.handover != nil {
			load[task.worker]++
		}
	}
	return slices.Index(load, slices.Min(load))
}

// remove begins to remove a task. It is forgotten at once when its opening has failed, and
// otherwise by whoever has it: the opening when that returns, or the worker's report.
func (m *taskManager) remove(task *assignedTask) {
	task.removing = true
	m.notRunning(task)
	if task.handover == nil {
		if task.cancelOpening == nil {
			m.forget(task)
			return
		}
		task.cancelOpening()
	}
}

func (m *taskManager) revoke(ids []graph.TaskID, settled chan struct{}) {
	byWorker := map[int][]graph.TaskID{}
	// The removal is made before anything is removed: a task that is forgotten at once has to be
	// counted, too.
	removal := m.awaitRemoval(ids, func() {
		m.notifyAssigned()
		m.closeAfterHook(crashpoint.RevokeSettled, settled)
	})
	for _, id := range ids {
		if task := m.tasks[id]; task != nil {
			if task.handover != nil {
				byWorker[task.worker] = append(byWorker[task.worker], id)
			}
			m.remove(task)
		}
	}
	// One call a worker: it settles all of its tasks with one commit.
	for i, ids := range byWorker {
		m.inst.workers[i].Release(ids...)
	}
	m.publish()
	m.checkRemoval(removal) // nothing to wait for, if the member had none of them
}

// abandon removes the tasks of a worker that is in a function of the user which does not return.
// Nothing of theirs will be settled, so the group can be left at once. Their stores stay open,
// since the function may use them when it does return.
func (m *taskManager) abandon(worker int) {
	m.inst.workers[worker].Abort() // it sends nothing any more
	m.todo.Put(func() {
		for _, task := range m.sortedTasks() {
			if task.handover != nil && task.worker == worker {
				task.removing = true
				m.notRunning(task)
				m.forget(task)
			}
		}
	})
}

// closeAfterHook passes a crash point and closes ch then.
func (m *taskManager) closeAfterHook(p crashpoint.Point, ch chan struct{}) {
	m.inst.hook.At(p)
	close(ch)
}

// membershipLost removes all tasks without a commit: other members may run them already.
func (m *taskManager) membershipLost(ids []graph.TaskID, dropped chan struct{}) {
	if len(ids) > 0 {
		m.inst.cfg.Logger.Warn("millstream: dropped from the group: what was not committed will be processed again, here "+
			"or elsewhere",
			"tasks", len(ids))
	}
	removed := make(chan struct{})
	removal := m.awaitRemoval(ids, func() {
		m.notifyAssigned()
		close(removed)
	})
	// Every worker, not only those with tasks: what a producer has queued for the old membership must
	// not reach the changelogs, which others write now.
	var abandoned []chan struct{}
	for _, w := range m.inst.workers {
		done := make(chan struct{})
		w.Abandon(done)
		abandoned = append(abandoned, done)
	}
	for _, id := range ids {
		if task := m.tasks[id]; task != nil {
			m.remove(task)
		}
	}
	m.publish()
	m.checkRemoval(removal)
	// The group joins again when dropped is closed. That has to wait for the workers and for the
	// tasks: a task that is assigned again must not find its stores in use.
	m.inst.background(func() {
		for _, ch := range append(abandoned, removed) {
			select {
			case <-ch:
			case <-m.inst.ctx.Done():
				return
			}
		}
		close(dropped)
	})
}

// awaitRemoval has onRemoved called when none of the tasks is assigned any more. The caller calls
// checkRemoval, in case none is.
func (m *taskManager) awaitRemoval(ids []graph.TaskID, onRemoved func()) *removal {
	r := &removal{remaining: map[graph.TaskID]bool{}, onRemoved: onRemoved}
	for _, id := range ids {
		if m.tasks[id] != nil {
			r.remaining[id] = true
		}
	}
	m.removals = append(m.removals, r)
	return r
}

func (m *taskManager) checkRemoval(r *removal) {
	if len(r.remaining) == 0 && r.onRemoved != nil {
		r.onRemoved()
		r.onRemoved = nil
		m.removals = slices.DeleteFunc(m.removals, func(other *removal) bool { return other == r })
	}
}

// forget removes a task that is settled or dropped from the books.
func (m *taskManager) forget(task *assignedTask) {
	delete(m.tasks, task.id)
	if failures := m.failures[task.id]; failures != nil {
		failures.unproven = nil // what becomes of it is seen elsewhere
	}
	m.startStandbys()
	m.publish()
	for _, r := range slices.Clone(m.removals) { // checkRemoval deletes from it
		delete(r.remaining, task.id)
		m.checkRemoval(r)
	}
}
