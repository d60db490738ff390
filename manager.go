package millstream

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/topics"
	"github.com/millstream-go/millstream/internal/worker"
)

// manager brings the tasks that the group assigns to workers and back. It is one goroutine that never waits: what takes time runs
// beside it and comes back as something to do.
//
// A task is opening, on goroutines of its own; then running, on a worker; then releasing. Kept tasks are not touched when others
// come and go.
type manager struct {
	s       *session
	todo    *worker.Mailbox[func()]
	grouped chan struct{} // closed when the group's Run has returned

	// What follows is owned by the goroutine of loop.
	tasks map[graph.TaskID]*entry
	waits []*wait
	// Published for other goroutines.
	runs atomic.Pointer[[]graph.TaskID] // for queries
}

// entry is a task that the App has.
type entry struct {
	id       graph.TaskID
	task     topics.Task
	cancel   context.CancelFunc // of the opening
	given    *worker.Handover   // nil: still opening
	worker   int
	running  bool
	dropping bool // revoked or lost
}

// wait is somebody who waits until tasks are gone.
type wait struct {
	ids  map[graph.TaskID]bool
	done func()
}

func (m *manager) init(s *session) {
	m.s, m.todo, m.tasks = s, worker.NewMailbox[func()](), map[graph.TaskID]*entry{}
	m.runs.Store(new([]graph.TaskID))
}

func (m *manager) loop(ctx context.Context) {
	var taken []func()
	for {
		taken = m.todo.Take(taken)
		for _, f := range taken {
			f()
		}
		select {
		case <-m.todo.Wake():
		case <-ctx.Done():
			return
		}
	}
}

// Assigned implements group.Handler.
func (m *manager) Assigned(tasks []topics.Task) { m.todo.Put(func() { m.assign(tasks) }) }

// Revoke implements group.Handler.
func (m *manager) Revoke(ids []graph.TaskID) <-chan struct{} {
	settled := make(chan struct{})
	m.todo.Put(func() { m.revoke(ids, settled) })
	return settled
}

// Lost implements group.Handler.
func (m *manager) Lost(ids []graph.TaskID) <-chan struct{} {
	dropped := make(chan struct{})
	m.todo.Put(func() { m.lost(ids, dropped) })
	return dropped
}

// tell takes reports of workers.
func (m *manager) tell(r worker.Report) { m.todo.Put(func() { m.report(r) }) }

func (m *manager) assign(tasks []topics.Task) {
	if len(tasks) > 0 {
		m.begin(tasks)
	} else {
		m.changed()
	}
	if f := m.s.cfg.Events.Assigned; f != nil {
		f(m.names())
	}
}

// begin opens tasks.
func (m *manager) begin(tasks []topics.Task) {
	x := &worker.Opening{
		Plan: m.s.group.Plan(), Graph: m.s.app.g, Member: m.s.group.Membership().Member, Tasks: map[graph.TaskID]topics.Task{},
	}
	ctx, cancel := context.WithCancel(m.s.ctx)
	left := len(tasks)
	for _, t := range tasks {
		x.Tasks[t.ID] = t
		m.tasks[t.ID] = &entry{id: t.ID, task: t, cancel: func() {
			if left--; left == 0 { // all of them are given up: no need to look anything up
				cancel()
			}
		}}
	}
	m.changed()
	m.s.background(func() { m.open(ctx, cancel, x) })
}

// open opens tasks, on a goroutine of its own.
func (m *manager) open(ctx context.Context, cancel context.CancelFunc, x *worker.Opening) {
	begun := m.s.opener.Begin(ctx, x)
	cancel()
	for id := range x.Tasks {
		if begun != nil {
			m.todo.Put(func() { m.opened(id, worker.Handover{}, begun) })
			continue
		}
		// An entry's own context: a task may be given up while others of the batch restore.
		own, stop := context.WithCancel(m.s.ctx)
		m.todo.Put(func() { m.opening(id, stop) })
		m.s.background(func() {
			h, err := m.s.opener.Open(own, x, id)
			m.todo.Put(func() { m.opened(id, h, err) })
		})
	}
}

func (m *manager) opening(id graph.TaskID, stop context.CancelFunc) {
	e := m.tasks[id]
	e.cancel = stop
	if e.dropping {
		stop()
	}
}

// opened is the end of an opening: the task goes to the worker that has the fewest.
func (m *manager) opened(id graph.TaskID, h worker.Handover, err error) {
	e := m.tasks[id]
	e.cancel()
	switch {
	case err != nil:
		if !e.dropping && m.s.ctx.Err() == nil && !errors.Is(err, worker.ErrLost) {
			m.s.fail(err)
		}
		e.running = false
		m.failedToOpen(e)
	case e.dropping:
		m.s.opener.GiveBack(h)
		m.gone(e)
	default:
		e.given, e.worker = &h, m.idlest()
		m.s.workers[e.worker].Adopt(h)
	}
}

// failedToOpen keeps the entry of a task that is still assigned until it is revoked or lost, which will be soon.
func (m *manager) failedToOpen(e *entry) {
	if e.dropping {
		m.gone(e)
		return
	}
	e.cancel = nil
}

func (m *manager) idlest() int {
	load := make([]int, len(m.s.workers))
	for _, e := range m.tasks {
		if e.given != nil {
			load[e.worker]++
		}
	}
	return slices.Index(load, slices.Min(load))
}

// drop begins to give a task up; gone follows.
func (m *manager) drop(e *entry) {
	e.dropping, e.running = true, false
	if e.given == nil {
		if e.cancel == nil {
			m.gone(e)
			return
		}
		e.cancel()
	}
}

func (m *manager) revoke(ids []graph.TaskID, settled chan struct{}) {
	byWorker := map[int][]graph.TaskID{}
	w := m.await(ids, func() {
		m.hookThen(crashpoint.RevokeSettled, settled)
	})
	for _, id := range ids {
		if e := m.tasks[id]; e != nil {
			if e.given != nil {
				byWorker[e.worker] = append(byWorker[e.worker], id)
			}
			m.drop(e)
		}
	}
	for i, ids := range byWorker {
		m.s.workers[i].Release(ids...)
	}
	m.changed()
	m.check(w)
}

// hookThen passes a crash point on the way to closing ch.
func (m *manager) hookThen(p crashpoint.Point, ch chan struct{}) {
	m.s.hook.At(p)
	close(ch)
}

func (m *manager) lost(ids []graph.TaskID, dropped chan struct{}) {
	if len(ids) > 0 {
		m.s.cfg.Logger.Warn("millstream: dropped from the group: what was not committed will be processed again, here or elsewhere",
			"application", m.s.cfg.ApplicationID, "tasks", len(ids))
	}
	gone := make(chan struct{})
	w := m.await(ids, func() { close(gone) })
	var workers []chan struct{}
	for _, x := range m.s.workers {
		done := make(chan struct{})
		x.Lose(done)
		workers = append(workers, done)
	}
	for _, id := range ids {
		if e := m.tasks[id]; e != nil {
			m.drop(e)
		}
	}
	m.changed()
	m.check(w)
	m.s.background(func() {
		for _, ch := range append(workers, gone) {
			select {
			case <-ch:
			case <-m.s.ctx.Done():
				return
			}
		}
		close(dropped)
	})
}

func (m *manager) await(ids []graph.TaskID, done func()) *wait {
	w := &wait{ids: map[graph.TaskID]bool{}, done: done}
	for _, id := range ids {
		if m.tasks[id] != nil {
			w.ids[id] = true
		}
	}
	m.waits = append(m.waits, w)
	return w
}

func (m *manager) check(w *wait) {
	if len(w.ids) == 0 && w.done != nil {
		w.done()
		w.done = nil
		m.waits = slices.DeleteFunc(m.waits, func(x *wait) bool { return x == w })
	}
}

// gone forgets a task that is settled, or dropped.
func (m *manager) gone(e *entry) {
	delete(m.tasks, e.id)
	for _, w := range slices.Clone(m.waits) {
		delete(w.ids, e.id)
		m.check(w)
	}
	m.changed()
}
