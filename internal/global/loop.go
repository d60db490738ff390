package global

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/store"
)

// follow reads the topic until ctx ends. A topic that is cut before the stores have reached its end is read anew: nothing depends on them.
func (f *Follower) follow(ctx context.Context) error {
	for try := 1; ; try++ {
		err := f.read(ctx)
		f.cfg.Fetcher.Remove(f.partitions()...)
		var gone *kafka.OffsetOutOfRange
		if !errors.As(err, &gone) || closed(f.ready) || try == restarts {
			return err
		}
		f.cfg.Logger.Warn("millstream: a global topic changed while it was read for the first time, starting over", "topic", f.cfg.Topic.Name, "error", err)
		if err := errors.Join(f.task.Close(false), f.truncate()); err != nil {
			return err
		}
		f.inbox.Take(nil)
	}
}

func (f *Follower) read(ctx context.Context) error {
	if err := f.begin(ctx); err != nil {
		return fmt.Errorf("restore %s: %w", f, err)
	}
	if err := f.wire(ctx); err != nil {
		return err
	}
	for p, tp := range f.partitions() {
		f.cfg.Fetcher.Add(tp, f.start[p], f)
	}
	timer := time.NewTimer(growth)
	defer timer.Stop()
	for {
		f.reached()
		select {
		case <-f.inbox.Wake():
		case <-timer.C:
			timer.Reset(growth)
			if err := f.grow(ctx); err != nil {
				return fmt.Errorf("follow %s: %w", f, err)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := f.take(); err != nil {
			return err
		}
		if err := f.apply(ctx); err != nil {
			return err
		}
	}
}

// take queues what was delivered.
func (f *Follower) take() error {
	f.taken = f.inbox.Take(f.taken)
	for _, m := range f.taken {
		switch {
		case m.err != nil:
			return fmt.Errorf("%s cannot follow %s any more; the next start reads its topic anew: %w", f, m.tp, m.err)
		case m.batch == nil:
			f.wanted = true
		default:
			f.queued[m.batch.Partition] += len(m.batch.Records)
			if err := f.task.Add(m.batch); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply processes all that is queued, and settles it as it goes.
func (f *Follower) apply(ctx context.Context) error {
	for {
		n, err := f.round()
		if err != nil {
			return err
		}
		if err := f.settle(); err != nil {
			return err
		}
		f.tell(n)
		if f.task.Buffered() == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func (f *Follower) round() (n int, err error) {
	defer f.since.Store(0)
	for n < perRound {
		f.since.Store(time.Now().UnixNano())
		done, err := f.task.Process(perLook)
		n += done
		if err != nil || done < perLook {
			return n, err
		}
	}
	return n, nil
}

// settle ends the epoch: what the topic holds is accepted by Kafka, so nothing has to be waited for. keeps 2
func (f *Follower) settle() error {
	c := store.Checkpoint{TopicID: f.id, Time: time.Now(), Offsets: make([]int64, len(f.start))}
	for p := range f.start {
		c.Offsets[p] = f.position(p)
		c.Offset += c.Offsets[p]
	}
	if c.Offset == f.saved && !f.wanted {
		return nil
	}
	f.saved, f.wanted = c.Offset, false
	for name, o := range f.owners {
		epoch, err := o.Cut(func(store.Change) error { return nil })
		if err != nil {
			return fmt.Errorf("global store %q: %w", name, err)
		}
		o.Settle(epoch, c)
	}
	return nil
}

// position is the next offset of a partition.
func (f *Follower) position(p int) int64 { return max(f.task.Position(f.partition(p)), f.start[p]) }

func (f *Follower) partition(p int) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: f.cfg.Topic.Name, Partition: int32(p)}
}

func (f *Follower) partitions() []kafka.TopicPartition {
	tps := make([]kafka.TopicPartition, len(f.start))
	for p := range tps {
		tps[p] = f.partition(p)
	}
	return tps
}
