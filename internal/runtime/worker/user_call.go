package worker

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/task"
)

// activity is what a worker does while user code may run: it runs a task, or it calls the function
// named by what.
type activity struct {
	id   graph.TaskID
	task *task.Task // nil: it is being wired
	what string     // empty: a task is running
}

// UserCall is a call of user code that a worker was in at one moment. Two equal values are of the
// same call. It is for the watch over functions that do not return.
type UserCall struct {
	activity
	began int64
	step  task.RunningStep
}

// enterUserCode notes that user code may run from now on, until leaveUserCode.
func (w *Worker) enterUserCode(a *activity) {
	w.userCall.Store(a)
	w.userCallStarted.Store(time.Now().UnixNano())
}

func (w *Worker) leaveUserCode() { w.userCallStarted.Store(0) }

// UserCall returns the call of user code that the worker is in. ok is false when no user code can
// be running: the worker waits for records, or for brokers.
func (w *Worker) UserCall() (call UserCall, ok bool) {
	call.began = w.userCallStarted.Load()
	current := w.userCall.Load()
	if call.began == 0 || current == nil || w.awaitsBrokers.Load() {
		return UserCall{}, false
	}
	call.activity = *current
	if current.task != nil {
		call.step = current.task.RunningStep()
	}
	return call, true
}

// Error returns err with the place of the call.
func (c UserCall) Error(err error) error {
	if c.what != "" {
		return fmt.Errorf("%s: %w", c.what, err)
	}
	return c.step.Error(c.id, err)
}
