package millstream

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/runtime/task"
)

// Events are functions that an App calls when something happens; those that are nil are not called.
// They are called on the App's goroutines, several at once, in the middle of its work. So they must
// be safe for that, return soon, and not call the App's Run, OpenStore or what OpenStore returned.
// The events of one store, or of one task, come in order.
//
// One that panics stops the App, and so does one that has not returned after
// Config.MaxProcessingTime. The end of Run waits for State no longer than Config.StopTimeout.
type Events struct {
	// State is called when the App goes from one state to another.
	State func(old, new State)
	// Restore is called when the restore of a store partition begins, after each batch, and when it is
	// done.
	Restore func(RestoreInfo)
	// Standby is called when a standby of a store partition begins to follow its changelog, after each batch, and when it
	// ends.
	Standby func(StandbyUpdate)
	// Dropped is called for records that were dropped: at most once a second for each step and reason,
	// with their number.
	Dropped func(DropInfo)
	// Failure is called for each record that failed, whatever the policy does with it.
	Failure func(failure.Report)
	// Assigned is called after a rebalance in which the App got or lost tasks, with all tasks that it
	// has then, as "0_3": sub-topology 0, partition 3. There may be none. It is also called once for
	// an App that gets no task when it starts.
	Assigned func(tasks []string)
	// Damaged is called once for each file of a store that turned out to be damaged and was moved
	// aside.
	Damaged func(DamageInfo)
	// Commit is called after each commit of a worker.
	Commit func(CommitInfo)
	// Rebalance is called when a rebalance has ended, before the tasks that it brings are opened.
	Rebalance func(RebalanceInfo)
	// TaskRestart is called when a task has failed and Config.OnTaskError has decided to restart it,
	// before the pause.
	TaskRestart func(TaskRestartInfo)
}

// guarded returns e with functions that call fail when they panic: they run on goroutines of the
// App, and a panic there would end the process. calls gets to know which have not returned.
func (e Events) guarded(calls *eventCalls, fail func(error)) Events {
	enter := func(name string) (leave func()) {
		end := calls.begin("Config.Events." + name)
		return func() {
			end()
			if v := recover(); v != nil {
				fail(fmt.Errorf("Config.Events.%s: %w", name, &task.Panic{Value: v, Stack: debug.Stack()}))
			}
		}
	}
	if f := e.State; f != nil {
		e.State = func(old, next State) { defer enter("State")(); f(old, next) }
	}
	e.Restore, e.Dropped = guard("Restore", e.Restore, enter), guard("Dropped", e.Dropped, enter)
	e.Failure, e.Commit = guard("Failure", e.Failure, enter), guard("Commit", e.Commit, enter)
	e.Damaged = guard("Damaged", e.Damaged, enter)
	e.Assigned, e.Standby = guard("Assigned", e.Assigned, enter), guard("Standby", e.Standby, enter)
	e.Rebalance = guard("Rebalance", e.Rebalance, enter)
	e.TaskRestart = guard("TaskRestart", e.TaskRestart, enter)
	return e
}

func guard[T any](name string, f func(T), enter func(string) func()) func(T) {
	if f == nil {
		return nil
	}
	return func(x T) { defer enter(name)(); f(x) }
}

// RestoreInfo describes how far the restore of a store partition is, or of a global store from one
// partition of its topic.
type RestoreInfo struct {
	Store     string
	Partition int32
	// Done and End count offsets of the changelog, from where the restore began. The restore is over
	// when they are equal. Both are 0 when nothing had to be restored.
	Done, End int64
	// Records is how many records were applied. Offsets that were compacted have none.
	Records int64
	// Full is true when the store is restored from the start of its changelog, not from its
	// checkpoint.
	Full bool
	// Missing is how many offsets at the start of the changelog were deleted, by a broker or by hand,
	// although by the committed stream time their rows may not have expired. The store is restored
	// without those. The log says more.
	Missing int64
}

// String describes it in a line, as "counts[3]: 120 of 400".
func (r RestoreInfo) String() string {
	return fmt.Sprintf("%s[%d]: %d of %d", r.Store, r.Partition, r.Done, r.End)
}

// DamageInfo describes a file of a store partition that could not be trusted, and was moved aside.
// The other files of the partition are removed, since the rows of one replace those of another. The
// partition's task, and no other, waits while the store is restored from its changelog;
// Events.Restore is called for that. A store without a changelog begins empty.
type DamageInfo struct {
	Store     string
	Partition int32
	File      string // its path
	MovedTo   string // where it is now, for whoever wants to examine it; empty when there was nothing left
	Reason    string // what is wrong with it
}

// String describes it in a line.
func (d DamageInfo) String() string {
	return fmt.Sprintf("%s[%d]: %s, moved to %s", d.Store, d.Partition, d.Reason, d.MovedTo)
}

// DropInfo describes records that were dropped.
type DropInfo struct {
	Step, Reason string
	N            int64 // since the last call for this step and reason
}

// CommitInfo describes a commit.
type CommitInfo struct {
	Tasks int           // how many tasks it committed the progress of
	Took  time.Duration // from the cut until everything was settled; records were processed meanwhile
}

// RebalanceInfo describes a rebalance of the group that has ended, as this App has seen it. Tasks that stay are not
// stopped by a rebalance.
type RebalanceInfo struct {
	At         time.Time
	Generation int32
	// Reason is why this member has joined: one of about ten texts, such as "start", "the group rebalances" or "topics
	// have changed".
	Reason  string
	Took    time.Duration // from the join of this member until it knew its tasks
	Tasks   int           // that it has
	New     int           // those that it did not have before
	Revoked int           // those that go to other members
}

// String describes it in a line.
func (r RebalanceInfo) String() string {
	return fmt.Sprintf("generation %d after %v, since %s: %d tasks, %d new, %d revoked", r.Generation, r.Took, r.Reason,
		r.Tasks, r.New, r.Revoked)
}

// TaskRestartInfo describes a task that has failed and is restarted.
type TaskRestartInfo struct {
	Task string // as "0_3": sub-topology 0, partition 3
	Step string // in which it failed; empty when the task failed in none
	// Topic, Partition and Offset are those of the record that was being processed. Without a record,
	// as in a punctuation, they are empty, -1 and -1. Offset is -1 for a record that was to be written.
	Topic     string
	Partition int32
	Offset    int64
	Restarts  int           // of this task since the App began, with this one
	Pause     time.Duration // until the task is opened again
	Err       error         // what the task failed with: task, step, record and cause, and the stack of a panic
}

// String describes it, as "0_3: restart 2 after 2s: ...". It is one line but for the stack of a panic.
func (r TaskRestartInfo) String() string {
	return fmt.Sprintf("%s: restart %d after %v: %v", r.Task, r.Restarts, r.Pause, r.Err)
}

// State is where an App is in its life.
type State int

// The states of an App, in the order in which it goes through them; Restoring and Running
// alternate.
const (
	// Created: Run has not been called.
	Created State = iota
	// Starting: topics are looked up and created, the group is joined.
	Starting
	// Restoring: some tasks of this App wait for their stores, or to be restarted (Config.OnTaskError),
	// and the others run; or global stores are being read, and no task runs.
	Restoring
	// Running: all tasks of this App run.
	Running
	// Stopping: what is processed is being settled, the group left.
	Stopping
	// Stopped: Run has returned without an error.
	Stopped
	// Failed: Run has returned an error, or is about to.
	Failed
)

var stateNames = [...]string{"created", "starting", "restoring", "running", "stopping", "stopped", "failed"}

// String returns the name of the state, as "running".
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return fmt.Sprintf("state %d", int(s))
	}
	return stateNames[s]
}
