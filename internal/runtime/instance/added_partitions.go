package instance

import (
	"context"
	"fmt"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/topics"
)

// addedPartitions knows which partitions are new to the group. A source that starts at the latest
// offset must not do so in these: it would skip what was written to them before they were found
// (the problem that KIP-842 describes).
//
// That a partition has no committed offset is not enough to be new. When several members start for
// the first time, one may have committed its start positions before another looks, and the other's
// partitions would seem to be added to a topic that the group reads. So what counts is what the
// group had before this member joined it. Read-only once made.
type addedPartitions struct {
	countsAtStart map[string]int  // partitions of the topics
	hadOffsets    map[string]bool // topics with a committed offset
}

// findAddedPartitions looks up what the group has committed. It asks nothing when no source starts
// at the latest offset.
func (inst *Instance) findAddedPartitions(
	ctx context.Context, deployment *topics.Deployment,
) (*addedPartitions, error) {
	added := &addedPartitions{countsAtStart: map[string]int{}, hadOffsets: map[string]bool{}}
	var tps []kafka.TopicPartition
	for _, topic := range deployment.Subscription() {
		count := deployment.Topics[topic].Partitions
		added.countsAtStart[topic] = count
		if deployment.Source(topic).Source.Offset.Kind != graph.StartLatest {
			continue
		}
		for p := range count {
			tps = append(tps, kafka.TopicPartition{Topic: topic, Partition: int32(p)})
		}
	}
	if len(tps) == 0 { // it makes no difference to other sources
		return added, nil
	}
	err := kafka.RetryUnavailable(ctx, func() error {
		offsets, err := inst.offsets.Fetch(ctx, inst.cfg.ApplicationID, tps)
		for tp, at := range offsets {
			added.hadOffsets[tp.Topic] = added.hadOffsets[tp.Topic] || at.Offset >= 0
		}
		inst.cfg.Observer.StartBlocked(err)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read committed offsets: %w", err)
	}
	return added, nil
}

// includes reports whether tp, which has no committed offset, is new to the group: it was added to
// a topic that the group reads already, or it appeared since this member started.
func (a *addedPartitions) includes(tp kafka.TopicPartition) bool {
	return a.hadOffsets[tp.Topic] || int(tp.Partition) >= a.countsAtStart[tp.Topic]
}
