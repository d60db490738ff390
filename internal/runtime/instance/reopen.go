package instance

import (
	"context"
	"errors"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/topics"
	"github.com/millstream-go/millstream/internal/runtime/worker"
	"github.com/millstream-go/millstream/internal/storage"
)

// A task is opened again at once after damage, and then less and less often: a disk that damages
// each file that is written to it is not to keep the App busy with restores.
const (
	minReopenPause = time.Second
	maxReopenPause = time.Minute
)

// isDamage reports whether a task ended because of a damaged file, and can be opened again.
func isDamage(err error) bool { return errors.Is(err, storage.ErrDamaged) }

// reopenDamaged opens a task again whose file is damaged, or that reads a global store whose file is.
func (m *taskManager) reopenDamaged(task *assignedTask) {
	pause := time.Duration(0)
	if restarts := m.damageRestarts[task.id]; restarts > 0 {
		pause = min(minReopenPause<<min(restarts-1, 6), maxReopenPause)
	}
	m.damageRestarts[task.id]++
	m.reopen(task, pause)
}

// reopen returns the stores of a task, if it has any, and opens it again after a pause. The directory
// moves a damaged file aside when the store is returned to it, so that the new opening finds none and
// restores the store.
func (m *taskManager) reopen(task *assignedTask, pause time.Duration) {
	ctx, cancel := context.WithCancel(m.inst.ctx)
	handover := task.handover
	m.notRunning(task)
	task.handover, task.cancelOpening = nil, cancel
	m.loggedTasks = nil // the log says that the App is restoring, and so it has to say when all tasks run again
	m.publish()
	// On a goroutine of its own, as a part of the opening: closing a store may wait for its disk, and
	// a global store whose file was damaged has to be restored before a task may read it.
	m.inst.background(func() {
		if handover != nil {
			m.inst.opener.ReleaseStores(*handover)
		}
		m.inst.globals.awaitReady(ctx)
		_ = kafka.Sleep(ctx, pause) // reopenReady finds out whether the task is still wanted
		m.todo.Put(func() { m.reopenReady(task) })
	})
}

func (m *taskManager) reopenReady(task *assignedTask) {
	task.cancelOpening()
	if task.removing || m.inst.failing() {
		m.forget(task)
		return
	}
	m.openTasks([]topics.Task{task.deployed})
}

// damageConfig is what tasks are to know of the files of their stores.
func (inst *Instance) damageConfig() worker.Damage {
	return worker.Damage{Restorable: inst.stores.mayRestore, DistrustGlobal: inst.globals.distrust}
}
