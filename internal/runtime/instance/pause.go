package instance

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Pauses are what is paused of an App, whether it runs or not. The zero value pauses nothing. Safe for use by several
// goroutines.
type Pauses struct {
	mu  sync.Mutex // of changes
	now atomic.Pointer[pauses]
}

// pauses is what is paused at one time. It does not change.
type pauses struct {
	all           bool
	subtopologies map[int]bool
}

func (p *Pauses) load() pauses {
	if now := p.now.Load(); now != nil {
		return *now
	}
	return pauses{}
}

// All reports whether the whole App is paused.
func (p *Pauses) All() bool { return p.load().all }

// Paused reports whether the whole App is paused, and returns which sub-topologies are by themselves, in order.
func (p *Pauses) Paused() (all bool, subtopologies []int) {
	now := p.load()
	for sub, paused := range now.subtopologies {
		if paused {
			subtopologies = append(subtopologies, sub)
		}
	}
	slices.Sort(subtopologies)
	return now.all, subtopologies
}

// Include reports whether tasks of a sub-topology are paused, by themselves or with the whole App.
func (p *Pauses) Include(subtopology int) bool {
	now := p.load()
	return now.all || now.subtopologies[subtopology]
}

// SetAll pauses the whole App, or ends that. It reports whether that is a change.
func (p *Pauses) SetAll(paused bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.load()
	if next.all == paused {
		return false
	}
	next.all = paused
	p.now.Store(&next)
	return true
}

// Set pauses sub-topologies, or ends that, and returns those for which that is a change.
func (p *Pauses) Set(paused bool, subtopologies []int) (changed []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.load()
	next.subtopologies = maps.Clone(next.subtopologies)
	if next.subtopologies == nil {
		next.subtopologies = map[int]bool{}
	}
	for _, sub := range subtopologies {
		if next.subtopologies[sub] != paused {
			next.subtopologies[sub] = paused
			changed = append(changed, sub)
		}
	}
	p.now.Store(&next)
	return changed
}

// PausesChanged has the workers look at what is paused.
func (inst *Instance) PausesChanged() {
	for _, w := range inst.workers {
		w.Wake()
	}
}

// pausedTasks returns how many tasks of this member are paused.
func (inst *Instance) pausedTasks() (count int) {
	for _, task := range inst.Tasks() {
		if task.Paused {
			count++
		}
	}
	return count
}
