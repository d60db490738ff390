package instance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/topics"
	"github.com/millstream-go/millstream/internal/runtime/worker"
)

// handleReport acts on what a worker reports of its tasks.
func (m *taskManager) handleReport(report worker.Report) {
	task := m.tasks[report.Task]
	switch report.Kind {
	case worker.Adopted:
		if task != nil && !task.removing {
			// It may have begun again in its worker, and says again whether it is paused.
			task.running, task.runningSince, task.paused = true, time.Now(), false
			if !task.assignedSince.IsZero() {
				m.inst.cfg.Counters.taskRuns(task.runningSince.Sub(task.assignedSince))
				task.assignedSince = time.Time{}
			}
			m.publish()
		}
	case worker.Committed:
		m.taskCommitted(report.Task)
	case worker.Paused, worker.Resumed:
		if task != nil {
			task.paused = report.Kind == worker.Paused
			m.publish()
		}
	case worker.Released:
		m.taskReleased(task, report)
	case worker.Failed: // a Released follows by itself
		m.taskFailed(task, report.Err)
	case worker.Unreadable: // the run stops, which settles the other tasks
		if task != nil {
			m.notRunning(task)
		}
		m.inst.Fail(report.Err)
	case worker.Damaged: // a Released follows by itself; what moves the file aside logs what is wrong
		if task != nil {
			task.damaged = true
			m.notRunning(task)
			m.publish()
		}
	case worker.Broken: // the worker cannot commit any more
		m.inst.Fail(report.Err)
	case worker.Uncertain:
		m.restartTasks(report)
	case worker.Lost: // the group will say the same, and its Lost removes the tasks
		m.inst.cfg.Logger.Warn("millstream: a commit was refused", "error", report.Err)
	}
}

func (m *taskManager) taskReleased(task *assignedTask, r worker.Report) {
	if r.Err != nil {
		m.inst.Fail(r.Err)
	}
	if task == nil || task.handover == nil { // it was abandoned before
		return
	}
	switch {
	case task.removing || m.inst.failing():
		m.inst.releaseStores(*task.handover, r.Settled, m.inst.cfg.Standbys > 0)
		m.forget(task)
	case task.damaged:
		m.reopenDamaged(task)
	case task.failure != nil:
		m.decideRestart(task)
	default: // the worker had to hand it back, but it is still assigned
		m.inst.releaseStores(*task.handover, r.Settled, m.inst.cfg.Standbys > 0)
		m.openTasks([]topics.Task{task.deployed})
	}
}

// restartTasks has a worker hand back its tasks, which are then opened again where they have
// committed. Its producer cannot know whether what it has sent since was written, so that is sent
// again.
func (m *taskManager) restartTasks(r worker.Report) {
	// A task that has failed, or whose file is damaged, ends the transaction of all tasks of its worker: what was wrong is
	// said elsewhere.
	if !m.inst.failing() && !isDamage(r.Err) && !m.isTaskFailure(r.Err) {
		m.inst.cfg.Logger.Warn("millstream: the tasks of a worker begin again at their committed offsets", "worker", r.Worker,
			"error", r.Err)
	}
	for _, task := range m.tasks {
		if task.handover != nil && task.worker == r.Worker {
			m.notRunning(task)
		}
	}
	m.publish()
	m.inst.workers[r.Worker].Abandon(make(chan struct{}))
}

// publish publishes which tasks the App has, which stores can be read, and the phase that follows from
// that.
func (m *taskManager) publish() {
	states := make([]taskState, 0, len(m.tasks))
	running, stores := []graph.TaskID{}, map[string][]readable{}
	assigned := map[graph.TaskID]bool{}
	phase := Running
	for _, task := range m.sortedTasks() {
		assigned[task.id] = task.running
		states = append(states, taskState{task.id, TaskInfo{
			ID: task.id.String(), Running: task.running, Paused: task.running && task.paused, Worker: task.worker,
			Phase: task.phase(),
		}})
		if !task.running && !task.removing { // one that is being removed will not run any more
			phase = Restoring
		}
		if task.running {
			running = append(running, task.id)
			for name, engine := range task.handover.Engines {
				stores[name] = append(stores[name], readable{task.id.Partition, engine})
			}
		}
	}
	m.inst.taskStates.Store(&states)
	m.runningTasks.Store(&running)
	m.assigned.Store(&assigned)
	m.readable.Store(&stores)
	m.publishRestarting()
	// A task that has failed is none that waits for its store: the run ends because of it.
	if m.inst.failing() {
		return
	}
	if reached := m.inst.cfg.Observer.Phase(phase); reached && phase == Running {
		m.logRunning()
	}
}

// logRunning logs which tasks run, if those are others than the last line said.
func (m *taskManager) logRunning() {
	var ids, topicNames []string
	for _, task := range m.sortedTasks() {
		if !task.running { // it is being removed: another line follows
			return
		}
		ids = append(ids, task.id.String())
		for _, tp := range task.deployed.Inputs {
			topicNames = append(topicNames, tp.Topic)
		}
	}
	slices.Sort(topicNames)
	topicNames = slices.Compact(topicNames)
	if ids != nil && slices.Equal(ids, m.loggedTasks) || ids == nil && m.loggedTasks != nil && len(m.loggedTasks) == 0 {
		return
	}
	if m.loggedTasks = ids; ids == nil {
		m.loggedTasks = []string{} // logged, and none
		m.inst.cfg.Logger.Info("millstream: running: no tasks; other members of the group have them, or there are none")
		return
	}
	count := fmt.Sprintf("%d tasks", len(ids))
	if len(ids) == 1 {
		count = "1 task"
	}
	m.inst.cfg.Logger.Info(fmt.Sprintf("millstream: running: %s, topics %s", count, strings.Join(topicNames, ", ")),
		"tasks", strings.Join(ids, " "))
}

func (m *taskManager) sortedTasks() []*assignedTask {
	out := make([]*assignedTask, 0, len(m.tasks))
	for _, task := range m.tasks {
		out = append(out, task)
	}
	slices.SortFunc(out, func(a, b *assignedTask) int { return a.id.Compare(b.id) })
	return out
}

// assignedIDs returns the tasks that are not being removed.
func (m *taskManager) assignedIDs() []string {
	var ids []string
	for _, task := range m.sortedTasks() {
		if !task.removing {
			ids = append(ids, task.id.String())
		}
	}
	return ids
}

// Tasks returns the tasks that the group has assigned to this member, sorted.
func (inst *Instance) Tasks() []TaskInfo {
	states := *inst.taskStates.Load()
	infos := make([]TaskInfo, len(states))
	for i, state := range states {
		infos[i] = state.TaskInfo
	}
	return infos
}

// taskState is a task as it is published.
type taskState struct {
	id graph.TaskID
	TaskInfo
}
