// Package meter counts what the goroutines that run tasks do. Each has a Meter of its own, to which it adds without a
// lock, and publishes copies.
package meter

import (
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
)

// Counts are what one or several Meters have counted since they began.
type Counts struct {
	// Steps is how many records came to each step. What is processed again, after a failure, is counted again.
	Steps map[*graph.Node]int64
	// Latency is how old records were when they were processed, by their time, and Late how much older than stream time,
	// by sub-topology. Both are samples, which count as often as there are records for each.
	Latency, Late []Histogram
	// Commits is how long commits have taken that succeeded, and FailedCommits how many have not.
	Commits       Histogram
	FailedCommits int64
}

// NewCounts returns Counts of zero.
func NewCounts(g *graph.Graph) Counts {
	return Counts{
		Steps: map[*graph.Node]int64{}, Latency: make([]Histogram, len(g.Subtopologies)),
		Late: make([]Histogram, len(g.Subtopologies)),
	}
}

// Add adds what other has.
func (c *Counts) Add(other *Counts) {
	for node, n := range other.Steps {
		c.Steps[node] += n
	}
	for i := range other.Latency {
		c.Latency[i].Merge(&other.Latency[i])
		c.Late[i].Merge(&other.Late[i])
	}
	c.Commits.Merge(&other.Commits)
	c.FailedCommits += other.FailedCommits
}

// Meter counts for one goroutine.
type Meter struct {
	steps  map[*graph.Node]*int64
	counts Counts // but for Steps
}

// New returns a Meter for the tasks of g.
func New(g *graph.Graph) *Meter {
	m := &Meter{steps: map[*graph.Node]*int64{}, counts: NewCounts(g)}
	nodes := 0
	for _, sub := range g.Subtopologies {
		nodes += len(sub.Nodes)
	}
	// One block, with room on both sides: counts of two goroutines in one line of the processor's cache would be passed
	// from core to core with each record.
	const line = 8
	numbers := make([]int64, line+nodes+line)
	for _, sub := range g.Subtopologies {
		for _, node := range sub.Nodes {
			m.steps[node] = &numbers[line+len(m.steps)]
		}
	}
	return m
}

// StepCount returns where the records are counted that come to a step.
func (m *Meter) StepCount(n *graph.Node) *int64 {
	if count := m.steps[n]; count != nil {
		return count
	}
	return new(int64) // a node that no sub-topology has
}

// Sample counts a record that was processed, for n of them. Times are in milliseconds.
func (m *Meter) Sample(sub int, now time.Time, recordTime, streamTime int64, n int) {
	m.counts.Latency[sub].Add(milliseconds(now.UnixMilli()-recordTime), int64(n))
	m.counts.Late[sub].Add(milliseconds(streamTime-recordTime), int64(n))
}

// milliseconds is a duration, cut to some decades: sums of longer ones would overflow, and records may have any time.
func milliseconds(n int64) time.Duration {
	const most = 24 * 365 * 20 * time.Hour
	return time.Duration(min(max(n, 0), most.Milliseconds())) * time.Millisecond
}

// Commit counts a commit that has succeeded.
func (m *Meter) Commit(took time.Duration) { m.counts.Commits.Add(took, 1) }

// CommitFailed counts one that has not.
func (m *Meter) CommitFailed() { m.counts.FailedCommits++ }

// Counts returns a copy of what was counted.
func (m *Meter) Counts() Counts {
	c := m.counts
	c.Latency, c.Late = slices.Clone(c.Latency), slices.Clone(c.Late)
	c.Steps = make(map[*graph.Node]int64, len(m.steps))
	for node, n := range m.steps {
		c.Steps[node] = *n
	}
	return c
}
