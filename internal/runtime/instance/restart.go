package instance

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/task"
)

// A task that fails is restarted, if Config.OnTaskError says so, the way a task with a damaged file is: the worker
// undoes what is not settled and returns the task, whose stores go back to the directory, and after a pause it is
// opened again at its committed offsets. Other tasks go on; with exactly once those of the same worker begin again at
// once, since nothing can be taken out of a transaction by itself.
//
// These errors are no task's, and always stop the App:
//
//   - of inputs that cannot be read (worker.Unreadable), and of opening tasks: offsets, topics, disks
//   - of a worker that cannot commit (worker.Broken), and of global stores
//   - of a function that does not return: its worker is lost
//
// A lost membership, a producer that was fenced and brokers that are away are no errors of a task either: the tasks go
// on when that is over.

// taskFailures are the failures of one task.
type taskFailures struct {
	restarts int // since the App began
	// ran is how long the task has run since its first failure. Restarts count in a period of this time: on the wall
	// clock, pauses that grow and long restores would let a record that always fails be tried for ever.
	ran time.Duration
	// at is when the restarts of the present period were, by ran.
	at []time.Duration
	// unproven is why the task was restarted last, until it has committed; nil: it has.
	unproven error
}

// provenAfter is how long a restarted task must run before App.Ready counts it as healthy, where it has not committed
// anything: there may be nothing to process. Until then it may be about to fail at the same record. A health check that
// was nil between two failures would have traffic sent to an App that does not get on.
const provenAfter = 10 * time.Second

// failedTask is a task that has failed, and has not shown yet that it gets on.
type failedTask struct {
	err   error
	since time.Time // when it began to run again; zero: it does not run
}

// healthy returns nil if the task has run for long enough, or else why it is not healthy.
func (t failedTask) healthy() error {
	if !t.since.IsZero() && time.Since(t.since) >= provenAfter {
		return nil
	}
	return t.err
}

// inPeriod returns how many restarts there were in a period that ends now. It forgets earlier ones.
func (f *taskFailures) inPeriod(within time.Duration) int {
	f.at = slices.DeleteFunc(f.at, func(at time.Duration) bool { return f.ran-at > within })
	return len(f.at)
}

// notRunning notes that a task does not run any more.
func (m *taskManager) notRunning(task *assignedTask) {
	if failures := m.failures[task.id]; failures != nil && task.running {
		failures.ran += time.Since(task.runningSince)
	}
	task.running = false
}

// taskFailed notes that a task has failed.
func (m *taskManager) taskFailed(task *assignedTask, err error) {
	policy := m.inst.cfg.TaskErrors
	_, restarts := policy.Restart(0)
	switch {
	// The run stops, which settles the other tasks.
	case !restarts && !policy.Decides():
		if task != nil {
			m.notRunning(task)
		}
		m.inst.Fail(err)
	// It was lost meanwhile, or is being revoked.
	case task == nil || task.removing:
		m.inst.cfg.Logger.Warn("millstream: a task failed that goes to another member, which continues at the committed "+
			"offsets",
			"error", err)
	default: // taskReleased comes next
		m.notRunning(task)
		task.failure = err
		m.publish()
	}
}

// isTaskFailure reports whether err is that of a task that failed and is to be restarted, which is logged with the
// restart.
func (m *taskManager) isTaskFailure(err error) bool {
	for _, task := range m.tasks {
		if task.failure != nil && errors.Is(err, task.failure) {
			return true
		}
	}
	return false
}

// decideRestart decides whether a task is restarted that has failed and was returned.
func (m *taskManager) decideRestart(failed *assignedTask) {
	failures := m.failures[failed.id]
	if failures == nil {
		failures = new(taskFailures)
		m.failures[failed.id] = failures
	}
	report, handover := taskReport(failed, failures.restarts), failed.handover
	failed.handover, failed.cancelOpening = nil, func() {} // one that is removed meanwhile is forgotten by restart
	m.publish()
	// On a goroutine of its own: closing a store may wait for its disk, and a user's function may decide.
	m.inst.background(func() {
		m.inst.opener.ReleaseStores(*handover)
		policy, err := m.resolve(report)
		m.todo.Put(func() { m.restart(failed, failures, report, policy, err) })
	})
}

// resolve returns the policy that decides, which may be up to a function of the user.
func (m *taskManager) resolve(report failure.TaskReport) (policy failure.TaskPolicy, err error) {
	if !m.inst.cfg.TaskErrors.Decides() {
		return m.inst.cfg.TaskErrors, nil
	}
	defer m.inst.cfg.Observer.UserCall("Config.OnTaskError")()
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("Config.OnTaskError: %w", &task.Panic{Value: v, Stack: debug.Stack()})
		}
	}()
	return m.inst.cfg.TaskErrors.Resolve(report)
}

// restart has a task opened again, or stops the run. err is why the policy cannot be used.
func (m *taskManager) restart(
	failed *assignedTask, failures *taskFailures, report failure.TaskReport, policy failure.TaskPolicy, err error,
) {
	if failed.removing || m.inst.failing() {
		m.forget(failed)
		return
	}
	inPeriod := failures.inPeriod(policy.Within())
	pause, ok := policy.Restart(inPeriod)
	if err != nil || !ok {
		failed.cancelOpening = nil // the stop, which revokes the task, forgets it
		m.inst.Fail(restartError(report, policy, inPeriod, err))
		return
	}
	failures.restarts++
	failures.unproven = report.Err
	failures.at = append(failures.at, failures.ran)
	m.inst.cfg.Counters.taskRestarted(report.Task)
	m.inst.cfg.Logger.Error("millstream: a task failed, and is restarted", "task", report.Task,
		"restart", inPeriod+1, "pause", pause, "error", report.Err)
	if notify := m.inst.cfg.Observer.Restart; notify != nil {
		notify(TaskRestartInfo{
			Task: report.Task, Step: report.Step, Topic: report.Topic, Partition: report.Partition, Offset: report.Offset,
			Restarts: failures.restarts, Pause: pause, Err: report.Err,
		})
	}
	m.reopen(failed, pause)
}

// restartError returns why the run stops after a task has failed.
func restartError(report failure.TaskReport, policy failure.TaskPolicy, inPeriod int, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("%w; Config.OnTaskError could not decide: %w", report.Err, err)
	case inPeriod > 0:
		return fmt.Errorf("task %s was restarted %d times within %v, and has failed again: %w", report.Task, inPeriod,
			policy.Within(), report.Err)
	}
	return report.Err
}

// taskReport describes a failure to the policy.
func taskReport(failed *assignedTask, restarts int) failure.TaskReport {
	report := failure.TaskReport{
		Task: failed.id.String(), Partition: -1, Offset: -1, Restarts: restarts, Err: failed.failure,
	}
	if at, ok := errors.AsType[*task.Error](failed.failure); ok {
		if at.Node != nil {
			report.Step = at.Node.Name
		}
		if at.Topic != "" {
			report.Topic, report.Partition, report.Offset = at.Topic, at.Partition, at.Offset
		}
	}
	return report
}

// taskCommitted notes that a task has committed: it gets on.
func (m *taskManager) taskCommitted(id graph.TaskID) {
	if failures := m.failures[id]; failures != nil && failures.unproven != nil {
		failures.unproven = nil
		m.publish()
	}
}

// publishRestarting publishes which tasks wait to be restarted, or have been and have not committed since, and why.
func (m *taskManager) publishRestarting() {
	var failed []failedTask
	for _, task := range m.sortedTasks() {
		failures := m.failures[task.id]
		switch {
		case task.removing:
		case task.failure != nil:
			failed = append(failed, failedTask{err: fmt.Errorf("task %s waits to be restarted: %w", task.id, task.failure)})
		case failures != nil && failures.unproven != nil:
			err := fmt.Errorf("task %s was restarted, and has not committed since: %w", task.id, failures.unproven)
			again := failedTask{err: err}
			if task.running {
				again.since = task.runningSince
			}
			failed = append(failed, again)
		}
	}
	m.restarting.Store(&failed)
}
