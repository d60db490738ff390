package topics

import (
	"context"
	"fmt"

	"github.com/millstream-go/millstream/internal/kafka"
)

// Purger deletes from repartition topics what their readers have processed: their retention is unlimited, so nothing else does.
// Owned by one goroutine.
type Purger struct {
	admin kafka.Admin
	done  map[kafka.TopicPartition]int64
}

// NewPurger returns a Purger.
func NewPurger(admin kafka.Admin) *Purger {
	return &Purger{admin: admin, done: map[kafka.TopicPartition]int64{}}
}

// Purge deletes what stands before the committed offset of each partition of a repartition topic of p; other partitions and those
// whose offset has not moved since the last Purge are left out. An offset may only be given once its commit has been accepted. The
// error is worth a log entry, no more: the next Purge does it again.
func (u *Purger) Purge(ctx context.Context, p *Plan, committed map[kafka.TopicPartition]int64) error {
	before := map[kafka.TopicPartition]int64{}
	for tp, offset := range committed {
		if offset > u.done[tp] && p.Purged(tp.Topic) {
			before[tp] = offset
		}
	}
	if len(before) == 0 {
		return nil
	}
	if err := u.admin.DeleteRecords(ctx, before); err != nil {
		return fmt.Errorf("purge repartition topics: %w", err)
	}
	for tp, offset := range before {
		u.done[tp] = offset
	}
	return nil
}
