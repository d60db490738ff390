package instance

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/meter"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/runtime/topics"
	"github.com/millstream-go/millstream/internal/runtime/worker"
	"github.com/millstream-go/millstream/internal/storage"
)

// Snapshot is what a run does at one moment. What workers and followers do is at most a second old, unless a function
// of the user takes longer.
type Snapshot struct {
	Member     string // empty: none
	Generation int32  // -1: none
	Leader     bool
	Instances  []MemberInfo
	Workers    []WorkerInfo
	Tasks      []TaskSnapshot
	Partitions []PartitionSnapshot
	Stores     []StoreSnapshot
	Measured   meter.Counts
}

// WorkerInfo describes a worker, or the follower of a global topic.
type WorkerInfo struct {
	At    time.Time // when it has said what it does
	Tasks int
}

// TaskSnapshot describes a task.
type TaskSnapshot struct {
	TaskInfo
	Subtopology int
	Partition   int32
	StreamTime  int64 // in milliseconds; -1: not known
}

// PartitionSnapshot describes an input partition of a task, or a partition of a global topic.
type PartitionSnapshot struct {
	Task                     string // empty: of a global topic
	Topic                    string
	Partition                int32
	Position, Committed, End int64 // -1: not known
	Queued                   int
	HeadTime                 int64 // in milliseconds; -1: not known
}

// Role is why there is a store partition here.
type Role int

// The roles.
const (
	RoleActive Role = iota
	RoleStandby
	RoleWarmUp
	RoleGlobal
)

// StoreSnapshot describes a store partition.
type StoreSnapshot struct {
	Name      string
	Partition int32
	Task      string // empty: a global store
	Role      Role
	Kind      graph.StoreKind
	InMemory  bool
	storage.Sizes
	SizesKnown                         bool
	Changelog                          string // empty: none
	Position, Checkpoint, ChangelogEnd int64  // -1: not known
	Restore                            *RestoreInfo
}

// Snapshot returns what the run does. Any goroutine may call it; it waits for nothing.
func (inst *Instance) Snapshot() Snapshot {
	membership := inst.group.Membership()
	s := Snapshot{
		Member: membership.Member, Generation: membership.Generation, Leader: inst.group.Leader(),
		Instances: inst.members.get(inst, membership), Measured: inst.measured(),
	}
	progress := map[graph.TaskID]*worker.TaskProgress{}
	for _, w := range inst.workers {
		p := w.Progress()
		s.Workers = append(s.Workers, WorkerInfo{p.At, len(p.Tasks)})
		for i := range p.Tasks {
			progress[p.Tasks[i].ID] = &p.Tasks[i]
		}
	}
	deployment := inst.group.Deployment()
	restores := inst.restores.infos()
	var notFetched []int // of s.Partitions
	for _, state := range *inst.taskStates.Load() {
		id, info := state.id, state.TaskInfo
		first := len(s.Partitions)
		t := TaskSnapshot{TaskInfo: info, Subtopology: id.Subtopology, Partition: id.Partition, StreamTime: -1}
		// A worker may still publish a task that has left it, or not yet one that has come.
		if p := progress[id]; p != nil && info.Running {
			t.StreamTime = p.StreamTime
			s.addProgress(inst.graph, info.ID, p)
		} else {
			s.addOpening(inst.graph, deployment, id, restores)
		}
		s.Tasks = append(s.Tasks, t)
		if !info.Running || info.Paused || time.Since(s.Workers[info.Worker].At) > 2*time.Second {
			for ; first < len(s.Partitions); first++ {
				notFetched = append(notFetched, first)
			}
		}
	}
	s.setEnds(inst, notFetched)
	s.addStandbys(inst)
	s.addGlobals(inst, restores)
	slices.SortFunc(s.Stores, func(a, b StoreSnapshot) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Role, b.Role))
	})
	return s
}

// addProgress adds the partitions and stores of a task that runs.
func (s *Snapshot) addProgress(g *graph.Graph, id string, p *worker.TaskProgress) {
	for _, in := range p.Partitions {
		x := partitionSnapshot(id, in.PartitionProgress)
		x.Committed, x.End = in.Committed, in.End
		s.Partitions = append(s.Partitions, x)
	}
	for _, store := range p.Stores {
		st := g.Store(store.Name)
		s.Stores = append(s.Stores, StoreSnapshot{
			Name: store.Name, Partition: p.ID.Partition, Task: id, Kind: st.Kind, InMemory: st.InMemory,
			Sizes: store.Sizes, SizesKnown: true, Changelog: store.Changelog.Topic,
			Position: store.Position, Checkpoint: store.Checkpoint, ChangelogEnd: store.Position,
		})
	}
}

// setEnds sets the ends of partitions of which nothing is fetched at present, some seconds after somebody has asked.
func (s *Snapshot) setEnds(inst *Instance, partitions []int) {
	tps := make([]kafka.TopicPartition, len(partitions))
	for i, at := range partitions {
		tps[i] = kafka.TopicPartition{Topic: s.Partitions[at].Topic, Partition: s.Partitions[at].Partition}
	}
	ends := inst.inputEnds.get(inst, tps)
	for i, at := range partitions {
		if end, ok := ends[tps[i]]; ok {
			s.Partitions[at].End = max(s.Partitions[at].End, end)
		}
	}
}

func partitionSnapshot(id string, in task.PartitionProgress) PartitionSnapshot {
	return PartitionSnapshot{
		Task: id, Topic: in.Topic, Partition: in.Partition, Position: in.Position, Committed: -1, End: -1, Queued: in.Queued,
		HeadTime: in.HeadTime,
	}
}

// addOpening adds the partitions and stores of a task that does not run: how far it is in them is not known, but for
// what is being restored.
func (s *Snapshot) addOpening(
	g *graph.Graph, deployment *topics.Deployment, id graph.TaskID, restores map[storePartition]RestoreInfo,
) {
	for _, tp := range deployment.Task(id).Inputs {
		s.Partitions = append(s.Partitions, PartitionSnapshot{
			Task: id.String(), Topic: tp.Topic, Partition: tp.Partition, Position: -1, Committed: -1, End: -1, HeadTime: -1,
		})
	}
	sub := deployment.Subtopologies[id.Subtopology]
	for _, st := range g.Subtopologies[id.Subtopology].Stores {
		x := StoreSnapshot{
			Name: st.Name, Partition: id.Partition, Task: id.String(), Kind: st.Kind, InMemory: st.InMemory,
			Changelog: cmp.Or(st.SourceTopic, sub.Changelogs[st.Name]), Position: -1, Checkpoint: -1, ChangelogEnd: -1,
		}
		if restore, ok := restores[storePartition{st.Name, id.Partition}]; ok {
			x.Restore = &restore
		}
		s.Stores = append(s.Stores, x)
	}
}

func (s *Snapshot) addStandbys(inst *Instance) {
	deployment := inst.group.Deployment()
	for _, info := range inst.standbys.Infos() {
		st := inst.graph.Store(info.Store)
		role := RoleStandby
		if info.WarmUp {
			role = RoleWarmUp
		}
		s.Stores = append(s.Stores, StoreSnapshot{
			Name: info.Store, Partition: info.Partition, Task: info.Task.String(), Role: role,
			Kind: st.Kind, InMemory: st.InMemory,
			Changelog: cmp.Or(st.SourceTopic, deployment.Subtopologies[st.Subtopology].Changelogs[st.Name]),
			Position:  info.Position, Checkpoint: -1, ChangelogEnd: info.End,
		})
	}
}

func (s *Snapshot) addGlobals(inst *Instance, restores map[storePartition]RestoreInfo) {
	for _, f := range inst.globals.followers {
		p := f.Progress()
		s.Workers = append(s.Workers, WorkerInfo{p.At, 1})
		for _, in := range p.Partitions {
			x := partitionSnapshot("", in)
			if end, ok := p.Ends[in.Partition]; ok {
				x.End = end
			}
			s.Partitions = append(s.Partitions, x)
		}
		for _, st := range f.Stores() {
			x := StoreSnapshot{
				Name: st.Name, Role: RoleGlobal, Kind: st.Kind, InMemory: st.InMemory,
				Sizes: f.Store(st.Name).Sizes(), SizesKnown: true,
				Changelog: st.SourceTopic, Position: -1, Checkpoint: -1, ChangelogEnd: -1,
			}
			if !kafka.Closed(f.Ready()) {
				x.Restore = restoreOfTopic(restores, st.Name)
			}
			s.Stores = append(s.Stores, x)
		}
	}
}

// restoreOfTopic adds up how far a global store is in the partitions of its topic.
func restoreOfTopic(restores map[storePartition]RestoreInfo, store string) *RestoreInfo {
	sum := RestoreInfo{Store: store}
	for partition, info := range restores {
		if partition.store == store {
			sum.Done += info.Done
			sum.End += info.End
			sum.Records += info.Records
			sum.Full = sum.Full || info.Full
		}
	}
	return &sum
}

// measured adds up what workers and followers have measured.
func (inst *Instance) measured() meter.Counts {
	sum := meter.NewCounts(inst.graph)
	for _, w := range inst.workers {
		sum.Add(&w.Progress().Counts)
	}
	for _, f := range inst.globals.followers {
		sum.Add(&f.Progress().Counts)
	}
	return sum
}

// infos returns how far the restores are that are under way.
func (r *restoreProgress) infos() map[storePartition]RestoreInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[storePartition]RestoreInfo, len(r.stores))
	for partition, p := range maps.All(r.stores) {
		out[partition] = restoreInfo(p)
	}
	return out
}
