package instance

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/runtime/meter"
	"github.com/millstream-go/millstream/internal/runtime/worker"
)

// Counters counts what a run does. It outlives the run. Made by NewCounters; safe for use by
// several goroutines.
type Counters struct {
	restored, damaged atomic.Int64
	recordsIn         atomic.Int64 // of global stores

	mu      sync.Mutex
	dropped map[string]int64  // by reason
	drops   map[dropKey]int64 // by step and reason
	// taskRestarts are by task, as "0_3".
	taskRestarts map[string]int64
	// workers count for themselves, without a lock that they would share. What they have counted is
	// added up when it is asked for, and once more when they have ended.
	workers []*worker.Worker
	ended   Counts // of the workers that have ended
	// measured is what workers and followers have measured that have ended; nil: none have.
	measured   *meter.Counts
	rebalances Rebalances
}

// Rebalances are the rebalances of a member.
type Rebalances struct {
	Count map[string]int64 // by the reason for which this member has joined, never nil
	Last  RebalanceInfo    // zero: there was none
	// Took is how long they have taken for this member, from its join until it knew its tasks. Waited is how long the
	// tasks that they brought here have waited until they ran.
	Took, Waited meter.Histogram
}

// Counts are what Counters had at one time.
type Counts struct {
	RecordsIn, RecordsOut, Commits, Restored, Damaged int64
	Dropped                                           map[string]int64 // by reason, never nil
	TaskRestarts                                      map[string]int64 // by task, never nil
}

// NewCounters returns counters of zero.
func NewCounters() *Counters {
	return &Counters{
		dropped: map[string]int64{}, drops: map[dropKey]int64{}, taskRestarts: map[string]int64{},
		rebalances: Rebalances{Count: map[string]int64{}},
	}
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

func (c *Counters) drop(step, reason string, count int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped[reason] += count
	c.drops[dropKey{step, reason}] += count
}

// rebalanced counts a rebalance, and taskRuns a task that it has brought here, which runs after a wait.
func (c *Counters) rebalanced(info RebalanceInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rebalances.Count[info.Reason]++
	c.rebalances.Last = info
	c.rebalances.Took.Add(info.Took, 1)
}

func (c *Counters) taskRuns(waited time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rebalances.Waited.Add(waited, 1)
}

// Rebalances returns what was counted of rebalances.
func (c *Counters) Rebalances() Rebalances {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rebalances
	r.Count = maps.Clone(r.Count)
	return r
}

// Drops returns the dropped records by step and reason.
func (c *Counters) Drops() map[string]map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]map[string]int64{}
	for key, n := range c.drops {
		if out[key.step] == nil {
			out[key.step] = map[string]int64{}
		}
		out[key.step][key.reason] = n
	}
	return out
}

// setMeasured keeps what a run has measured, which is over.
func (c *Counters) setMeasured(counts meter.Counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.measured = &counts
}

// Measured returns what a run has measured that is over. ok is false before.
func (c *Counters) Measured() (counts meter.Counts, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.measured == nil {
		return meter.Counts{}, false
	}
	return *c.measured, true
}

func (c *Counters) taskRestarted(task string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taskRestarts[task]++
}
