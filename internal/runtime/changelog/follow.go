package changelog

import (
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

// A standby follows a log for as long as it lasts, where a restore ends. Both apply batches in the same way; who has
// the store fetches them.

// Follow begins to follow a log, whose store it empties where its position cannot be trusted. The caller fetches from
// the Position of the result on, and passes the batches to Apply.
func (r *Restorer) Follow(log *Log, bounds Bounds) (Progress, error) {
	log.ID = bounds.ID
	return r.begin(log, bounds)
}

// Apply applies the records of a batch that lie in [from, end), and returns how many changes these were. It may be
// called with the same batch again, and a later end.
func (l *Log) Apply(b *kafka.Batch, from, end int64) (applied int, err error) {
	if len(b.Records) > 0 && b.Records[0].Offset < from {
		rest := *b
		for len(rest.Records) > 0 && rest.Records[0].Offset < from {
			rest.Records = rest.Records[1:]
		}
		b = &rest
	}
	return l.apply(b, end)
}

// Confirm notes that the log had nothing behind the store's position at a time. However long ago the last record
// came, no tombstone between it and that time can have been missed.
func (l *Log) Confirm(at time.Time) error {
	c, ok := l.Engine.Position()
	if !ok || !at.After(c.Time) {
		return nil
	}
	c.Time = at
	l.verification.asOf = at
	if err := l.Engine.Restore(nil, c); err != nil {
		return fmt.Errorf("store %q partition %d: %w", l.Store, l.Partition, err)
	}
	return nil
}

// Relieve gives the store an opportunity to write to its files and to free memory, as its next batch would.
func (l *Log) Relieve() error {
	c, ok := l.Engine.Position()
	if !ok {
		return nil
	}
	if err := l.Engine.Restore(nil, c); err != nil {
		return fmt.Errorf("store %q partition %d: %w", l.Store, l.Partition, err)
	}
	return nil
}
