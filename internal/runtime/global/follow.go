package global

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/storage"
)

// follow reads the topic until ctx ends or something fails that no retry cures.
func (f *Follower) follow(ctx context.Context) error {
	repairs := 0
	for try := 1; ; try++ {
		err := f.readTopic(ctx)
		f.cfg.Fetcher.Remove(f.topicPartitions()...)
		// A damaged file costs a restore, whenever it is found. Until then readers get an error.
		if ctx.Err() == nil && f.isDamage(err) {
			if err := f.repair(ctx, repairs); err != nil {
				return err
			}
			repairs++
			continue
		}
		// Records were deleted before they were read. As long as the stores are not ready nobody depends
		// on their rows, and they are read again from the start. Afterwards rows would change under tasks
		// that have used them: the App stops, as with any input.
		var outOfRange *kafka.OffsetOutOfRange
		if !errors.As(err, &outOfRange) || kafka.Closed(f.Ready()) || try == maxRestarts {
			return err
		}
		f.cfg.Logger.Warn("millstream: a global topic changed while it was read for the first time, starting over",
			"topic", f.cfg.Topic.Name, "error", err)
		if err := errors.Join(f.task.Close(false), f.truncate()); err != nil {
			return err
		}
		f.inbox.Drain(nil) // batches of the old positions
	}
}

// readTopic restores the stores and follows the topic: it is the same loop, since a restore reads
// the same records through the same step.
func (f *Follower) readTopic(ctx context.Context) error {
	if err := f.prepare(ctx); err != nil {
		return fmt.Errorf("restore %s: %w", f, err)
	}
	if err := f.startTask(ctx); err != nil {
		return err
	}
	for p, tp := range f.topicPartitions() {
		f.cfg.Fetcher.Add(tp, f.startOffsets[p], f)
	}
	timer := time.NewTimer(partitionCheckInterval)
	defer timer.Stop()
	for {
		f.signalReady()
		if ctx.Err() != nil { // of several channels that are ready, select takes any
			return context.Cause(ctx)
		}
		select {
		case <-f.inbox.Ready():
		case <-timer.C:
			timer.Reset(partitionCheckInterval)
			if err := f.checkNewPartitions(ctx); err != nil {
				return fmt.Errorf("follow %s: %w", f, err)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		// The engine wakes the follower when a read has found damage, on whichever goroutine.
		if err := f.damageFound(); err != nil {
			return err
		}
		if err := f.receive(); err != nil {
			return err
		}
		if err := f.processQueued(ctx); err != nil {
			return err
		}
	}
}

// receive reads the inbox and queues the batches in the task.
func (f *Follower) receive() error {
	f.received = f.inbox.Drain(f.received)
	for _, m := range f.received {
		switch {
		case m.err != nil:
			return fmt.Errorf("%s cannot follow %s any more; the next start reads its topic again: %w", f, m.tp, m.err)
		case m.batch == nil:
			f.memoryWanted = true
		default:
			f.unreported[m.batch.Partition] += len(m.batch.Records)
			f.ends[m.batch.Partition] = max(f.ends[m.batch.Partition], m.batch.LastStable)
			if err := f.task.Add(m.batch); err != nil {
				return err
			}
		}
	}
	return nil
}

// processQueued processes all that is queued, and settles it as it goes.
func (f *Follower) processQueued(ctx context.Context) error {
	for {
		n, err := f.processRound()
		if err != nil {
			return err
		}
		if err := f.settle(); err != nil {
			return err
		}
		f.reportProgress(n)
		f.publishProgress(time.Now())
		if f.task.Buffered() == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// processRound processes records, up to maxRoundRecords. The clock is read between some of them, so
// that the watchdog sees that calls return.
func (f *Follower) processRound() (n int, err error) {
	defer f.callStarted.Store(0)
	for n < maxRoundRecords {
		now := time.Now()
		f.callStarted.Store(now.UnixNano())
		done, err := f.task.Process(clockEvery)
		if n += done; done > 0 {
			f.meter.Sample(f.cfg.Sub.ID, now, f.task.LastTime(), f.task.StreamTime(), done)
		}
		if err != nil || done < clockEvery {
			return n, err
		}
	}
	return n, nil
}

// settle cuts and settles an epoch of each store. Nothing has to be sent in between: what the topic
// has was accepted by Kafka. This is between two records, as invariant 2 demands.
func (f *Follower) settle() error {
	checkpoint := storage.Checkpoint{TopicID: f.topicID, Time: time.Now(), Offsets: make([]int64, len(f.startOffsets))}
	for p := range f.startOffsets {
		checkpoint.Offsets[p] = f.position(p)
		checkpoint.Offset += checkpoint.Offsets[p]
	}
	if checkpoint.Offset == f.settledSum && !f.memoryWanted {
		return nil // no partition has moved
	}
	f.settledSum, f.memoryWanted = checkpoint.Offset, false
	// Rows do not become younger before all is read behind them (changelog/checkpoint_trust.go says why).
	if !f.caughtUp() {
		checkpoint.Time = f.asOf
	}
	for name, writer := range f.writers {
		epoch, err := writer.Cut(func(storage.Change) error { return nil })
		if err != nil {
			return fmt.Errorf("global store %q: %w", name, err)
		}
		writer.Settle(epoch, checkpoint)
	}
	return nil
}

// position returns the next offset of a partition. Before the first record that is the start.
func (f *Follower) position(p int) int64 {
	return max(f.task.Position(f.topicPartition(p)), f.startOffsets[p])
}

func (f *Follower) topicPartition(p int) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: f.cfg.Topic.Name, Partition: int32(p)}
}

func (f *Follower) topicPartitions() []kafka.TopicPartition {
	tps := make([]kafka.TopicPartition, len(f.startOffsets))
	for p := range tps {
		tps[p] = f.topicPartition(p)
	}
	return tps
}
