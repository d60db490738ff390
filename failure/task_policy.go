package failure

import (
	"errors"
	"fmt"
	"time"
)

// TaskPolicy decides what happens when a task has failed: when a Policy has decided to stop, when a
// user's function or a serde has panicked, or when a store of the task returned an error. The zero
// TaskPolicy is StopApp. A TaskPolicy is immutable and may be shared by goroutines.
type TaskPolicy struct {
	kind       taskKind
	restarts   int
	within     time.Duration
	first, max time.Duration
	decide     func(TaskReport) TaskPolicy
}

type taskKind int8

const (
	stopApp taskKind = iota
	restartTask
	decideTask
)

// The back-off of RestartTask, unless TaskPolicy.Backoff sets another one.
const (
	defaultFirstPause = time.Second
	defaultMaxPause   = time.Minute
)

// TaskReport describes the failure of a task to DecideTask.
type TaskReport struct {
	Task string // as "0_3": sub-topology 0, partition 3
	Step string // in which it failed; empty when the task failed in none
	// Topic, Partition and Offset are those of the record that was being processed. Without a record,
	// as in a punctuation, they are empty, -1 and -1. Offset is -1 for a record that was to be written.
	Topic     string
	Partition int32
	Offset    int64
	Restarts  int   // how often this App has restarted the task so far, in all periods together
	Err       error // with all of the above in its text, and the stack of a panic
}

// StopApp stops the App. Run returns the error.
func StopApp() TaskPolicy { return TaskPolicy{} }

// RestartTask closes the task, undoes what it has not committed, and opens it again at its committed
// offsets, at most restarts times within a period. A task that fails once more stops the App, and
// Run returns the error with the number of restarts.
//
// The period is of time in which the task runs: pauses, restores and the time on other members do
// not count. So a record that always fails uses up the restarts, however long the pauses are. Each
// member counts the restarts of its tasks for itself.
//
// Before a restart the task waits: 1 s before the first, and before each further one in the period
// twice as long, up to a minute. Backoff sets other pauses.
//
// A record that fails for ever keeps its task from all others until the App stops. A Policy of the
// step, such as DeadLetter, decides about the record instead.
func RestartTask(restarts int, within time.Duration) TaskPolicy {
	return TaskPolicy{
		kind: restartTask, restarts: restarts, within: within, first: defaultFirstPause, max: defaultMaxPause,
	}
}

// Backoff returns p with other pauses before restarts: first before the first in the period, then
// twice as long each time, but at most max. It has an effect on what RestartTask returns only.
func (p TaskPolicy) Backoff(first, max time.Duration) TaskPolicy {
	p.first, p.max = first, max
	return p
}

// DecideTask calls f after each failure of a task, as a StreamsUncaughtExceptionHandler is called in
// Kafka Streams. f returns StopApp or RestartTask. It runs on a goroutine of its own, also for
// several tasks at once, while the failed task waits. A panic of f, and a call that lasts longer
// than Config.MaxProcessingTime, stop the App.
func DecideTask(f func(TaskReport) TaskPolicy) TaskPolicy {
	return TaskPolicy{kind: decideTask, decide: f}
}

// Validate returns what is invalid about p, or nil: no restarts, a period or pauses that are not
// positive, pauses that decrease, a nil function. New reports it. A policy that DecideTask's
// function returns is validated when it is returned.
func (p TaskPolicy) Validate() error {
	switch {
	case p.kind == decideTask && p.decide == nil:
		return errors.New("failure.DecideTask: the function is nil")
	case p.kind != restartTask:
		return nil
	case p.restarts < 1:
		return fmt.Errorf("failure.RestartTask: %d restarts, want at least 1", p.restarts)
	case p.within <= 0:
		return fmt.Errorf("failure.RestartTask: within %v, want more than 0", p.within)
	case p.first <= 0:
		return fmt.Errorf("failure.RestartTask: first pause %v, want more than 0", p.first)
	case p.max < p.first:
		return fmt.Errorf("failure.RestartTask: longest pause %v is shorter than the first, %v", p.max, p.first)
	}
	return nil
}

// String describes p, for descriptions and logs.
func (p TaskPolicy) String() string {
	switch p.kind {
	case restartTask:
		return fmt.Sprintf("restart the task %d times within %v (pauses of %v to %v), then stop the App",
			p.restarts, p.within, p.first, p.max)
	case decideTask:
		return "decide"
	}
	return "stop the App"
}

// Decides reports whether Resolve calls a user's function.
func (p TaskPolicy) Decides() bool { return p.kind == decideTask }

// Resolve returns what p decides about a failure: a policy that does not decide any more. The error
// is about what a DecideTask's function returned.
func (p TaskPolicy) Resolve(r TaskReport) (TaskPolicy, error) {
	if p.kind != decideTask {
		return p, nil
	}
	decided := p.decide(r)
	if err := decided.Validate(); err != nil {
		return TaskPolicy{}, fmt.Errorf("failure.DecideTask returned a policy that cannot be used: %w", err)
	}
	if decided.kind == decideTask {
		return TaskPolicy{}, errors.New("failure.DecideTask returned another DecideTask, not StopApp or RestartTask")
	}
	return decided, nil
}

// Restart returns how a policy that does not decide any more treats a task with so many restarts in
// the period: ok is false when the App is to stop, else pause is how long the task waits.
func (p TaskPolicy) Restart(restarts int) (pause time.Duration, ok bool) {
	if p.kind != restartTask || restarts >= p.restarts {
		return 0, false
	}
	return Policy{first: p.first, max: p.max}.pause(restarts + 1), true
}

// Within returns the period in which restarts count; 0 for a policy that restarts nothing.
func (p TaskPolicy) Within() time.Duration { return p.within }
