package millstream

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/task"
)

// Events are functions that an App calls when something happens; those that are nil are not called. They are called on the
// App's goroutines, several at once, in the middle of its work: they must be safe for that, return soon, and not call the App's
// Run, OpenStore or what OpenStore returned. The events of one store, or of one task, come in order. One that panics stops the App.
type Events struct {
	// State is called when the App goes from one state to another.
	State func(old, new State)
	// Restore is called when the restore of a store partition begins, after each batch, and when it is done.
	Restore func(RestoreInfo)
	// Dropped is called for records that were dropped: at most once a second for each step and reason, with their number.
	Dropped func(DropInfo)
	// Failure is called for each record that failed, whatever the policy does with it.
	Failure func(failure.Report)
	// Assigned is called with all tasks that the App has after a rebalance, as "0_3": sub-topology 0, partition 3. One for which there are
	// none is told so once.
	Assigned func(tasks []string)
	// Commit is called after each commit of a worker.
	Commit func(CommitInfo)
}

// guarded returns e with functions whose panics go to fail: they run on goroutines of the App, and the process is to live.
func (e Events) guarded(fail func(error)) Events {
	catch := func(name string) {
		if v := recover(); v != nil {
			fail(fmt.Errorf("Config.Events.%s: %w", name, &task.Panic{Value: v, Stack: debug.Stack()}))
		}
	}
	if f := e.State; f != nil {
		e.State = func(old, next State) { defer catch("State"); f(old, next) }
	}
	e.Restore, e.Dropped = guard("Restore", e.Restore, catch), guard("Dropped", e.Dropped, catch)
	e.Failure, e.Commit = guard("Failure", e.Failure, catch), guard("Commit", e.Commit, catch)
	e.Assigned = guard("Assigned", e.Assigned, catch)
	return e
}

func guard[T any](name string, f func(T), catch func(string)) func(T) {
	if f == nil {
		return nil
	}
	return func(x T) { defer catch(name); f(x) }
}

// RestoreInfo says how far the restore of a store partition is, or of a global store from one partition of its topic.
type RestoreInfo struct {
	Store     string
	Partition int32
	// Done and End count offsets of the changelog, from where the restore began: it is over when they are equal. Both are
	// 0 where nothing had to be restored.
	Done, End int64
	// Records is how many records were applied; compacted offsets have none.
	Records int64
	// Full says that the store was rebuilt from the start of its changelog, not from its checkpoint.
	Full bool
}

// String says it in a line, as "counts[3]: 120 of 400".
func (r RestoreInfo) String() string {
	return fmt.Sprintf("%s[%d]: %d of %d", r.Store, r.Partition, r.Done, r.End)
}

// DropInfo says that records were dropped.
type DropInfo struct {
	Step, Reason string
	N            int64 // since the last call for this step and reason
}

// CommitInfo says what a commit did.
type CommitInfo struct {
	Tasks int           // whose progress it committed
	Took  time.Duration // from the cut until everything was settled; records were processed meanwhile
}

// State is where an App is in its life.
type State int

// The states of an App, in the order in which it goes through them; Restoring and Running alternate.
const (
	// Created: Run has not been called.
	Created State = iota
	// Starting: topics are looked up and created, the group is joined.
	Starting
	// Restoring: some tasks of this App wait for their stores, and the others run; or global stores are being read, and no task runs.
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
