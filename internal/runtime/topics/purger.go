package topics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/millstream-go/millstream/internal/kafka"
)

// Purger deletes from repartition topics what their readers have processed, and from changelogs
// what has expired. Nothing else does, since the retention of these topics is unlimited. One
// goroutine at a time may use it.
type Purger struct {
	admin      kafka.Admin
	logger     *slog.Logger
	purgedTo   map[kafka.TopicPartition]int64
	notAllowed map[string]bool // changelogs from which this client may not delete
}

// NewPurger returns a Purger.
func NewPurger(admin kafka.Admin, logger *slog.Logger) *Purger {
	return &Purger{admin: admin, logger: logger, purgedTo: map[kafka.TopicPartition]int64{}, notAllowed: map[string]bool{}}
}

// PurgeCommitted deletes what is before the committed offset of each partition of a repartition
// topic. Partitions of other topics are left out, and those whose offset has not moved since the
// last call. An offset may be passed only when its commit has been accepted. An error is worth a
// line in the log, and no more: the next call does the same again.
func (purger *Purger) PurgeCommitted(
	ctx context.Context, deployment *Deployment, committed map[kafka.TopicPartition]int64,
) error {
	before := map[kafka.TopicPartition]int64{}
	for tp, offset := range committed {
		if offset > purger.purgedTo[tp] && deployment.IsRepartition(tp.Topic) {
			before[tp] = offset
		}
	}
	if len(before) == 0 {
		return nil
	}
	if err := purger.admin.DeleteRecords(ctx, before); err != nil {
		return fmt.Errorf("purge repartition topics: %w", err)
	}
	for tp, offset := range before {
		purger.purgedTo[tp] = offset
	}
	return nil
}

// PurgeExpired deletes what is before an offset of each changelog partition, since it has expired.
// Partitions whose offset has not moved are left out. An offset may be passed only when it was
// committed, and only by the member that has the task. It returns what could not be deleted and is
// worth another try, and why.
func (purger *Purger) PurgeExpired(
	ctx context.Context, deployment *Deployment, expired map[kafka.TopicPartition]int64,
) (remaining map[kafka.TopicPartition]int64, err error) {
	byTopic := map[string]map[kafka.TopicPartition]int64{}
	for tp, offset := range expired {
		if offset > purger.purgedTo[tp] && !purger.notAllowed[tp.Topic] {
			if byTopic[tp.Topic] == nil {
				byTopic[tp.Topic] = map[kafka.TopicPartition]int64{}
			}
			byTopic[tp.Topic][tp] = offset
		}
	}
	if len(byTopic) == 0 {
		return nil, nil
	}
	// The ids as they are now: an offset means something else in a topic that was deleted and created
	// again, and would delete rows that have not expired.
	infos, err := purger.admin.Topics(ctx, slices.Collect(maps.Keys(byTopic))...)
	if err != nil {
		return expired, fmt.Errorf("describe changelogs: %w", err)
	}
	remaining = map[kafka.TopicPartition]int64{}
	var errs []error
	for topic, before := range byTopic {
		if infos[topic].ID != deployment.Topics[topic].ID {
			continue
		}
		err := purger.admin.DeleteRecords(ctx, before)
		switch {
		case err == nil:
			maps.Copy(purger.purgedTo, before)
		case errors.Is(err, kafka.ErrNotAuthorized) || errors.Is(err, kafka.ErrPolicyViolation):
			purger.notAllowed[topic] = true // it is logged once, and not tried again
			purger.logger.Warn("millstream: the expired records of a changelog cannot be deleted, so it grows; allow the "+
				"application to delete its records (DELETE of the topic), and let its cleanup.policy be compact,delete",
				"topic", topic, "error", err)
		default:
			maps.Copy(remaining, before)
			errs = append(errs, err)
		}
	}
	return remaining, errors.Join(errs...)
}
