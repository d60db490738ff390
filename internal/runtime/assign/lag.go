package assign

import (
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
)

// Options are what the leader knows besides the subscriptions.
type Options struct {
	// Standbys is how many standbys each task with state is to have, on as many other processes.
	Standbys int
	// StandbyTags are the keys of the tags in which a task and its standbys are to differ, beside the rack.
	StandbyTags []string
	// AcceptableLag is how many offsets a member may be behind, over all stores of a task, that the task moves to.
	AcceptableLag int64
	// Changelogs has, by the name of a store and by partition, where its changelog begins and ends. Stores that are not
	// in it have none. A partition that is missing, or not Known, is one of which nothing is known. Nil: tasks move
	// whatever the lag, and there are no standbys.
	Changelogs map[string][]LogBounds
}

// LogBounds is where a changelog partition begins and ends.
type LogBounds struct {
	Start, End int64
	Known      bool
}

// Position says how far a member is in the changelogs of a task.
type Position struct {
	Task graph.TaskID
	// Offsets are those of the stores of the sub-topology, in the order of its Stores; -1 where the member has nothing,
	// or does not know.
	Offsets []int64
}

// maxWarmUps is how many tasks of a group warm up at a time, besides those that have a standby where they are to move:
// a warm-up reads a whole changelog, and brokers and disks are to serve the tasks that run meanwhile.
const maxWarmUps = 2

// unknownLag is the lag of a member of which nothing is known. It is greater than any other, and never acceptable.
const unknownLag = int64(1<<63 - 1)

// lag returns how many offsets a member is behind in the changelogs of a task: none if it runs it.
func (m *member) lag(s *candidate, partition int32, owners ownership, o *Options) int64 {
	key := task{s.number, partition}
	offsets, listed := m.positions[key]
	// A running task has written its changelogs itself. One that is being restored lists its positions.
	if !listed && owners.tasks[key] == m {
		return 0
	}
	if listed && offsets == nil {
		return unknownLag
	}
	total := int64(0)
	for i, logs := range s.changelogs(o) {
		if logs == nil {
			continue
		}
		if logs := *logs; int(partition) >= len(logs) || !logs[partition].Known {
			return unknownLag
		}
		at, log := int64(-1), (*logs)[partition]
		if i < len(offsets) {
			at = offsets[i]
		}
		switch {
		// What lies outside of the log is of a log that was deleted and made again, or of which records are missing:
		// all of it will be read.
		case at < log.Start || at > log.End:
			total += max(log.End-log.Start, 0)
		default:
			total += log.End - at
		}
	}
	return total
}

// decodePositions adds the positions that a member has listed. Those of stores that are not its own count as unknown.
func (m *member) decodePositions() {
	m.positions = map[task][]int64{}
	for _, p := range m.subscription.Positions {
		if key, ok := m.task(p.Task); ok {
			stores := len(m.subscription.Subtopologies[p.Task.Subtopology].Stores)
			offsets := p.Offsets
			if len(offsets) != stores {
				offsets = nil
			}
			m.positions[key] = offsets
		}
	}
	m.wasLeaving = map[task]bool{}
	for _, t := range m.subscription.Leaving {
		if key, ok := m.task(t); ok {
			m.wasLeaving[key] = true
		}
	}
	m.standbys = map[task]bool{}
	for _, t := range m.subscription.Standbys {
		if key, ok := m.task(t); ok {
			m.standbys[key] = true
		}
	}
}

// changelogs returns the changelogs of the stores of the sub-topology, in their order; nil for stores that have none.
// They are looked up once: a lag is computed for each task and several members.
func (s *candidate) changelogs(o *Options) []*[]LogBounds {
	if s.logs == nil {
		s.logs = make([]*[]LogBounds, len(s.Stores))
		for i, store := range s.Stores {
			if logs, ok := o.Changelogs[store]; ok {
				s.logs[i] = &logs
			}
		}
	}
	return s.logs
}

// restorable reports whether a store of the sub-topology has a changelog.
func (s *candidate) restorable(o *Options) bool {
	return slices.ContainsFunc(s.changelogs(o), func(logs *[]LogBounds) bool { return logs != nil })
}
