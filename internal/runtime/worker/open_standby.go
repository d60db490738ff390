package worker

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/changelog"
	"github.com/millstream-go/millstream/internal/runtime/topics"
	"github.com/millstream-go/millstream/internal/storage"
)

// StandbyStores are the stores of a task of which this member is to have a standby.
type StandbyStores struct {
	Handover
	Bounds map[kafka.TopicPartition]changelog.Bounds
}

// Restorable returns the logs that a standby follows: changelogs, and topics in their place.
func (s *StandbyStores) Restorable() []*changelog.Log { return slices.Concat(s.Logs, s.Sources) }

// OpenStandby acquires the stores of a task for a standby, in the same way as Open does, and looks up where their logs
// begin and end. On an error it releases them. Nothing is restored yet, and no offset is committed: these belong to who
// runs the task.
func (o *Opener) OpenStandby(
	ctx context.Context, deployment *topics.Deployment, g *graph.Graph, standby topics.Task, memoryWanted *atomic.Bool,
) (stores StandbyStores, err error) {
	opening := &Opening{
		Deployment: deployment, Graph: g, Tasks: map[graph.TaskID]topics.Task{standby.ID: standby},
	}
	// Committed offsets say which part of a changelog has expired, and how far a topic that stands for one was processed.
	err = kafka.RetryUnavailable(ctx, func() (err error) {
		opening.startOffsets, err = o.Committer.Offsets.Fetch(ctx, o.Application, standby.Inputs)
		return err
	})
	if err != nil {
		return stores, fmt.Errorf("read committed offsets: %w", err)
	}
	var logs []kafka.TopicPartition
	for _, tp := range standby.Changelogs {
		logs = append(logs, tp)
	}
	if opening.bounds, err = o.bounds(ctx, deployment, logs); err != nil {
		return stores, err
	}
	if err := o.topicStores(ctx, opening); err != nil {
		return stores, err
	}
	handover := Handover{ID: standby.ID, MemoryWanted: memoryWanted, Engines: map[string]storage.Engine{}}
	handover.Damage = o.Damage
	handover.Damage.Files = map[string]storage.Damageable{}
	if err := o.openStores(ctx, opening, &handover); err != nil {
		err = handover.Damage.asDamaged(standby.ID, err)
		o.ReleaseStores(handover)
		return stores, err
	}
	return StandbyStores{handover, opening.bounds}, nil
}

// Damaged reports whether a damaged file of the stores is the cause of err; nil: whether one is known to be damaged.
// The file is marked then, and moved aside when the stores are released.
func (s *StandbyStores) Damaged(err error) bool {
	if err == nil {
		return s.Damage.firstError() != nil
	}
	return s.Damage.causes(s.ID, err)
}
