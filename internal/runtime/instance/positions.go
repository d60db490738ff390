package instance

import (
	"context"
	"fmt"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/assign"
	"github.com/millstream-go/millstream/internal/runtime/statedir"
)

// standbyTasks returns the tasks of which this member has standbys that follow their logs.
func (inst *Instance) standbyTasks() []graph.TaskID {
	var out []graph.TaskID
	for _, info := range inst.standbys.Infos() { // by task
		if n := len(out); n == 0 || out[n-1] != info.Task {
			out = append(out, info.Task)
		}
	}
	return out
}

// positions returns how far this member is in the changelogs of tasks that it does not run: of its standbys, of the
// stores that nobody uses, in memory or in files, and of tasks that are being restored. These are listed also when
// nothing is known of them, since a task that is owned and not listed counts as one that runs.
func (inst *Instance) positions() []assign.Position {
	offsets := map[statedir.Name]int64{}
	found, err := inst.stores.dir.Positions()
	if err != nil {
		inst.cfg.Logger.Warn("millstream: looking for state on disk", "error", err)
	}
	deployment := inst.group.Deployment()
	for n, checkpoint := range found {
		st := inst.graph.Store(statedir.StoreName(n.Store))
		if st == nil || statedir.DirName(st) != n.Store || st.Global || !restorable(st) {
			continue
		}
		// An offset in a topic that was deleted and created again says nothing.
		topic := deployment.Subtopologies[st.Subtopology].Changelogs[st.Name]
		if st.SourceTopic != "" {
			topic = st.SourceTopic
		}
		id := deployment.Topics[topic].ID
		if checkpoint.TopicID != id && checkpoint.TopicID != (kafka.TopicID{}) && id != (kafka.TopicID{}) {
			continue
		}
		offsets[statedir.Name{Store: st.Name, Partition: n.Partition}] = checkpoint.Offset
	}
	tasks := map[graph.TaskID]bool{}
	for n := range offsets {
		tasks[graph.TaskID{Subtopology: inst.graph.Store(n.Store).Subtopology, Partition: n.Partition}] = true
	}
	for _, info := range inst.standbys.Infos() {
		offsets[statedir.Name{Store: info.Store, Partition: info.Partition}] = info.Position
		tasks[info.Task] = true
	}
	for partition, position := range inst.restores.positions() {
		offsets[statedir.Name{Store: partition.store, Partition: partition.partition}] = position
	}
	for id, running := range *inst.manager.assigned.Load() {
		if running {
			delete(tasks, id)
		} else if inst.hasLogs(id.Subtopology) {
			tasks[id] = true
		}
	}
	var out []assign.Position
	for id := range tasks {
		p := assign.Position{Task: id}
		for _, store := range deployment.Subtopologies[id.Subtopology].Stores {
			offset, ok := offsets[statedir.Name{Store: store, Partition: id.Partition}]
			if !ok {
				offset = -1
			}
			p.Offsets = append(p.Offsets, offset)
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b assign.Position) int { return a.Task.Compare(b.Task) })
	return out
}

// hasLogs reports whether a sub-topology has a store that is restored from a topic.
func (inst *Instance) hasLogs(sub int) bool {
	return slices.ContainsFunc(inst.graph.Subtopologies[sub].Stores, restorable)
}

// changelogBounds looks up where the logs of stores begin and end, for the leader. A topic that stands for a changelog
// ends at the committed offset. Of stores of another version of the program nothing is known.
func (inst *Instance) changelogBounds(ctx context.Context, stores []string) (map[string][]assign.LogBounds, error) {
	deployment := inst.group.Deployment()
	out := map[string][]assign.LogBounds{}
	of := map[string][]string{} // the stores of a topic
	var logs, sources []kafka.TopicPartition
	for _, name := range stores {
		st := inst.graph.Store(name)
		switch {
		case st == nil:
			out[name] = nil
			continue
		case !restorable(st):
			continue
		}
		topic := deployment.Subtopologies[st.Subtopology].Changelogs[st.Name]
		if st.SourceTopic != "" {
			topic = st.SourceTopic
		}
		of[topic] = append(of[topic], name)
		n := deployment.Topics[topic].Partitions
		out[name] = make([]assign.LogBounds, n)
		for p := range n {
			tp := kafka.TopicPartition{Topic: topic, Partition: int32(p)}
			if logs = append(logs, tp); st.SourceTopic != "" {
				sources = append(sources, tp)
			}
		}
	}
	if len(logs) == 0 {
		return out, nil
	}
	starts, err := inst.admin.ListOffsets(ctx, kafka.ReadUncommitted, positionsAt(logs, kafka.Earliest))
	if err != nil {
		return nil, fmt.Errorf("look up the starts of changelogs: %w", err)
	}
	ends, err := inst.admin.ListOffsets(ctx, kafka.ReadUncommitted, positionsAt(logs, kafka.Latest))
	if err != nil {
		return nil, fmt.Errorf("look up the ends of changelogs: %w", err)
	}
	committed, err := inst.committedOffsets(ctx, sources)
	if err != nil {
		return nil, fmt.Errorf("read committed offsets: %w", err)
	}
	for _, tp := range sources {
		ends[tp] = max(committed[tp], starts[tp])
	}
	for _, tp := range logs {
		end, known := ends[tp]
		start, knownStart := starts[tp]
		for _, name := range of[tp.Topic] {
			out[name][tp.Partition] = assign.LogBounds{Start: start, End: end, Known: known && knownStart}
		}
	}
	return out, nil
}

func positionsAt(tps []kafka.TopicPartition, at int64) map[kafka.TopicPartition]int64 {
	out := make(map[kafka.TopicPartition]int64, len(tps))
	for _, tp := range tps {
		out[tp] = at
	}
	return out
}
