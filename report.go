package millstream

import (
	"cmp"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/topics"
	"github.com/millstream-go/millstream/internal/worker"
)

// report deals with what a worker says of its tasks.
func (m *manager) report(r worker.Report) {
	e := m.tasks[r.Task]
	switch r.What {
	case worker.Adopted:
		if e != nil && !e.dropping {
			e.running = true
			m.changed()
		}
	case worker.Released:
		m.released(e, r)
	case worker.Failed:
		if e != nil {
			e.running = false
		}
		m.s.fail(r.Err)
	case worker.Broken:
		m.s.fail(r.Err)
	case worker.Uncertain:
		m.restart(r)
	case worker.Lost:
		m.s.cfg.Logger.Warn("millstream: a commit was refused", "application", m.s.cfg.ApplicationID, "error", r.Err)
	}
}

func (m *manager) released(e *entry, r worker.Report) {
	if r.Err != nil {
		m.s.fail(r.Err)
	}
	if e == nil || e.given == nil {
		return
	}
	m.s.opener.GiveBack(*e.given)
	if e.dropping || m.s.failing() {
		m.gone(e)
		return
	}
	m.begin([]topics.Task{e.task}) // the worker had to give it up, the group has not
}

// restart takes the tasks of a worker back and opens them again, where they have committed: what was sent since may be there or
// not, and will be sent once more.
func (m *manager) restart(r worker.Report) {
	m.s.cfg.Logger.Warn("millstream: the tasks of a worker begin again where they have committed", "worker", r.Worker, "error", r.Err)
	for _, e := range m.tasks {
		if e.given != nil && e.worker == r.Worker {
			e.running = false
		}
	}
	m.changed()
	m.s.workers[r.Worker].Lose(make(chan struct{}))
}

// changed publishes what the App has, and the state that follows from it.
func (m *manager) changed() {
	infos := make([]TaskInfo, 0, len(m.tasks))
	runs := []graph.TaskID{}
	state := Running
	for _, e := range m.sorted() {
		infos = append(infos, TaskInfo{ID: e.id.String(), Running: e.running, Worker: e.worker})
		if !e.running && !e.dropping {
			state = Restoring
		}
		if e.running {
			runs = append(runs, e.id)
		}
	}
	m.s.tasks.Store(&infos)
	m.runs.Store(&runs)
	m.s.app.setState(state)
}

func (m *manager) sorted() []*entry {
	out := make([]*entry, 0, len(m.tasks))
	for _, e := range m.tasks {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.id.Sub, b.id.Sub), cmp.Compare(a.id.Partition, b.id.Partition))
	})
	return out
}

func (m *manager) names() []string {
	var out []string
	for _, e := range m.sorted() {
		out = append(out, e.id.String())
	}
	return out
}

// partitionsOf returns the partitions of a sub-topology that run here, sorted. Safe from any goroutine.
func (m *manager) partitionsOf(sub int) []int32 {
	var out []int32
	for _, id := range *m.runs.Load() {
		if id.Sub == sub {
			out = append(out, id.Partition)
		}
	}
	return out
}
