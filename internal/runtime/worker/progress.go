package worker

import (
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/meter"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/storage"
)

// progressInterval is the time between two publications of what a worker does.
const progressInterval = time.Second

// Progress is what a worker does, and what it has counted, at one moment. It does not change once it is published.
type Progress struct {
	At     time.Time
	Tasks  []TaskProgress // that it has
	Counts meter.Counts
}

// TaskProgress is how far a task is.
type TaskProgress struct {
	ID         graph.TaskID
	StreamTime int64 // in milliseconds; -1: it has processed nothing
	Partitions []InputProgress
	Stores     []StoreProgress
}

// InputProgress is how far a task is in one of its input partitions.
type InputProgress struct {
	task.PartitionProgress
	Committed int64 // -1: nothing
	End       int64 // the last stable offset, as it was fetched last; -1: not known
}

// StoreProgress is how large a store of a task is, and where it is in its changelog, or in the topic that stands for
// one.
type StoreProgress struct {
	Name string
	storage.Sizes
	// Changelog is empty when there is none.
	Changelog kafka.TopicPartition
	// Position is the offset of the changelog up to which the store has settled, and Checkpoint that up to which its files
	// have; -1: not known, or there are none.
	Position, Checkpoint int64
}

// Progress returns what the worker does, as it was published last: at most a second ago, unless a function of the user
// takes longer. Any goroutine may call it.
func (w *Worker) Progress() *Progress { return w.progress.Load() }

// publishProgress publishes what the worker does, once a second.
func (w *Worker) publishProgress(now time.Time) {
	if now.Sub(w.published) < progressInterval {
		return
	}
	w.published = now
	p := &Progress{At: now, Counts: w.meter.Counts()}
	for _, active := range w.tasks {
		if active.task != nil {
			p.Tasks = append(p.Tasks, active.progress())
		}
	}
	w.progress.Store(p)
}

// progress returns how far the task is.
func (t *activeTask) progress() TaskProgress {
	partitions := t.task.Progress(nil)
	out := TaskProgress{ID: t.ID, StreamTime: t.task.StreamTime(), Partitions: make([]InputProgress, len(partitions))}
	for i, p := range partitions {
		in := InputProgress{PartitionProgress: p, Committed: -1, End: -1}
		if at, ok := t.settled[p.TopicPartition]; ok {
			in.Committed = at.Offset
		}
		if end, ok := t.ends[p.TopicPartition]; ok {
			in.End = end
		}
		out.Partitions[i] = in
	}
	for _, engine := range t.task.Engines() {
		store := StoreProgress{Name: engine.Store.Name, Sizes: engine.Sizes(), Position: -1, Checkpoint: -1}
		if c, ok := engine.Checkpoint(); ok {
			store.Checkpoint = c.Offset
		}
		for _, log := range slices.Concat(t.Logs, t.Sources) {
			if log.Engine == engine.Engine {
				store.Changelog = log.TopicPartition
				if c, ok := engine.Position(); ok {
					store.Position = c.Offset
				}
			}
		}
		out.Stores = append(out.Stores, store)
	}
	return out
}
