package changelog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/store"
)

// Progress says how far a restore is.
type Progress struct {
	Store     string
	Partition int32
	Position  int64 // the next offset to be read
	Begin     int64 // where the restore began
	End       int64 // where it ends
	Records   int64 // applied so far
	Full      bool  // the store is rebuilt from the start of its changelog
}

// Restorer rebuilds stores. Safe for use by several goroutines, each with logs of its own.
type Restorer struct {
	Fetcher kafka.Fetcher // read_committed
	Logger  *slog.Logger
	Hook    crashpoint.Hook
	// Progress is called at the beginning and after each batch, with the number of records that it brought, on the restoring
	// goroutine. The last one has reached the end.
	Progress func(p Progress, applied int)
	// Extents looks a log up again after it changed under a restore.
	Extents func(ctx context.Context, tps []kafka.TopicPartition) (map[kafka.TopicPartition]Extent, error)
}

// restarts is how often a log may change under a restore before that is an error.
const restarts = 3

// Restore brings l's store to x.End. It returns when the position has reached it, or with ctx's error.
func (r *Restorer) Restore(ctx context.Context, l *Log, x Extent) error {
	l.ID = x.ID
	for try := 1; ; try++ {
		err := r.once(ctx, l, x)
		var gone *kafka.OffsetOutOfRange
		if !errors.As(err, &gone) {
			return err
		}
		if try == restarts {
			return fmt.Errorf("restore %q partition %d: %w", l.Store, l.Partition, err)
		}
		// The log was cut at one of its ends meanwhile: what the store has cannot be related to it any more.
		r.Logger.Warn("millstream: changelog changed during a restore, starting over", "store", l.Store, "partition", l.Partition, "error", err)
		if err := l.Engine.Truncate(); err != nil {
			return err
		}
		xs, err := r.Extents(ctx, []kafka.TopicPartition{l.TopicPartition})
		if err != nil {
			return err
		}
		end := x.End
		if x = xs[l.TopicPartition]; l.Row != nil {
			x.End = end // what was committed
		}
	}
}

func (r *Restorer) once(ctx context.Context, l *Log, x Extent) error {
	c, ok := l.Engine.Checkpoint()
	from, distrust := x.from(c, ok, time.Now())
	if distrust != "" {
		r.Logger.Warn("millstream: checkpoint not trusted, restoring in full", "store", l.Store, "partition", l.Partition, "reason", distrust)
	}
	if !ok || distrust != "" {
		// Without a checkpoint the file may hold a part of a first flush; rows deleted since would stay.
		if err := l.Engine.Truncate(); err != nil {
			return fmt.Errorf("restore %q partition %d: %w", l.Store, l.Partition, err)
		}
	}
	p := Progress{Store: l.Store, Partition: l.Partition, Position: from, Begin: from, End: x.End, Full: !ok || distrust != ""}
	r.report(p, 0)
	if from < x.End { // before the first poll: a log that is empty or caught up delivers nothing
		if err := r.replay(ctx, l, &p); err != nil {
			return err
		}
	}
	l.end = max(p.Position, x.End)
	r.Hook.At(crashpoint.RestoreDone)
	return nil
}

func (r *Restorer) report(p Progress, applied int) {
	if r.Progress != nil {
		r.Progress(p, applied)
	}
}

// replay applies the log from p.Position until it has reached p.End.
func (r *Restorer) replay(ctx context.Context, l *Log, p *Progress) error {
	in := &inbox{wake: make(chan struct{}, 1)}
	r.Fetcher.Add(l.TopicPartition, p.Position, in)
	defer r.Fetcher.Remove(l.TopicPartition)
	var changes []store.Change
	for p.Position < p.End {
		batches, err := in.take(ctx)
		if err != nil {
			return err
		}
		for _, b := range batches {
			if changes, err = l.changes(changes[:0], b, p.End); err != nil {
				return fmt.Errorf("restore %q partition %d: %w", l.Store, l.Partition, err)
			}
			next := min(b.Next, p.End)
			if err := l.Engine.Restore(changes, l.checkpoint(next)); err != nil {
				return fmt.Errorf("restore %q partition %d: %w", l.Store, l.Partition, err)
			}
			r.Fetcher.Release(l.TopicPartition, b.Bytes)
			p.Position, p.Records = max(p.Position, next), p.Records+int64(len(changes))
			r.report(*p, len(changes))
			r.Hook.At(crashpoint.RestoreHalf)
			if p.Position >= p.End {
				break
			}
		}
	}
	return nil
}

// appendChanges turns the records of b before end into changes. What has no key is no row of anybody's.
func appendChanges(to []store.Change, b *kafka.Batch, end int64) []store.Change {
	for i := range b.Records {
		r := &b.Records[i]
		if r.Offset >= end {
			break
		}
		if r.Key != nil {
			to = append(to, Change(r.Key, r.Value, r.Time, r.Headers))
		}
	}
	return to
}

// changes is appendChanges for any log.
func (l *Log) changes(to []store.Change, b *kafka.Batch, end int64) ([]store.Change, error) {
	if l.Row == nil {
		return appendChanges(to, b, end), nil
	}
	for i := range b.Records {
		r := &b.Records[i]
		if r.Offset >= end {
			break
		}
		c, ok, err := l.row(r)
		if panicked := (*panicError)(nil); errors.As(err, &panicked) {
			return to, fmt.Errorf("record at offset %d: %w", r.Offset, err)
		}
		if ok && err == nil {
			to = append(to, c)
		}
	}
	return to, nil
}

// row asks for the row of a record. Serdes are the user's code: a panic is not to end the process.
func (l *Log) row(r *kafka.Record) (c store.Change, ok bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return l.Row(r)
}

type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v\n\n%s", p.value, p.stack) }

// Change is the inverse of Record. Only stores that keep headers look at them.
func Change(key, value []byte, time int64, headers []kafka.Header) store.Change {
	c := store.Change{Key: key, Value: value, Time: time}
	if len(headers) > 0 {
		c.Headers = make(store.Headers, len(headers))
		for i, h := range headers {
			c.Headers[i] = store.Header(h)
		}
	}
	return c
}

// inbox is where a fetcher leaves batches for a goroutine that waits for them.
type inbox struct {
	wake chan struct{} // capacity 1

	mu      sync.Mutex // never held while waiting
	batches []*kafka.Batch
	err     error
}

func (in *inbox) Deliver(b *kafka.Batch) {
	in.mu.Lock()
	in.batches = append(in.batches, b)
	in.mu.Unlock()
	in.poke()
}

func (in *inbox) FetchFailed(_ kafka.TopicPartition, err error) {
	in.mu.Lock()
	in.err = err
	in.mu.Unlock()
	in.poke()
}

func (in *inbox) poke() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// take waits for batches, or for an error: what was delivered before it comes first.
func (in *inbox) take(ctx context.Context) ([]*kafka.Batch, error) {
	for {
		in.mu.Lock()
		batches, err := in.batches, in.err
		in.batches = nil
		in.mu.Unlock()
		if len(batches) > 0 {
			return batches, nil
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-in.wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
