package global

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/millstream-go/millstream/internal/changelog"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/task"
	"github.com/millstream-go/millstream/internal/worker"
	"github.com/millstream-go/millstream/store"
)

// begin finds where each partition begins, and where it has to be before the stores are ready: at the end that a read_committed reader
// sees now.
func (f *Follower) begin(ctx context.Context) error {
	extents, err := f.extents(ctx)
	if err != nil {
		return err
	}
	f.id, f.saved = f.cfg.Topic.ID, -1
	full := false
	for _, o := range f.owners {
		if reason := f.distrust(o, extents); reason != "" {
			full = true
			if reason != never {
				f.cfg.Logger.Warn("millstream: checkpoint not trusted, restoring in full", "store", o.name, "reason", reason)
			}
		}
	}
	if full {
		// All of them: they are kept by the same records.
		if err := f.truncate(); err != nil {
			return err
		}
	}
	f.start, f.left, f.queued = nil, nil, make([]int, len(extents))
	for p, x := range extents {
		f.start = append(f.start, f.from(p, x, full))
		at := f.start[p]
		f.left = append(f.left, changelog.Progress{
			Store: f.name(), Partition: int32(p), Position: min(at, x.End), Begin: min(at, x.End), End: x.End, Full: full,
		})
		f.cfg.Progress(f.left[p], 0)
	}
	return nil
}

// from is where a partition begins: where the store of the sub-topology that has seen least of it stands.
func (f *Follower) from(p int, x changelog.Extent, full bool) int64 {
	if full {
		return x.Start
	}
	at := int64(-1)
	for _, o := range f.owners {
		c, _ := o.Checkpoint()
		if p >= len(c.Offsets) { // a new partition
			return x.Start
		}
		if at < 0 || c.Offsets[p] < at {
			at = c.Offsets[p]
		}
	}
	return at
}

const never = "there is none"

// distrust says why the checkpoint of a store is not to be trusted, empty when it is.
func (f *Follower) distrust(o *owner, extents []changelog.Extent) string {
	c, ok := o.Checkpoint()
	if !ok {
		return never
	}
	if c.Offsets == nil {
		return "the store was none of a global topic"
	}
	if len(c.Offsets) > len(extents) {
		return fmt.Sprintf("the topic had %d partitions and has %d", len(c.Offsets), len(extents))
	}
	for p, offset := range c.Offsets {
		own := store.Checkpoint{TopicID: c.TopicID, Offset: offset, Time: c.Time}
		if _, reason := extents[p].From(own, true); reason != "" {
			return fmt.Sprintf("partition %d: %s", p, reason)
		}
	}
	return ""
}

func (f *Follower) truncate() error {
	var errs []error
	for name, o := range f.owners {
		if err := o.Truncate(); err != nil {
			errs = append(errs, fmt.Errorf("global store %q: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// extents looks up what the partitions of the topic hold.
func (f *Follower) extents(ctx context.Context) ([]changelog.Extent, error) {
	n, err := f.cfg.Partitions(f.cfg.Topic.Name)
	if err != nil {
		return nil, err
	}
	starts, err := f.offsets(ctx, 0, n, kafka.Earliest)
	if err != nil {
		return nil, err
	}
	ends, err := f.offsets(ctx, 0, n, kafka.Latest)
	if err != nil {
		return nil, err
	}
	config, err := f.config(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]changelog.Extent, n)
	for p := range out {
		tp := f.partition(p)
		out[p] = changelog.Extent{ID: f.cfg.Topic.ID, Start: starts[tp], End: ends[tp], DeleteRetention: changelog.DeleteRetention(config)}
	}
	return out, nil
}

// offsets looks up positions of partitions [from, to).
func (f *Follower) offsets(ctx context.Context, from, to int, at int64) (found map[kafka.TopicPartition]int64, err error) {
	ask := map[kafka.TopicPartition]int64{}
	for p := from; p < to; p++ {
		ask[f.partition(p)] = at
	}
	err = worker.Persist(ctx, func() (err error) {
		found, err = f.cfg.Admin.ListOffsets(ctx, kafka.ReadCommitted, ask)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up offsets: %w", err)
	}
	return found, nil
}

func (f *Follower) config(ctx context.Context) (config map[string]string, err error) {
	err = worker.Persist(ctx, func() (err error) {
		config, err = f.cfg.Admin.TopicConfig(ctx, f.cfg.Topic.Name)
		return err
	})
	if err != nil && !errors.Is(err, kafka.ErrNotAuthorized) { // who may not read it gets Kafka's defaults
		return nil, fmt.Errorf("read the configuration of topic %q: %w", f.cfg.Topic.Name, err)
	}
	if p := config["cleanup.policy"]; strings.Contains(p, "delete") {
		f.cfg.Logger.Info("millstream: the topic of a global store deletes old records; rows that they made are not restored",
			"store", f.name(), "topic", f.cfg.Topic.Name, "cleanup.policy", p)
	}
	return config, nil
}

// wire starts the task that runs the step.
func (f *Follower) wire(ctx context.Context) error {
	cfg := f.cfg.Task
	cfg.ID, cfg.Context = graph.TaskID{Sub: f.cfg.Sub.ID}, ctx
	cfg.MaxIdle = -1 // its partitions do not wait for each other
	cfg.Clock, cfg.Topics, cfg.Lag, cfg.Global = nil, nil, nil, nil
	cfg.Released = f.cfg.Fetcher.Release
	cfg.Out = output{len(f.start)}
	cfg.Engine = func(s *graph.Store) (store.Engine, error) { return f.owners[s.Name], nil }
	t, err := task.New(cfg)
	if err != nil {
		return err
	}
	f.task = t
	begin := map[kafka.TopicPartition]kafka.OffsetMeta{}
	for p, tp := range f.partitions() {
		begin[tp] = kafka.OffsetMeta{Offset: f.start[p]}
	}
	t.SetCommitted(begin)
	return nil
}

// output is where the step writes: nowhere.
type output struct{ partitions int }

// Partitions implements task.Output: it is asked for the topic that is read.
func (o output) Partitions(string) (int, error) { return o.partitions, nil }

// Send implements task.Output.
func (output) Send(string, int32, kafka.ProduceRecord) error {
	return errors.New("a global store's step sends nothing")
}

// grow begins to read partitions that the topic has got since.
func (f *Follower) grow(ctx context.Context) error {
	n, err := f.cfg.Partitions(f.cfg.Topic.Name)
	if err != nil || n <= len(f.start) {
		return err
	}
	known := len(f.start)
	starts, err := f.offsets(ctx, known, n, kafka.Earliest)
	if err != nil {
		return err
	}
	f.cfg.Logger.Info("millstream: a global topic has more partitions", "topic", f.cfg.Topic.Name, "partitions", n)
	for p := known; p < n; p++ {
		tp := f.partition(p)
		f.start, f.queued = append(f.start, starts[tp]), append(f.queued, 0)
		f.cfg.Fetcher.Add(tp, starts[tp], f)
	}
	return nil
}

// tell tells how far the stores are, after n records.
func (f *Follower) tell(n int) {
	if closed(f.ready) {
		if n > 0 {
			f.cfg.Processed(n)
		}
		return
	}
	for p := range f.left {
		x := &f.left[p]
		at := min(f.position(p), x.End)
		if at == x.Position {
			continue
		}
		applied := f.queued[p]
		f.queued[p] = 0
		x.Position, x.Records = at, x.Records+int64(applied)
		f.cfg.Progress(*x, applied)
	}
	f.cfg.Hook.At(crashpoint.RestoreHalf)
}

// reached closes ready once every partition has come to its end of the start.
func (f *Follower) reached() {
	if closed(f.ready) {
		return
	}
	for p := range f.left {
		if f.position(p) < f.left[p].End {
			return
		}
	}
	f.cfg.Hook.At(crashpoint.RestoreDone)
	close(f.ready)
}
