package millstream

import (
	"fmt"

	"github.com/millstream-go/millstream/internal/runtime/instance"
)

// Stats are counts since the App began, and figures of its stores as they are. No count ever falls.
//
// With AtLeastOnce, RecordsIn, RecordsOut and Dropped count what was processed, at once: what is processed again,
// after a failure, is counted again. With ExactlyOnce they count what was committed, when its transaction has: nothing
// of one that was aborted, and each record once. Where the outcome of a transaction is not known, since brokers did not
// answer, its records are counted when they are processed again, or not at all if it had committed.
type Stats struct {
	RecordsIn  int64 // processed, from all topics that the topology reads, its own repartition topics included
	RecordsOut int64 // sent to topics that the topology writes; changelogs are not in it
	Commits    int64 // of all workers: each worker commits by itself
	Restored   int64 // records of changelogs, or of topics in their place, applied to stores before they were used
	Damaged    int64 // files of stores that were damaged and moved aside; the stores were restored
	// Dropped is the number of records dropped, by reason. docs/concepts.md explains those of the library.
	Dropped map[string]int64
	// TaskRestarts is how often tasks were restarted by Config.OnTaskError, by task, as "0_3": sub-topology 0,
	// partition 3. Tasks that were opened again for another reason do not count.
	TaskRestarts map[string]int64
	// PausedTasks is how many tasks of the App are paused at present.
	PausedTasks int
	// Stores has figures of the stores on disk, by name. It is empty while the App does not run.
	Stores map[string]StoreStats
}

// StoreStats are figures of a store on disk: of its partitions that are open in this App. A partition stays
// open for a while after its task has moved away.
type StoreStats struct {
	Partitions int   // that are open
	Files      int   // of rows
	Bytes      int64 // of these files
	// WrittenBytes were written to files of rows, by flushes and merges, since the partitions were opened.
	WrittenBytes int64
	// MergesWaiting is the number of partitions that have files to merge, or are merging them; WaitingBytes
	// is the length of these files. When merges fall behind, both grow, and then flushes wait.
	MergesWaiting int
	WaitingBytes  int64
	// PagesChecked is how many pages of the files reads have compared with their checksums since the
	// partitions were opened: each page once. Merges check all that they read, and do not count.
	PagesChecked int64
}

// Stats returns the App's counts, and figures of its stores.
func (a *App) Stats() Stats {
	c := a.counters.Counts()
	s := Stats{
		RecordsIn: c.RecordsIn, RecordsOut: c.RecordsOut, Commits: c.Commits, Restored: c.Restored, Damaged: c.Damaged,
		Dropped: c.Dropped, TaskRestarts: c.TaskRestarts, Stores: map[string]StoreStats{},
	}
	if inst := a.current(); inst != nil {
		for name, store := range inst.StoreStats() {
			s.Stores[name] = StoreStats(store)
		}
		for _, task := range inst.Tasks() {
			if task.Paused {
				s.PausedTasks++
			}
		}
	}
	return s
}

// TaskInfo describes a task of this App.
type TaskInfo struct {
	ID      string // sub-topology and partition: "0_3"
	Running bool   // false: its stores are being restored, it waits to be restarted, or it is being given up
	Paused  bool   // it processes nothing, because of App.Pause or App.PauseSubtopologies
	Worker  int    // which worker runs it, from 0
	Phase   TaskPhase
}

// TaskPhase is what a task does that the group has assigned to this App.
type TaskPhase int

// The phases of a task.
const (
	// TaskRestoring: it is being opened, and its stores are restored.
	TaskRestoring TaskPhase = iota
	// TaskRunning: it processes records, unless it is paused.
	TaskRunning
	// TaskWaiting: it has failed, and is to be restarted (Config.OnTaskError).
	TaskWaiting
	// TaskRevoked: it is being given up.
	TaskRevoked
)

// String returns the name of the phase, as "running".
func (p TaskPhase) String() string {
	switch p {
	case TaskRestoring:
		return "restoring"
	case TaskRunning:
		return "running"
	case TaskWaiting:
		return "waiting"
	case TaskRevoked:
		return "revoked"
	}
	return fmt.Sprintf("TaskPhase(%d)", int(p))
}

// Tasks returns the tasks that the group has assigned to this App at present, sorted. There are none while the App does
// not run.
func (a *App) Tasks() []TaskInfo {
	inst := a.current()
	if inst == nil {
		return nil
	}
	infos := inst.Tasks()
	tasks := make([]TaskInfo, len(infos))
	for i, info := range infos {
		tasks[i] = taskInfo(info)
	}
	return tasks
}

func taskInfo(info instance.TaskInfo) TaskInfo {
	return TaskInfo{
		ID: info.ID, Running: info.Running, Paused: info.Paused, Worker: info.Worker, Phase: TaskPhase(info.Phase),
	}
}
