package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/changelog"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/layout"
	"github.com/millstream-go/millstream/internal/topics"
	"github.com/millstream-go/millstream/store"
)

// Opener makes tasks ready to run: it finds where they begin, and restores their stores, on goroutines that are no worker's.
// Safe for use by several goroutines.
//
// The order matters: committed offsets are read first, then the ends of the changelogs. The other way round, a commit in between
// would give offsets whose changelog records lie behind the end that the restore goes to.
type Opener struct {
	Application string
	Admin       kafka.Admin
	Committer   Committer
	Restorer    *changelog.Restorer
	// Borrow opens a store partition, Return gives one back that was not handed over.
	// pressed is set when the store's memory is wanted.
	Borrow func(s *graph.Store, partition int32, pressed *atomic.Bool) (store.Engine, error)
	Return func(store string, partition int32)
	// Restores bounds how many tasks restore at a time, Large (capacity 1) those that have much to read.
	Restores, Large chan struct{}
	Logger          *slog.Logger
	Hook            crashpoint.Hook
}

// Opening is what is known of tasks that are being opened together.
type Opening struct {
	Plan   *topics.Plan
	Graph  *graph.Graph
	Member string // as which the tasks were assigned
	Tasks  map[graph.TaskID]topics.Task

	start, ends map[kafka.TopicPartition]kafka.OffsetMeta
	extents     map[kafka.TopicPartition]changelog.Extent
}

// Begin looks up and commits where the tasks begin. It waits for brokers that are away as long as ctx lasts.
func (o *Opener) Begin(ctx context.Context, x *Opening) error {
	var tps, logs []kafka.TopicPartition
	for _, t := range x.Tasks {
		tps = append(tps, t.Inputs...)
		for _, tp := range t.Changelogs {
			logs = append(logs, tp)
		}
	}
	err := Persist(ctx, func() (err error) {
		x.start, err = o.Committer.Offsets.Fetch(ctx, o.Application, tps)
		return err
	})
	if err != nil {
		return fmt.Errorf("read committed offsets: %w", err)
	}
	if x.extents, err = o.extents(ctx, x.Plan, logs); err != nil {
		return err
	}
	if err := o.checkState(x); err != nil {
		return err
	}
	if err := o.missing(ctx, x, tps); err != nil {
		return err
	}
	if err := o.sources(ctx, x); err != nil {
		return err
	}
	return o.inputEnds(ctx, x, tps)
}

// sources looks up what the topics hold that stores are kept from, in place of changelogs: up to what is committed.
func (o *Opener) sources(ctx context.Context, x *Opening) error {
	var tps []kafka.TopicPartition
	for id := range x.Tasks {
		for _, s := range x.Graph.Subs[id.Sub].Stores {
			if s.Row != nil {
				tps = append(tps, kafka.TopicPartition{Topic: s.Topic, Partition: id.Partition})
			}
		}
	}
	if len(tps) == 0 {
		return nil
	}
	found, err := o.extents(ctx, x.Plan, tps)
	for tp, e := range found {
		e.End = max(x.start[tp].Offset, e.Start)
		x.extents[tp] = e
	}
	return err
}

// checkState refuses tasks that have state and no offset at all to go with it: their input would be processed into it once more.
func (o *Opener) checkState(x *Opening) error {
	var errs []error
	for id, t := range x.Tasks {
		if !x.committed(t.Inputs) {
			for name, tp := range t.Changelogs {
				if e := x.extents[tp]; e.End > e.Start {
					errs = append(errs, fmt.Errorf("store %q has state in %s, but group %q has no committed offset for any input of task %s: "+
						"the offsets have expired or were deleted. Reset the application, or commit the offsets that go with the state", name, tp, o.Application, id))
				}
			}
		}
	}
	return errors.Join(errs...)
}

func (x *Opening) committed(tps []kafka.TopicPartition) bool {
	for _, tp := range tps {
		if x.start[tp].Offset >= 0 {
			return true
		}
	}
	return len(tps) == 0
}

// missing chooses the start of partitions without a committed offset, as their sources say, and commits that before anything is
// processed: no changelog record without an offset that says what it includes.
func (o *Opener) missing(ctx context.Context, x *Opening, tps []kafka.TopicPartition) error {
	ask := map[kafka.TopicPartition]int64{}
	for _, tp := range tps {
		if x.start[tp].Offset >= 0 {
			continue
		}
		at, err := startAt(x.Plan.Source(tp.Topic), tp)
		if err != nil {
			return err
		}
		ask[tp] = at
	}
	if len(ask) == 0 {
		return nil
	}
	found, err := o.list(ctx, kafka.ReadCommitted, ask)
	if err != nil {
		return fmt.Errorf("look up where to begin: %w", err)
	}
	begin := map[kafka.TopicPartition]kafka.OffsetMeta{}
	for tp, offset := range found {
		begin[tp] = kafka.OffsetMeta{Offset: offset}
	}
	o.Hook.At(crashpoint.StartPositions)
	if err := o.Committer.Commit(ctx, x.Member, begin); err != nil {
		return err
	}
	o.Hook.At(crashpoint.StartPositionsCommitted)
	maps.Copy(x.start, begin)
	return nil
}

// startAt is what to ask Kafka for: a position or a time.
func startAt(n *graph.Node, tp kafka.TopicPartition) (int64, error) {
	if n == nil {
		return kafka.Earliest, nil
	}
	switch s := n.Source.Offset; s.Kind {
	case graph.StartLatest:
		return kafka.Latest, nil
	case graph.StartNone:
		return 0, fmt.Errorf("source %q (%s): nothing is committed for %s, and the source says to begin nowhere else", n.Name, n.Pos, tp)
	case graph.StartSince:
		return max(time.Now().UnixMilli()-s.Since, 0), nil
	}
	return kafka.Earliest, nil
}

func (o *Opener) inputEnds(ctx context.Context, x *Opening, tps []kafka.TopicPartition) error {
	found, err := o.list(ctx, kafka.ReadCommitted, all(tps, kafka.Latest))
	if err != nil {
		return fmt.Errorf("look up the ends of the inputs: %w", err)
	}
	x.ends = map[kafka.TopicPartition]kafka.OffsetMeta{}
	for tp, offset := range found {
		x.ends[tp] = kafka.OffsetMeta{Offset: offset}
	}
	return nil
}

func all(tps []kafka.TopicPartition, at int64) map[kafka.TopicPartition]int64 {
	out := make(map[kafka.TopicPartition]int64, len(tps))
	for _, tp := range tps {
		out[tp] = at
	}
	return out
}

func (o *Opener) list(ctx context.Context, i kafka.Isolation, at map[kafka.TopicPartition]int64) (found map[kafka.TopicPartition]int64, err error) {
	if len(at) == 0 {
		return nil, nil
	}
	err = Persist(ctx, func() (err error) {
		found, err = o.Admin.ListOffsets(ctx, i, at)
		return err
	})
	return found, err
}

// extents looks up what changelogs hold. Their ends are those of a read_uncommitted reader: offsets can be visible before the
// marker of the transaction that brought them.
func (o *Opener) extents(ctx context.Context, plan *topics.Plan, tps []kafka.TopicPartition) (map[kafka.TopicPartition]changelog.Extent, error) {
	ends, err := o.list(ctx, kafka.ReadUncommitted, all(tps, kafka.Latest))
	if err != nil {
		return nil, fmt.Errorf("look up the ends of changelogs: %w", err)
	}
	starts, err := o.list(ctx, kafka.ReadUncommitted, all(tps, kafka.Earliest))
	if err != nil {
		return nil, fmt.Errorf("look up the starts of changelogs: %w", err)
	}
	out := make(map[kafka.TopicPartition]changelog.Extent, len(tps))
	for _, tp := range tps {
		out[tp] = changelog.Extent{ID: plan.Topics[tp.Topic].ID, Start: starts[tp], End: ends[tp]}
	}
	return out, o.configs(ctx, out)
}

// configs reads how long tombstones stay in each changelog, and how large its records may be.
func (o *Opener) configs(ctx context.Context, to map[kafka.TopicPartition]changelog.Extent) error {
	known := map[string]map[string]string{}
	for tp, x := range to {
		c, ok := known[tp.Topic]
		if !ok {
			err := Persist(ctx, func() (err error) {
				c, err = o.Admin.TopicConfig(ctx, tp.Topic)
				return err
			})
			if err != nil && !errors.Is(err, kafka.ErrNotAuthorized) { // who may not read it gets Kafka's defaults
				return fmt.Errorf("read the configuration of changelog %q: %w", tp.Topic, err)
			}
			known[tp.Topic] = c
		}
		x.DeleteRetention, x.Config = changelog.DeleteRetention(c), c
		to[tp] = x
	}
	return nil
}

// Open borrows and restores the stores of one task. On an error everything is given back.
func (o *Opener) Open(ctx context.Context, x *Opening, id graph.TaskID) (h Handover, err error) {
	t := x.Tasks[id]
	h = Handover{ID: id, Pressed: new(atomic.Bool), Member: x.Member, Engines: map[string]store.Engine{}, Start: map[kafka.TopicPartition]kafka.OffsetMeta{}, Ends: map[kafka.TopicPartition]int64{}}
	for _, tp := range t.Inputs {
		h.Start[tp], h.Ends[tp] = x.start[tp], x.ends[tp].Offset
		h.Topics = append(h.Topics, tp.Topic)
	}
	defer func() {
		if err != nil {
			o.GiveBack(h)
		}
	}()
	for _, s := range x.Graph.Subs[id.Sub].Stores {
		e, err := o.Borrow(s, id.Partition, h.Pressed)
		if err != nil {
			return h, fmt.Errorf("open store %q partition %d: %w", s.Name, id.Partition, err)
		}
		h.Engines[s.Name] = e // what is given back if the rest fails
		tp, logged := t.Changelogs[s.Name]
		if logged {
			e = changelog.Limit(e, x.extents[tp].Config)
		}
		if e, err = layout.Wrap(s, e); err != nil {
			return h, fmt.Errorf("open store %q partition %d: %w", s.Name, id.Partition, err)
		}
		h.Engines[s.Name] = e
		if logged {
			h.Logs = append(h.Logs, &changelog.Log{TopicPartition: tp, Store: s.Name, Engine: e, Headers: s.Headers})
		}
		if s.Row != nil {
			l := &changelog.Log{TopicPartition: kafka.TopicPartition{Topic: s.Topic, Partition: id.Partition}, Store: s.Name, Engine: e}
			if l.Row, err = s.Row(); err != nil {
				return h, fmt.Errorf("open store %q partition %d: %w", s.Name, id.Partition, err)
			}
			h.Sources = append(h.Sources, l)
		}
	}
	return h, o.restore(ctx, x, slices.Concat(h.Logs, h.Sources))
}

// GiveBack returns the stores of a task that no goroutine works on any more.
func (o *Opener) GiveBack(h Handover) {
	for name := range h.Engines {
		o.Return(name, h.ID.Partition)
	}
}

func (o *Opener) restore(ctx context.Context, x *Opening, logs []*changelog.Log) error {
	if len(logs) == 0 {
		return nil
	}
	slots := o.Restores
	if left(x, logs) > largeRestore {
		slots = o.Large
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for _, l := range logs {
		if err := o.Restorer.Restore(ctx, l, x.extents[l.TopicPartition]); err != nil {
			return err
		}
	}
	return nil
}

// largeRestore is from how many offsets on a restore waits for others of its size. Stores that are filled side by side share the
// budget, so that each is written to disk several times over; one after the other each may be written once. A million rows in four
// partitions took as long, and 102 MB resident instead of 213. Short ones mostly wait for brokers, which they can do together.
const largeRestore = 50_000

func left(x *Opening, logs []*changelog.Log) (n int64) {
	for _, l := range logs {
		c, ok := l.Engine.Checkpoint()
		n += x.extents[l.TopicPartition].Left(c, ok)
	}
	return n
}

// Extents returns what the Restorer needs to look again.
func (o *Opener) Extents(plan func() *topics.Plan) func(context.Context, []kafka.TopicPartition) (map[kafka.TopicPartition]changelog.Extent, error) {
	return func(ctx context.Context, tps []kafka.TopicPartition) (map[kafka.TopicPartition]changelog.Extent, error) {
		return o.extents(ctx, plan(), tps)
	}
}

const (
	persistBackoff    = 50 * time.Millisecond
	persistBackoffMax = time.Second
)

// Persist repeats f while brokers are away, as long as ctx lasts.
func Persist(ctx context.Context, f func() error) error {
	for wait := persistBackoff; ; wait = min(2*wait, persistBackoffMax) {
		err := f()
		if !errors.Is(err, kafka.ErrUnavailable) {
			return err
		}
		if err := pause(ctx, wait, nil); err != nil {
			return err
		}
	}
}
