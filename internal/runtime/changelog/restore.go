package changelog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/quote"
	"github.com/millstream-go/millstream/internal/storage"
)

// Progress is how far a restore is.
type Progress struct {
	Store     string
	Partition int32
	Position  int64 // the next offset to be read
	Begin     int64 // the first offset
	End       int64 // the offset at which it ends
	Records   int64 // applied so far
	Full      bool  // the store is restored from the start of its changelog, not from a checkpoint
	Missing   int64 // deleted offsets at the start of the changelog that may have had live rows
}

// Restorer restores stores. Several goroutines may use it, each with logs of its own.
type Restorer struct {
	Fetcher kafka.Fetcher // read_committed
	Logger  *slog.Logger
	Hook    crashpoint.Hook
	// Progress is called on the restoring goroutine, at the beginning and after each batch, with the
	// number of changes in the batch. In the last call the position has reached the end.
	Progress func(p Progress, applied int)
	// Ended is called on the restoring goroutine when a restore is over. A restore that was cancelled, or
	// that failed, never reports to Progress that it has reached its end.
	Ended func(store string, partition int32)
	// Bounds looks up a log again that has changed during a restore.
	Bounds func(ctx context.Context, tps []kafka.TopicPartition) (map[kafka.TopicPartition]Bounds, error)
	// Waiting is called when a restore waits for records, and over when it does not any more: a transaction may hold them
	// up. Nil: nobody wants to know.
	Waiting func() (over func())
}

const distrusted = "millstream: checkpoint not trusted, restoring in full"

// maxRestarts is how often a restore is attempted of a log that changes meanwhile.
const maxRestarts = 3

// Restore restores the log's store up to bounds.End. It returns when the position has reached that, or
// with ctx's error.
func (r *Restorer) Restore(ctx context.Context, log *Log, bounds Bounds) error {
	log.ID = bounds.ID
	if r.Ended != nil {
		defer r.Ended(log.Store, log.Partition)
	}
	for try := 1; ; try++ {
		err := r.restoreOnce(ctx, log, bounds)
		var compacted *compactedError
		if errors.As(err, &compacted) {
			r.Logger.Warn(distrusted, "store", log.Store, "partition", log.Partition, "reason", compacted)
			continue // once: the store has no checkpoint any more
		}
		var outOfRange *kafka.OffsetOutOfRange
		if !errors.As(err, &outOfRange) {
			return err
		}
		if try == maxRestarts {
			return fmt.Errorf("restore %q partition %d: %w", log.Store, log.Partition, err)
		}
		// The log lost its start or its end, or was created again. The rows restored so far may not be in
		// it any more.
		r.Logger.Warn("millstream: changelog changed during a restore, starting over",
			"store", log.Store, "partition", log.Partition, "error", err)
		if err := log.Engine.Truncate(); err != nil {
			return err
		}
		found, err := r.Bounds(ctx, []kafka.TopicPartition{log.TopicPartition})
		if err != nil {
			return err
		}
		// An input is restored up to the committed offset only. What lies behind has not been processed.
		end := bounds.End
		if bounds = found[log.TopicPartition]; log.DecodeRow != nil {
			bounds.End = end
		}
	}
}

// restoreOnce is Restore for a log that does not change meanwhile.
func (r *Restorer) restoreOnce(ctx context.Context, log *Log, bounds Bounds) error {
	progress, err := r.begin(log, bounds)
	if err != nil {
		return err
	}
	r.report(progress, 0)
	if progress.Position < bounds.End { // otherwise the fetcher has nothing to deliver, and the wait for it would not end
		if err := r.replay(ctx, log, &progress); err != nil {
			return err
		}
	}
	log.end = max(progress.Position, bounds.End)
	r.Hook.At(crashpoint.RestoreDone)
	return nil
}

// begin finds where a restore begins: at the position of the rows that the store has, in memory or in its files, or at
// the start of the log with an empty store.
func (r *Restorer) begin(log *Log, bounds Bounds) (Progress, error) {
	c, ok := log.Engine.Position()
	began := time.Now()
	from, distrust, doubt := bounds.restoreFrom(c, ok, began)
	if distrust != "" {
		r.Logger.Warn(distrusted, "store", log.Store, "partition", log.Partition, "reason", distrust)
	}
	log.verification = verification{asOf: c.Time, began: began, end: bounds.End, doubt: doubt}
	if !ok || distrust != "" {
		log.verification.asOf = began
	}
	// Without a checkpoint the file may have a part of a first flush. In either case, rows that were
	// deleted since would stay.
	if !ok || distrust != "" {
		if err := log.Engine.Truncate(); err != nil {
			return Progress{}, fmt.Errorf("restore %q partition %d: %w", log.Store, log.Partition, err)
		}
	}
	progress := Progress{
		Store: log.Store, Partition: log.Partition, Position: from,
		Begin: from, End: bounds.End, Full: !ok || distrust != "",
	}
	log.neededFrom = bounds.Start
	// An offset behind the end is of a topic that was deleted and created again.
	if expired := log.Committed.Expired; expired <= bounds.End {
		log.neededFrom = max(log.neededFrom, expired)
	}
	if e, ok := log.Engine.(expirer); ok {
		e.SetLogStart(log.neededFrom)
		if c := log.Committed; c.Next > log.neededFrom && c.Next <= bounds.End {
			e.ResumeTrim(c.Next, c.Until)
		}
	}
	if progress.Full {
		progress.Missing = r.reportMissing(log, bounds)
	}
	return progress, nil
}

// reportMissing logs that live rows were deleted from the log, if any were.
func (r *Restorer) reportMissing(l *Log, bounds Bounds) int64 {
	n, why := l.countMissing(bounds, time.Now())
	if n > 0 {
		r.Logger.Error("millstream: a changelog has lost rows that its store still had: they were deleted by a broker or "+
			"by hand, and the store is restored without them; if it was the topic's retention, set retention.ms=-1 and "+
			"retention.bytes=-1; to get the rows back, reset the application and process its input again",
			"store", l.Store, "topic", l.Topic, "partition", l.TopicPartition.Partition, "start", bounds.Start,
			"end", bounds.End,
			"missing", n, "stream_time", formatTime(l.Committed.Time), "reason", why)
	}
	return n
}

func (r *Restorer) report(p Progress, applied int) {
	if r.Progress != nil {
		r.Progress(p, applied)
	}
}

// replay applies the log from progress.Position to progress.End.
func (r *Restorer) replay(ctx context.Context, log *Log, progress *Progress) error {
	batches := newBatchQueue()
	batches.waiting = r.Waiting
	r.Fetcher.Add(log.TopicPartition, progress.Position, batches)
	defer r.Fetcher.Remove(log.TopicPartition)
	for progress.Position < progress.End {
		b, err := batches.next(ctx)
		if err != nil {
			return err
		}
		applied, err := log.apply(b, progress.End)
		if err != nil {
			return err
		}
		// The store has copies. What a user's serde decoded may refer to the record's bytes.
		if b.Recycle != nil && log.DecodeRow == nil {
			b.Recycle()
		}
		r.Fetcher.Release(log.TopicPartition, b.Bytes)
		progress.Position = max(progress.Position, min(b.Next, progress.End))
		progress.Records += int64(applied)
		r.report(*progress, applied)
		r.Hook.At(crashpoint.RestoreHalf)
	}
	return nil
}

// apply applies the records of a batch that lie before end to the store, and returns how many changes these were.
//
// The position moves by the batch, not by its last record: markers and compacted offsets may be all that is left
// before the end (invariant 4). A batch may go beyond the end, and then it counts up to the end.
func (l *Log) apply(b *kafka.Batch, end int64) (applied int, err error) {
	if l.changesBuffer, err = l.changes(l.changesBuffer[:0], b, end); err != nil {
		return 0, fmt.Errorf("restore %q partition %d: %w", l.Store, l.Partition, err)
	}
	applied = len(l.changesBuffer)
	if err := l.verify(b); err != nil {
		return 0, fmt.Errorf("restore %q partition %d: %w", l.Store, l.Partition, err)
	}
	l.noteRead(b, end)
	checkpoint := storage.Checkpoint{TopicID: l.ID, Offset: min(b.Next, end), Time: l.verification.asOf}
	if err := l.restore(l.changesBuffer, b, end, checkpoint); err != nil {
		return 0, fmt.Errorf("restore %q partition %d: %w", l.Store, l.Partition, err)
	}
	// It would keep the bytes of the batch in memory, until the next one comes.
	clear(l.changesBuffer)
	return applied, nil
}

// appendChanges appends the changes that the records of b before end stand for. A record without a
// key is no row.
func appendChanges(to []storage.Change, b *kafka.Batch, end int64) []storage.Change {
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

// changes is appendChanges for a changelog or a topic with DecodeRow.
func (l *Log) changes(to []storage.Change, b *kafka.Batch, end int64) ([]storage.Change, error) {
	switch {
	// A changelog's batch that cannot be read: its rows cannot be restored.
	case b.Unreadable != nil && l.DecodeRow == nil:
		return to, b.Unreadable
	// An input's, before the committed offset: its decode policy has decided about it when it was
	// processed.
	case b.Unreadable != nil:
		return to, nil
	case l.DecodeRow == nil:
		return appendChanges(to, b, end), nil
	}
	for i := range b.Records {
		r := &b.Records[i]
		if r.Offset >= end {
			break
		}
		c, ok, err := l.decodeRow(r)
		if err != nil {
			return to, fmt.Errorf("%s offset %d: %w", l.TopicPartition, r.Offset, err)
		}
		if ok {
			to = append(to, c)
		}
	}
	return to, nil
}

// decodeRow calls DecodeRow. It runs the user's serdes, whose panic must not end the process.
func (l *Log) decodeRow(r *kafka.Record) (c storage.Change, ok bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return l.DecodeRow(r)
}

type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string {
	return fmt.Sprintf("panic: %s\n\n%s", quote.Text(fmt.Sprint(p.value)), p.stack)
}

// Change is the inverse of Record. Only stores with headers use them.
func Change(key, value []byte, time int64, headers []kafka.Header) storage.Change {
	c := storage.Change{Key: key, Value: value, Time: time}
	if len(headers) > 0 {
		c.Headers = make(storage.Headers, len(headers))
		for i, h := range headers {
			c.Headers[i] = storage.Header(h)
		}
	}
	return c
}
