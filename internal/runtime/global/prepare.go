package global

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/changelog"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/storage"
)

// prepare finds where to begin in each partition, and where reading has to be before the stores are
// ready: at the end that a read_committed reader sees now.
func (f *Follower) prepare(ctx context.Context) error {
	bounds, err := f.topicBounds(ctx)
	if err != nil {
		return err
	}
	f.topicID, f.settledSum = f.cfg.Topic.ID, -1
	full := false
	for _, writer := range f.writers {
		if reason := f.untrusted(writer, bounds); reason != "" {
			full = true
			if reason != noCheckpoint {
				f.cfg.Logger.Warn("millstream: checkpoint not trusted, restoring in full", "store", writer.name, "reason", reason)
			}
		}
	}
	if full {
		// All stores, also those whose checkpoint is trusted: they are written by the same records, which
		// are read once.
		if err := f.truncate(); err != nil {
			return err
		}
	}
	f.asOf = time.Now()
	for _, writer := range f.writers {
		if checkpoint, ok := writer.Checkpoint(); ok && !full && checkpoint.Time.Before(f.asOf) {
			f.asOf = checkpoint.Time
		}
	}
	f.startOffsets, f.progress, f.unreported = nil, nil, make([]int, len(bounds))
	for p, bound := range bounds {
		f.startOffsets = append(f.startOffsets, f.startOffset(p, bound, full))
		start := f.startOffsets[p]
		f.progress = append(f.progress, changelog.Progress{
			Store: f.name(), Partition: int32(p), Position: min(start, bound.End), Begin: min(start, bound.End), End: bound.End,
			Full: full,
		})
		f.cfg.Progress(f.progress[p], 0)
	}
	return nil
}

// startOffset returns where to begin in a partition: at the checkpoint of the store that has read
// least of it. The other stores get some records a second time.
func (f *Follower) startOffset(p int, bound changelog.Bounds, full bool) int64 {
	if full {
		return bound.Start
	}
	lowest := int64(-1)
	for _, writer := range f.writers {
		checkpoint, _ := writer.Checkpoint()
		if p >= len(checkpoint.Offsets) { // a new partition
			return bound.Start
		}
		if lowest < 0 || checkpoint.Offsets[p] < lowest {
			lowest = checkpoint.Offsets[p]
		}
	}
	return lowest
}

const noCheckpoint = "there is none"

// untrusted returns why the checkpoint of a store cannot be trusted, empty when it can.
func (f *Follower) untrusted(writer *writerView, bounds []changelog.Bounds) string {
	checkpoint, ok := writer.Checkpoint()
	if !ok {
		return noCheckpoint
	}
	if checkpoint.Offsets == nil {
		return "the store's files are not those of a global store"
	}
	if len(checkpoint.Offsets) > len(bounds) {
		return fmt.Sprintf("the topic had %d partitions and has %d", len(checkpoint.Offsets), len(bounds))
	}
	for p, offset := range checkpoint.Offsets {
		partitionCheckpoint := storage.Checkpoint{TopicID: checkpoint.TopicID, Offset: offset, Time: checkpoint.Time}
		if _, reason := bounds[p].RestoreFrom(partitionCheckpoint, true); reason != "" {
			return fmt.Sprintf("partition %d: %s", p, reason)
		}
	}
	return ""
}

func (f *Follower) truncate() error {
	var errs []error
	for name, writer := range f.writers {
		if err := writer.Truncate(); err != nil {
			errs = append(errs, fmt.Errorf("global store %q: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// topicBounds looks up the bounds of the partitions of the topic.
func (f *Follower) topicBounds(ctx context.Context) ([]changelog.Bounds, error) {
	count, err := f.cfg.Partitions(f.cfg.Topic.Name)
	if err != nil {
		return nil, err
	}
	// Starts before ends: the other way round, a partition whose records are deleted meanwhile
	// could begin behind its end.
	starts, err := f.listOffsets(ctx, 0, count, kafka.Earliest)
	if err != nil {
		return nil, err
	}
	ends, err := f.listOffsets(ctx, 0, count, kafka.Latest)
	if err != nil {
		return nil, err
	}
	config, err := f.topicConfig(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]changelog.Bounds, count)
	for p := range out {
		tp := f.topicPartition(p)
		out[p] = changelog.Bounds{ID: f.cfg.Topic.ID, Start: starts[tp], End: ends[tp],
			DeleteRetention: changelog.DeleteRetention(config)}
	}
	return out, nil
}

// listOffsets looks up positions of partitions [startOffset, to).
func (f *Follower) listOffsets(
	ctx context.Context, from, to int, position int64,
) (found map[kafka.TopicPartition]int64, err error) {
	request := map[kafka.TopicPartition]int64{}
	for p := from; p < to; p++ {
		request[f.topicPartition(p)] = position
	}
	err = kafka.RetryUnavailable(ctx, func() (err error) {
		found, err = f.cfg.Admin.ListOffsets(ctx, kafka.ReadCommitted, request)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up offsets: %w", err)
	}
	return found, nil
}

func (f *Follower) topicConfig(ctx context.Context) (config map[string]string, err error) {
	err = kafka.RetryUnavailable(ctx, func() (err error) {
		config, err = f.cfg.Admin.TopicConfig(ctx, f.cfg.Topic.Name)
		return err
	})
	if err != nil && !errors.Is(err, kafka.ErrNotAuthorized) { // who may not read it gets Kafka's defaults
		return nil, fmt.Errorf("read the configuration of topic %q: %w", f.cfg.Topic.Name, err)
	}
	if p := config["cleanup.policy"]; strings.Contains(p, "delete") {
		f.cfg.Logger.Info("millstream: the topic of a global store deletes old records; their rows are not restored",
			"store", f.name(), "topic", f.cfg.Topic.Name, "cleanup_policy", p)
	}
	return config, nil
}

// startTask makes the task that runs the step.
func (f *Follower) startTask(ctx context.Context) error {
	cfg := f.cfg.Task
	cfg.ID, cfg.Context = graph.TaskID{Subtopology: f.cfg.Sub.ID}, ctx
	cfg.MaxIdle = -1 // its partitions do not wait for each other
	cfg.Clock, cfg.Topics, cfg.HasLag, cfg.OpenGlobal = nil, nil, nil, nil
	cfg.Damaged = f.isDamage
	cfg.Released = f.cfg.Fetcher.Release
	cfg.Out = noOutput{len(f.startOffsets)}
	cfg.OpenEngine = func(s *graph.Store) (storage.Engine, error) { return f.writers[s.Name], nil }
	newTask, err := task.New(cfg)
	if err != nil {
		return err
	}
	f.task = newTask
	f.publishedTask.Store(newTask)
	begin := map[kafka.TopicPartition]kafka.OffsetMeta{}
	for p, tp := range f.topicPartitions() {
		begin[tp] = kafka.OffsetMeta{Offset: f.startOffsets[p]}
	}
	newTask.SetCommitted(begin)
	return nil
}

// noOutput is the output of a step that may not write.
type noOutput struct{ partitions int }

// Partitions implements task.Output: it is asked for the topic that is read.
func (o noOutput) Partitions(string) (int, error) { return o.partitions, nil }

// Send implements task.Output.
func (noOutput) Send(string, int32, kafka.ProduceRecord) error {
	return errors.New("the step of a global store cannot send records")
}

// checkNewPartitions begins to read the partitions that the topic has got since, from their start.
func (f *Follower) checkNewPartitions(ctx context.Context) error {
	count, err := f.cfg.Partitions(f.cfg.Topic.Name)
	if err != nil || count <= len(f.startOffsets) {
		return err
	}
	known := len(f.startOffsets)
	starts, err := f.listOffsets(ctx, known, count, kafka.Earliest)
	if err != nil {
		return err
	}
	f.cfg.Logger.Info("millstream: a global topic has more partitions", "topic", f.cfg.Topic.Name, "partitions", count)
	for p := known; p < count; p++ {
		tp := f.topicPartition(p)
		f.startOffsets, f.unreported = append(f.startOffsets, starts[tp]), append(f.unreported, 0)
		f.cfg.Fetcher.Add(tp, starts[tp], f)
	}
	return nil
}

// reportProgress reports that n records were processed: as progress of the restore, or after that
// as a count.
func (f *Follower) reportProgress(records int) {
	if kafka.Closed(f.Ready()) {
		if records > 0 {
			f.cfg.Processed(records)
		}
		return
	}
	// A partition that has passed its end goes on being read while others are restored. Its progress
	// stays at the end: later records are no part of the restore.
	for p := range f.progress {
		progress := &f.progress[p]
		position := min(f.position(p), progress.End)
		if position == progress.Position {
			continue
		}
		applied := f.unreported[p]
		f.unreported[p] = 0
		progress.Position, progress.Records = position, progress.Records+int64(applied)
		f.cfg.Progress(*progress, applied)
	}
	f.cfg.Hook.At(crashpoint.RestoreHalf)
}

// signalReady closes ready once every partition has been read to the end that it had at the start.
func (f *Follower) signalReady() {
	if kafka.Closed(f.Ready()) {
		return
	}
	if !f.caughtUp() {
		return
	}
	f.cfg.Hook.At(crashpoint.RestoreDone)
	for _, shared := range f.stores {
		shared.suspend(nil)
	}
	close(*f.ready.Load())
}

// caughtUp reports whether all is read that was there when reading began.
func (f *Follower) caughtUp() bool {
	for p := range f.progress {
		if f.position(p) < f.progress[p].End {
			return false
		}
	}
	return true
}
