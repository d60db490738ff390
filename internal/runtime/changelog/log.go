// Package changelog writes the changes of an epoch to a store's changelog topic, and restores
// stores from it.
//
// Invariants:
//
//  1. A store's records go to the partition of its task, never to one that a partitioner would choose.
//  2. In one epoch, per partition, every value precedes every tombstone. If a tombstone were accepted and
//     the value that replaces its row were not, a crash would leave neither, and the input does not
//     bring the row back.
//  3. The checkpoint of a store is the offset after the epoch's last record, as acknowledged; never a guess.
//  4. A restore ends by position, not by the offset of a record: gaps, transaction markers and compacted
//     offsets have no records.
package changelog

import (
	"context"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/storage"
)

// Log is the changelog partition of one store partition. Whoever owns the store owns it: first the
// goroutine that restores the store, then the worker of its task.
type Log struct {
	kafka.TopicPartition
	Store  string
	ID     kafka.TopicID
	Engine storage.Engine
	// Headers are added to all records except tombstones.
	Headers []kafka.Header
	// DecodeRow is set for a topic from which a store is restored in place of a changelog. Nothing is
	// written to it, and a restore decodes its records with DecodeRow. ok is false for records that
	// are no rows; an error ends the restore.
	DecodeRow func(*kafka.Record) (c storage.Change, ok bool, err error)
	// Committed is what the committed offsets say about the log.
	Committed Committed
	// Deletable is set when the owner may delete records that have expired.
	Deletable bool

	changesBuffer   []storage.Change // of the batch that is being applied; reused
	restoredOffsets []int64          // of the changes that are being restored; reused

	verification verification

	neededFrom int64 // records before it were not needed when the store was restored
	end        int64 // after the last record that was acknowledged
	queued     int   // records queued since the App began
}

// End returns the offset after the last acknowledged record. After a restore it is where the
// restore ended.
func (l *Log) End() int64 { return l.end }

// Queued returns the number of records queued since the App began.
func (l *Log) Queued() int { return l.queued }

// Expect tells a producer which offset the next record of the log gets, so that it notices foreign
// writes.
func (l *Log) Expect(p kafka.Producer) {
	if e, ok := p.(kafka.Expecter); ok {
		e.Expect(l.TopicPartition, l.end)
	}
}

// Cut ends the store's epoch and queues its changes. The next ticket of p covers the records.
func (l *Log) Cut(ctx context.Context, p kafka.Producer) (epoch uint64, err error) {
	return l.Engine.Cut(func(c storage.Change) error {
		return l.produce(ctx, p, c)
	})
}

// record returns the changelog record of a change.
func (l *Log) record(c storage.Change) kafka.ProduceRecord { return Record(c, l.Headers) }

// Record returns the changelog record of a change as Kafka Streams writes it: the time is the
// record's timestamp, and the value has no prefix. The record has the headers of the change if
// there are any, otherwise the given ones.
func Record(c storage.Change, headers []kafka.Header) kafka.ProduceRecord {
	switch {
	case c.Value == nil:
		headers = nil
	case len(c.Headers) > 0:
		headers = make([]kafka.Header, len(c.Headers))
		for i, h := range c.Headers {
			headers[i] = kafka.Header(h)
		}
	}
	return kafka.ProduceRecord{Key: c.Key, Value: c.Value, Headers: headers, Time: max(c.Time, 0)}
}

// Settle settles an epoch of the store. ends are the ends of partitions in the ticket of the
// epoch's records.
func (l *Log) Settle(epoch uint64, ends map[kafka.TopicPartition]int64) {
	// max, because the ticket may have an old end: the producer wrote this partition before, the task
	// was elsewhere meanwhile, and this epoch has no record for it.
	l.end = max(l.end, ends[l.TopicPartition])
	l.Engine.Settle(epoch, l.checkpoint(l.end)) // keeps 3
}

func (l *Log) checkpoint(offset int64) storage.Checkpoint {
	return storage.Checkpoint{TopicID: l.ID, Offset: offset, Time: time.Now()}
}

// Resend queues the store's rows for keys that another process has written.
func (l *Log) Resend(ctx context.Context, p kafka.Producer, keys [][]byte) error {
	for _, key := range keys {
		if err := l.currentRow(key, func(c storage.Change) error { return l.produce(ctx, p, c) }); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) produce(ctx context.Context, p kafka.Producer, c storage.Change) error {
	l.queued++
	if err := p.Send(ctx, l.TopicPartition, l.record(c)); err != nil {
		return fmt.Errorf("changelog of store %q, %s: %w", l.Store, l.TopicPartition, err)
	}
	return nil
}

// currentRow passes to emit what the changelog should have for a key: the store's row, or a
// tombstone.
func (l *Log) currentRow(key []byte, emit func(storage.Change) error) error {
	now := time.Now().UnixMilli()
	// In window, session and versioned stores the key of a changelog record is not the key of a row.
	if e, ok := l.Engine.(interface {
		ChangelogRows(key []byte, now int64, emit func(storage.Change) error) error
	}); ok {
		return e.ChangelogRows(key, now, emit)
	}
	c := storage.Change{Key: key, Time: now}
	v, t, ok, err := l.Engine.Get(key)
	if err != nil {
		return err
	}
	if ok {
		c.Value, c.Time = v, t
	}
	return emit(c)
}

// SettleAt is Settle for a log with DecodeRow: the store contains the records before offset.
func (l *Log) SettleAt(epoch uint64, offset int64) { l.Engine.Settle(epoch, l.checkpoint(offset)) }
