package instance

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/group"
	"github.com/millstream-go/millstream/internal/runtime/statedir"
)

const (
	// cleanUpAfter is how long files stay that are of no use: their task is neither here nor has a standby here, and
	// another member has its state. Within that time tasks come back, as after a deployment.
	cleanUpAfter = 24 * time.Hour
	// askAfter is how long a member runs before it asks for a rebalance because of such files. Until then the group may
	// be starting.
	askAfter = time.Hour
)

// setUnneeded sets the tasks of which the state here is of no use, as the leader said in the last assignment. None are
// from the begin of a join on: this member has said what it has, and may get a task because of that.
func (s *stores) setUnneeded(ids []graph.TaskID) {
	unneeded := make(map[graph.TaskID]bool, len(ids))
	for _, id := range ids {
		unneeded[id] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unneeded = unneeded
}

// taskOf returns the task of a store partition on disk; ok is false when nothing of it may be removed.
func (s *stores) taskOf(n statedir.Name) (id graph.TaskID, ok bool) {
	st := s.graph.Store(statedir.StoreName(n.Store))
	if st == nil || statedir.DirName(st) != n.Store || st.Global || st.InMemory || !restorable(st) {
		return id, false
	}
	return graph.TaskID{Subtopology: st.Subtopology, Partition: n.Partition}, true
}

// removeUnneeded removes the files that nobody has used for cleanUpAfter, and that are of no use. It reports whether
// there are others as old, of tasks for which running returns false: perhaps they are of no use either.
func (s *stores) removeUnneeded(now time.Time, running func(graph.TaskID) bool) (undecided bool) {
	removed, rest, err := s.dir.RemoveUnused(now.Add(-cleanUpAfter), func(n statedir.Name) bool {
		id, ok := s.taskOf(n)
		s.mu.Lock()
		defer s.mu.Unlock()
		return ok && s.unneeded[id]
	})
	for _, n := range removed {
		s.logger.Info("millstream: the files of a store were removed: for a day its task was elsewhere, with its state",
			"store", statedir.StoreName(n.Store), "partition", n.Partition)
	}
	if err != nil {
		s.logger.Warn("millstream: files that are of no use cannot be removed", "error", err)
	}
	for _, n := range rest {
		id, ok := s.taskOf(n)
		undecided = undecided || ok && !running(id)
	}
	return undecided
}

// cleanUp removes files that are of no use. The leader says which these are, in a rebalance, by what members had on
// disk then. Where files were written later, or nobody else had the state, there may be no other rebalance for long, so
// this member asks for one, once a day. No task stops for it.
func (inst *Instance) cleanUp(now time.Time) {
	undecided := inst.stores.removeUnneeded(now, func(id graph.TaskID) bool {
		_, assigned := (*inst.manager.assigned.Load())[id]
		return assigned
	})
	if undecided && !now.Before(inst.nextCleanUpRequest) {
		inst.nextCleanUpRequest = now.Add(cleanUpAfter)
		inst.group.Rejoin(group.ReasonCleanUp)
	}
}
