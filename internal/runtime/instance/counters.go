package instance

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/millstream-go/millstream/internal/runtime/worker"
)

// Counters counts what a run does. It outlives the run. Made by NewCounters; safe for use by
// several goroutines.
type Counters struct {
	restored, damaged atomic.Int64
	recordsIn         atomic.Int64 // of global stores

	mu      sync.Mutex
	dropped map[string]int64 // by reason
	// taskRestarts are by task, as "0_3".
	taskRestarts map[string]int64
	// workers count for themselves, without a lock that they would share. What they have counted is
	// added up when it is asked for, and once more when they have ended.
	workers []*worker.Worker
	ended   Counts // of the workers that have ended
}

// Counts are what Counters had at one time.
type Counts struct {
	RecordsIn, RecordsOut, Commits, Restored, Damaged int64
	Dropped                                           map[string]int64 // by reason, never nil
	TaskRestarts                                      map[string]int64 // by task, never nil
}

// NewCounters returns counters of zero.
func NewCounters() *Counters {
	return &Counters{dropped: map[string]int64{}, taskRestarts: map[string]int64{}}
}

// Counts returns what was counted so far.
func (c *Counters) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.ended
	addWorkers(&counts, c.workers)
	counts.RecordsIn += c.recordsIn.Load()
	counts.Restored, counts.Damaged = c.restored.Load(), c.damaged.Load()
	counts.Dropped, counts.TaskRestarts = maps.Clone(c.dropped), maps.Clone(c.taskRestarts)
	return counts
}

func addWorkers(counts *Counts, workers []*worker.Worker) {
	for _, w := range workers {
		stats := w.Stats()
		counts.RecordsIn += stats.In.Load()
		counts.RecordsOut += stats.Out.Load()
		counts.Commits += stats.Commits.Load()
	}
}

// setWorkers adds the counts of workers from now on.
func (c *Counters) setWorkers(workers []*worker.Worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.workers = workers
}

// removeWorkers replaces the workers, which have ended, by what they have counted, so that nothing
// refers to a run that is over.
func (c *Counters) removeWorkers() {
	c.mu.Lock()
	defer c.mu.Unlock()
	addWorkers(&c.ended, c.workers)
	c.workers = nil
}

func (c *Counters) drop(reason string, count int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped[reason] += count
}

func (c *Counters) taskRestarted(task string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taskRestarts[task]++
}
