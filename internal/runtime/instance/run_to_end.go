package instance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/topics"
)

// endCheckInterval is how often RunToEnd looks at what the group has committed.
const endCheckInterval = 50 * time.Millisecond

// awaitEnds waits until the group has committed everything up to the ends of the inputs.
//
// It takes the sub-topologies in stages, those that write what others read first. The ends of a
// stage are looked up when all stages before it are done: what those wrote was acknowledged before
// they committed, so it lies before these ends. Sub-topologies that write what they read, directly
// or through each other, are one stage. It is done when they have committed up to their ends and
// the ends have not moved meanwhile.
func (inst *Instance) awaitEnds(ctx context.Context) error {
	deployment := inst.group.Deployment()
	// The ends of external topics are fixed now: others may go on writing to them for ever.
	external, err := inst.endOffsets(ctx, kafka.ReadCommitted, deployment,
		topics.ExternalTopics(inst.graph, inst.cfg.ApplicationID, deployment))
	if err != nil {
		return err
	}
	if !inst.globals.awaitReady(ctx) { // they may be all that the topology has
		return context.Cause(ctx)
	}
	for _, stage := range topics.Stages(inst.graph, inst.cfg.ApplicationID, deployment) {
		if err := inst.finishStage(ctx, deployment, stage, external); err != nil {
			return err
		}
	}
	return nil
}

// finishStage waits until a stage is done.
func (inst *Instance) finishStage(
	ctx context.Context, deployment *topics.Deployment, stage []int, external map[kafka.TopicPartition]int64,
) error {
	var innerTopics []string
	ends := map[kafka.TopicPartition]int64{}
	for _, sub := range stage {
		for _, topic := range deployment.Subtopologies[sub].Inputs {
			if _, ok := external[kafka.TopicPartition{Topic: topic}]; !ok { // every topic has a partition 0
				innerTopics = append(innerTopics, topic)
			}
		}
		for tp, end := range external {
			if slices.Contains(deployment.Subtopologies[sub].Inputs, tp.Topic) {
				ends[tp] = end
			}
		}
	}
	// Brokers write the markers of a transaction partition by partition: its offsets may be the group's already while its
	// records are still behind the last stable offset. So the very ends count, which only transactions of the group are
	// in front of.
	isolation := kafka.ReadCommitted
	if inst.cfg.ExactlyOnce {
		isolation = kafka.ReadUncommitted
	}
	for {
		found, err := inst.endOffsets(ctx, isolation, deployment, innerTopics)
		if err != nil {
			return err
		}
		moved := false
		for tp, end := range found {
			before, seen := ends[tp] // an end that is looked up for the first time may still move, wherever it is
			moved = moved || !seen || before != end
		}
		maps.Copy(ends, found)
		if err := inst.awaitCommitted(ctx, ends); err != nil {
			return err
		}
		// Nothing writes to the inputs of a stage but the stages before it, which are done, unless it
		// writes to them itself.
		if !moved || len(stage) == 1 && !topics.WritesInputOf(inst.graph, inst.cfg.ApplicationID, deployment, stage[0],
			stage[0]) {
			return nil
		}
	}
}

// awaitCommitted waits until the group has committed up to ends, whichever member did.
func (inst *Instance) awaitCommitted(ctx context.Context, ends map[kafka.TopicPartition]int64) error {
	if len(ends) == 0 { // of a global sub-topology
		return nil
	}
	remaining := maps.Clone(ends)
	ticker := time.NewTicker(endCheckInterval)
	defer ticker.Stop()
	for {
		var found map[kafka.TopicPartition]kafka.OffsetMeta
		err := kafka.RetryUnavailable(ctx, func() (err error) {
			found, err = inst.offsets.Fetch(ctx, inst.cfg.ApplicationID, slices.Collect(maps.Keys(remaining)))
			return err
		})
		if err != nil {
			return fmt.Errorf("read committed offsets: %w", err)
		}
		for tp, committed := range found {
			if committed.Offset >= remaining[tp] {
				delete(remaining, tp)
			}
		}
		if len(remaining) == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// endOffsets looks up where topics end for a reader.
func (inst *Instance) endOffsets(
	ctx context.Context, isolation kafka.Isolation, deployment *topics.Deployment, topicNames []string,
) (ends map[kafka.TopicPartition]int64, err error) {
	request := map[kafka.TopicPartition]int64{}
	for _, topic := range topicNames {
		for p := range deployment.Topics[topic].Partitions {
			request[kafka.TopicPartition{Topic: topic, Partition: int32(p)}] = kafka.Latest
		}
	}
	if len(request) == 0 {
		return nil, nil
	}
	err = kafka.RetryUnavailable(ctx, func() (err error) {
		ends, err = inst.admin.ListOffsets(ctx, isolation, request)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up the ends of %v: %w", topicNames, err)
	}
	return ends, nil
}
