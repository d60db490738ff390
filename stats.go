package millstream

import (
	"sync/atomic"
)

// Stats are counts since the App began.
type Stats struct {
	RecordsIn  int64 // processed, from all topics that the topology reads, its own repartition topics included
	RecordsOut int64 // sent to topics that the topology writes; changelogs are not in it
	Commits    int64 // one of one worker counts 1
	Restored   int64 // records of changelogs, or of topics in their place, applied to stores before they were used
	// Dropped is the number of records dropped, by reason.
	Dropped map[string]int64
}

// counters are those that are no worker's.
type counters struct {
	restored atomic.Int64
	// in, out and commits are those of a run that is over.
	in, out, commits atomic.Int64
}

// Stats returns the App's counts.
func (a *App) Stats() Stats {
	s := Stats{
		RecordsIn: a.stats.in.Load(), RecordsOut: a.stats.out.Load(), Commits: a.stats.commits.Load(),
		Restored: a.stats.restored.Load(), Dropped: a.drops.byReason(),
	}
	if run := a.current(); run != nil {
		for _, w := range run.workers {
			x := w.Stats()
			s.RecordsIn += x.In.Load()
			s.RecordsOut += x.Out.Load()
			s.Commits += x.Commits.Load()
		}
	}
	return s
}

// keepStats takes over what the workers of a run that is over have counted.
func (a *App) keepStats(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session = nil
	for _, w := range s.workers {
		x := w.Stats()
		a.stats.in.Add(x.In.Load())
		a.stats.out.Add(x.Out.Load())
		a.stats.commits.Add(x.Commits.Load())
	}
}

// TaskInfo describes a task of this App.
type TaskInfo struct {
	ID      string // sub-topology and partition: "0_3"
	Running bool   // false: its stores are being restored, or it is being given up
	Worker  int    // which worker runs it, from 0
}

// Tasks returns the tasks that the group has given to this App at present, sorted.
func (a *App) Tasks() []TaskInfo {
	if s := a.current(); s != nil {
		return *s.tasks.Load()
	}
	return nil
}
