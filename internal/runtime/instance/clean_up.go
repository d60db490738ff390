package instance

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/statedir"
)

// cleanUpAfter is how long files stay that are of no use: their task is neither here nor has a standby here, and
// another member has its state. Within that time tasks come back, as after a deployment.
const cleanUpAfter = 24 * time.Hour

// setUnneeded sets the tasks of which the state here is of no use, as the leader said in the last assignment.
func (s *stores) setUnneeded(ids []graph.TaskID) {
	unneeded := make(map[graph.TaskID]bool, len(ids))
	for _, id := range ids {
		unneeded[id] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unneeded = unneeded
}

// removeUnneeded removes the files that nobody has used for cleanUpAfter, and that are of no use.
func (s *stores) removeUnneeded(now time.Time) {
	s.mu.Lock()
	unneeded := s.unneeded
	s.mu.Unlock()
	if len(unneeded) == 0 {
		return
	}
	removed, err := s.dir.RemoveUnused(now.Add(-cleanUpAfter), func(n statedir.Name) bool {
		st := s.graph.Store(statedir.StoreName(n.Store))
		return st != nil && statedir.DirName(st) == n.Store && !st.Global && restorable(st) &&
			unneeded[graph.TaskID{Subtopology: st.Subtopology, Partition: n.Partition}]
	})
	for _, n := range removed {
		s.logger.Info("millstream: the files of a store were removed: for a day its task was elsewhere, with its state",
			"store", statedir.StoreName(n.Store), "partition", n.Partition)
	}
	if err != nil {
		s.logger.Warn("millstream: files that are of no use cannot be removed", "error", err)
	}
}
