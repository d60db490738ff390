// Package changelog writes what an epoch did to a store to its changelog topic, and rebuilds stores from it.
//
// Invariants:
//
//  1. A store's records go to the partition of its task, never to the one a partitioner would choose.
//  2. Of one epoch, per partition: every value precedes every deletion. Were a deletion accepted and the value that goes with it
//     lost, a row would be gone that the input cannot bring back.
//  3. The checkpoint handed to a store is the offset after the last record of the epoch, as acknowledged; never a guess.
//  4. A restore ends by position, not by the offset of a record: gaps, markers and compacted offsets have no records.
package changelog

import (
	"context"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/store"
)

// Log is the changelog partition of one store partition. Owned by whoever owns the store: the goroutine that restores it, then the
// worker of its task.
type Log struct {
	kafka.TopicPartition
	Store  string
	ID     kafka.TopicID
	Engine store.Engine
	// Headers are those of all records that are no deletions.
	Headers []kafka.Header
	// Row is set where the log is a topic that the store is kept from, by its task: nothing is written to it, and a restore asks Row what
	// a record did to the store. ok is false for records that are no rows, and so it is meant of those that it returns an error for:
	// the offset was committed behind them, so their policy has let them pass.
	Row func(*kafka.Record) (c store.Change, ok bool, err error)

	end   int64 // after the last record that is known to be accepted
	sends int   // records queued since the App began
}

// End returns the offset after the last record that is known to be accepted; where a restore ended at first.
func (l *Log) End() int64 { return l.end }

// Sent returns how many records were queued so far.
func (l *Log) Sent() int { return l.sends }

// Expect tells a producer which offset the next record of the log will get, so that it notices foreign writes.
func (l *Log) Expect(p kafka.Producer) {
	if e, ok := p.(kafka.Expecter); ok {
		e.Expect(l.TopicPartition, l.end)
	}
}

// Cut ends the store's epoch and queues its changes. The records of the epoch are those that p acknowledges by the next ticket.
func (l *Log) Cut(ctx context.Context, p kafka.Producer) (epoch uint64, err error) {
	return l.Engine.Cut(func(c store.Change) error {
		return l.send(ctx, p, c)
	})
}

// record is the changelog record of a change, as Kafka Streams writes it: the time on the record, the value plain.
func (l *Log) record(c store.Change) kafka.ProduceRecord { return Record(c, l.Headers) }

// Record is the record of a change in a changelog whose records have headers, or headers of their own.
func Record(c store.Change, headers []kafka.Header) kafka.ProduceRecord {
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

// Settle tells the store that epoch is accepted. ends is what the ticket of the epoch's records says.
func (l *Log) Settle(epoch uint64, ends map[kafka.TopicPartition]int64) {
	// A partition that came back to a producer that had written it before may still have its old end there.
	l.end = max(l.end, ends[l.TopicPartition])
	l.Engine.Settle(epoch, l.checkpoint(l.end)) // keeps 3
}

func (l *Log) checkpoint(offset int64) store.Checkpoint {
	return store.Checkpoint{TopicID: l.ID, Offset: offset, Time: time.Now()}
}

// Resend queues the store's own rows for keys, after somebody else wrote them.
func (l *Log) Resend(ctx context.Context, p kafka.Producer, keys [][]byte) error {
	for _, key := range keys {
		if err := l.logged(key, func(c store.Change) error { return l.send(ctx, p, c) }); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) send(ctx context.Context, p kafka.Producer, c store.Change) error {
	l.sends++
	if err := p.Send(ctx, l.TopicPartition, l.record(c)); err != nil {
		return fmt.Errorf("changelog of store %q, %s: %w", l.Store, l.TopicPartition, err)
	}
	return nil
}

// logged hands what the log should hold for a key to emit. Stores whose keys are others than those of their changelog know it themselves.
func (l *Log) logged(key []byte, emit func(store.Change) error) error {
	now := time.Now().UnixMilli()
	if e, ok := l.Engine.(interface {
		Logged(key []byte, now int64, emit func(store.Change) error) error
	}); ok {
		return e.Logged(key, now, emit)
	}
	c := store.Change{Key: key, Time: now}
	v, t, ok, err := l.Engine.Get(key)
	if err != nil {
		return err
	}
	if ok {
		c.Value, c.Time = v, t
	}
	return emit(c)
}

// SettleAt is Settle for a log with Row: the store has what the records before offset did to it.
func (l *Log) SettleAt(epoch uint64, offset int64) { l.Engine.Settle(epoch, l.checkpoint(offset)) }
