package millstream

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/instance"
	"github.com/millstream-go/millstream/internal/runtime/meter"
)

// Snapshot is what an App does, and what it has counted, at one moment. Metrics and consoles are made of it. Nothing
// in it changes after it was made; the slices are the caller's.
//
// What tasks do, and what was measured of them, is at most a second old, as the workers say it once a second; while a
// function of the user takes longer, it is as old as the call (Worker.At). Stats, Step.Dropped and Rebalances are of
// At itself, so they may be ahead of it. Positions and stores of a task that has begun less than a second ago are not
// known.
type Snapshot struct {
	At          time.Time
	Application string
	State       State
	NotReady    string // the error of Ready, which may have several lines, as with the stack of a panic; empty: none

	// Member is the id of this App in its group, empty while it is no member, and Generation that of the group, -1 then.
	// Leader reports whether this member assigns the tasks.
	Member     string
	Generation int32
	Leader     bool
	// Instances are all members of the group, this one among them, as the coordinator has described them. A Snapshot has
	// them looked up in the background when they are ten seconds old, or of another generation, and a later one has the
	// answer. So there are none in the first one, and they may be as old as the Snapshot before.
	Instances []Instance

	Workers       []Worker         // at the index TaskInfo.Worker; those that follow global topics come behind
	Tasks         []TaskSnapshot   // by id
	Partitions    []Partition      // of the inputs of these tasks, task by task, and then of global topics
	Stores        []StorePartition // by name, partition and role
	Steps         []Step           // of the topology, in the order of its sub-topologies
	Subtopologies []Subtopology    // of the topology, in their order
	Commits       Commits
	Rebalances    Rebalances
	Stats         Stats
}

// Instance is a member of the group.
type Instance struct {
	Member   string // its id in the group
	ClientID string
	Host     string // from where it has connected, as the coordinator sees it
	Process  string // the id of its state directory, in hex; empty for members that are no Apps
	Tasks    []string
	Standbys []string // tasks of whose stores it has copies, warm-ups among them
}

// Worker is a goroutine that runs tasks, or one that follows a global topic.
type Worker struct {
	// At is when it has said what it does; zero: not yet. One that follows a global topic says it when there are records.
	At    time.Time
	Tasks int // that it runs; 1 for a global topic
}

// TaskSnapshot is a task that the group has assigned to this App.
type TaskSnapshot struct {
	TaskInfo
	Subtopology int
	Partition   int32
	StreamTime  time.Time // zero: not known, or no record was processed
}

// Partition is how far a task is in a partition of one of its inputs.
type Partition struct {
	Task      string // as "0_3"; empty: of a global topic
	Topic     string
	Partition int32
	// Position is the offset of the next record, Committed the committed offset, and End the end of the partition for
	// readers of what is committed, as it was fetched last; -1: not known, as Position and Committed while the task does
	// not run. A global topic has no committed offset.
	Position, Committed, End int64
	Queued                   int // records that were fetched and not processed
	// Oldest is the time of the record that is processed next, as it is in the topic, whatever Topic.Timestamp returns;
	// zero: none was fetched.
	Oldest time.Time
}

// Lag returns how many offsets are not processed; -1: not known. Offsets without records, as of transaction markers,
// count.
func (p Partition) Lag() int64 {
	if p.End < 0 || p.Position < 0 {
		return -1
	}
	return max(p.End-p.Position, 0)
}

// LagTime returns how old the record is that is processed next, by its time (Oldest). It is 0 where none was fetched,
// although there may be some on the broker: while nothing is fetched, as for a task that is paused, Lag says so.
func (p Partition) LagTime(now time.Time) time.Duration {
	if p.Oldest.IsZero() {
		return 0
	}
	return max(now.Sub(p.Oldest), 0)
}

// StoreRole is why a partition of a store is here.
type StoreRole int

// The roles.
const (
	// StoreActive: its task is assigned to this App.
	StoreActive StoreRole = iota
	// StoreStandby: it is a copy.
	StoreStandby
	// StoreWarmUp: it is a copy, and its task is to move here.
	StoreWarmUp
	// StoreGlobal: each instance has all of it.
	StoreGlobal
)

// String returns the name of the role, as "active".
func (r StoreRole) String() string {
	names := [...]string{"active", "standby", "warm-up", "global"}
	if r < 0 || int(r) >= len(names) {
		return fmt.Sprintf("StoreRole(%d)", int(r))
	}
	return names[r]
}

// StorePartition is a partition of a store.
type StorePartition struct {
	Name      string
	Partition int32
	Task      string // as "0_3"; empty: a global store
	Role      StoreRole
	Kind      string // as "key-value", "window", "session", "versions"
	InMemory  bool
	// Rows, MemoryBytes, Files and FileBytes are not known of standbys, and of a store that is being restored: they are -1
	// then. Rows is an upper bound: a row of which there are several versions, in memory and in files that are not merged
	// yet, counts as often, and windows, sessions and versions have their stream time in a row, too.
	Rows, MemoryBytes, Files, FileBytes int64
	// Changelog is the topic that the store is restored from; empty: there is none.
	Changelog string
	// Position is the offset of the changelog up to which the store has committed rows, Checkpoint that up to which its
	// files have, and ChangelogEnd the end of the changelog; -1: not known, or there is none. While the task runs,
	// ChangelogEnd is Position: the store is behind nobody. Those of a global store are in Partitions.
	Position, Checkpoint, ChangelogEnd int64
	// Restore is how far the restore is; nil: none is under way.
	Restore *RestoreInfo
}

// Step is a step of the topology.
type Step struct {
	Subtopology int
	Name        string // as in Topology.String
	// Records is how many have come to the step. What is processed again, after a failure, is counted again.
	Records int64
	Dropped map[string]int64 // records that it has dropped, by reason; nil: none
}

// Subtopology has what was measured of the tasks of a sub-topology.
type Subtopology struct {
	ID int
	// Latency is how old records were when they were processed, by their time. Late is how much older than stream time
	// they were. Both are samples, which count as often as there are records for each.
	Latency, Late Histogram
}

// Commits has what was measured of commits.
type Commits struct {
	Took   Histogram // those that have succeeded
	Failed int64
}

// Rebalances has what was counted of rebalances, as this App has seen them.
type Rebalances struct {
	Count map[string]int64 // by RebalanceInfo.Reason
	Last  RebalanceInfo    // zero: there was none
	// Took is how long they have taken, as RebalanceInfo.Took. Waited is how long the tasks that they brought here have
	// waited until they ran, restores included.
	Took, Waited Histogram
}

// Histogram has how many durations were in each of its ranges.
type Histogram struct {
	// Bounds are the upper ends of the ranges, which include them, in order, from 1 ms to 24 h. All Histograms have the
	// same.
	Bounds []time.Duration
	// Counts has a number for each of Bounds, and one for what is longer than the last.
	Counts []int64
	Sum    time.Duration
}

// Count returns how many durations there are.
func (h Histogram) Count() (n int64) {
	for _, count := range h.Counts {
		n += count
	}
	return n
}

// Quantile returns an estimate of the duration that the share q of all does not exceed, by linear interpolation in
// its range. Of what is longer than the last bound it returns that. It returns 0 when there are none.
func (h Histogram) Quantile(q float64) time.Duration {
	total := h.Count()
	if total == 0 {
		return 0
	}
	rank, below := min(max(q, 0), 1)*float64(total), int64(0)
	lower := time.Duration(0)
	for i, bound := range h.Bounds {
		if n := h.Counts[i]; n > 0 && float64(below+n) >= rank {
			return lower + time.Duration(float64(bound-lower)*(rank-float64(below))/float64(n))
		}
		below += h.Counts[i]
		lower = bound
	}
	return lower
}

// Snapshot returns what the App does. It takes what its goroutines have published, and waits for none of them. Any
// goroutine may call it, before, during and after Run, as often as it likes: it costs some microseconds for each task.
func (a *App) Snapshot() Snapshot {
	s := Snapshot{
		At: time.Now(), Application: a.cfg.ApplicationID, State: a.State(), Generation: -1, Stats: a.Stats(),
		Rebalances: rebalances(a.counters.Rebalances()),
	}
	if err := a.Ready(); err != nil {
		s.NotReady = err.Error()
	}
	var measured meter.Counts
	if inst := a.current(); inst != nil {
		run := inst.Snapshot()
		measured = run.Measured
		s.addRun(&run)
	} else if ended, ok := a.counters.Measured(); ok { // asked after the run: before, it might just not have ended
		measured = ended
	} else {
		measured = meter.NewCounts(a.graph)
	}
	s.addMeasured(a.graph, &measured, a.counters.Drops())
	return s
}

func (s *Snapshot) addRun(run *instance.Snapshot) {
	s.Member, s.Generation, s.Leader = run.Member, run.Generation, run.Leader
	for _, m := range run.Instances {
		x := Instance{
			Member: m.Member, ClientID: m.ClientID, Host: m.Host,
			Tasks: append([]string(nil), m.Tasks...), Standbys: append([]string(nil), m.Standbys...),
		}
		if m.Process != ([16]byte{}) {
			x.Process = hex.EncodeToString(m.Process[:])
		}
		s.Instances = append(s.Instances, x)
	}
	for _, w := range run.Workers {
		s.Workers = append(s.Workers, Worker(w))
	}
	for _, t := range run.Tasks {
		s.Tasks = append(s.Tasks, TaskSnapshot{
			TaskInfo: taskInfo(t.TaskInfo), Subtopology: t.Subtopology, Partition: t.Partition, StreamTime: millis(t.StreamTime),
		})
	}
	for _, p := range run.Partitions {
		s.Partitions = append(s.Partitions, Partition{
			Task: p.Task, Topic: p.Topic, Partition: p.Partition, Position: p.Position, Committed: p.Committed, End: p.End,
			Queued: p.Queued, Oldest: millis(p.HeadTime),
		})
	}
	for _, st := range run.Stores {
		x := StorePartition{
			Name: st.Name, Partition: st.Partition, Task: st.Task, Role: StoreRole(st.Role), Kind: st.Kind.String(),
			InMemory: st.InMemory, Rows: -1, MemoryBytes: -1, Files: -1, FileBytes: -1, Changelog: st.Changelog,
			Position: st.Position, Checkpoint: st.Checkpoint, ChangelogEnd: st.ChangelogEnd,
		}
		if st.SizesKnown {
			x.Rows, x.MemoryBytes, x.Files, x.FileBytes = st.Rows, st.MemoryBytes, int64(st.Sizes.Files), st.FileBytes
		}
		if st.Restore != nil {
			x.Restore = new(RestoreInfo(*st.Restore))
		}
		s.Stores = append(s.Stores, x)
	}
}

func (s *Snapshot) addMeasured(g *graph.Graph, measured *meter.Counts, drops map[string]map[string]int64) {
	for i, sub := range g.Subtopologies {
		s.Subtopologies = append(s.Subtopologies, Subtopology{
			ID: sub.ID, Latency: newHistogram(&measured.Latency[i]), Late: newHistogram(&measured.Late[i]),
		})
		for _, node := range sub.Nodes {
			s.Steps = append(s.Steps, Step{
				Subtopology: sub.ID, Name: node.Name, Records: measured.Steps[node], Dropped: drops[node.Name],
			})
		}
	}
	s.Commits = Commits{Took: newHistogram(&measured.Commits), Failed: measured.FailedCommits}
}

func rebalances(r instance.Rebalances) Rebalances {
	return Rebalances{
		Count: r.Count, Last: RebalanceInfo(r.Last), Took: newHistogram(&r.Took), Waited: newHistogram(&r.Waited),
	}
}

func newHistogram(h *meter.Histogram) Histogram {
	return Histogram{
		Bounds: append([]time.Duration(nil), meter.Bounds[:]...), Counts: append([]int64(nil), h.Counts[:]...), Sum: h.Sum,
	}
}

// millis returns a time in milliseconds since 1970; a negative one is the zero time.
func millis(ms int64) time.Time {
	if ms < 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
