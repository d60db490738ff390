package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/changelog"
	"github.com/millstream-go/millstream/internal/runtime/offsetmeta"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/runtime/topics"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/segmented"
)

// Opener makes assigned tasks ready to run: it determines their start offsets and restores their
// stores. It works on the caller's goroutine, so that workers go on meanwhile. Safe for use by
// several goroutines.
type Opener struct {
	Application string
	Admin       kafka.Admin
	Committer   Committer
	// IsNewPartition reports whether a partition without a committed offset was added to a topic that
	// the group reads already. It is then read from its start, although its source says latest. Nil:
	// no partition is new.
	IsNewPartition func(kafka.TopicPartition) bool
	Restorer       *changelog.Restorer
	// AcquireStore opens a store partition. Whoever wants the store's memory sets memoryWanted.
	AcquireStore func(s *graph.Store, partition int32, memoryWanted *atomic.Bool) (storage.Engine, error)
	// ReleaseStore closes a store partition that was acquired and not handed over to a worker.
	ReleaseStore func(store string, partition int32)
	// Damage is copied to each task. The Opener sets its Files.
	Damage Damage
	// Budget is that of the stores.
	Budget *memtable.Budget
	// RestoreSlots bounds how many tasks restore at a time. LargeRestoreSlots, of capacity 1, is for
	// those that have much to read.
	RestoreSlots, LargeRestoreSlots chan struct{}
	Logger                          *slog.Logger
	Hook                            crashpoint.Hook
	// Policies are the App's, for rows that are restored from topics.
	Policies task.Policies
}

// Opening is a set of tasks that are opened together, with what Begin found out about them.
type Opening struct {
	Deployment *topics.Deployment
	Graph      *graph.Graph
	Member     string // to which the tasks were assigned
	Tasks      map[graph.TaskID]topics.Task

	startOffsets, endOffsets map[kafka.TopicPartition]kafka.OffsetMeta
	bounds                   map[kafka.TopicPartition]changelog.Bounds
}

// Begin determines and commits the start offsets of the tasks. It waits for unavailable brokers as
// long as ctx lasts.
func (o *Opener) Begin(ctx context.Context, opening *Opening) error {
	var tps, logs []kafka.TopicPartition
	for _, assigned := range opening.Tasks {
		tps = append(tps, assigned.Inputs...)
		for _, tp := range assigned.Changelogs {
			logs = append(logs, tp)
		}
	}
	// Committed offsets first, then the ends of the changelogs. In the other order:
	//
	//	ends are read -> the previous owner commits -> offsets are read: they include that commit, whose changelog
	//	records lie behind the end to which the stores are restored
	err := kafka.RetryUnavailable(ctx, func() (err error) {
		opening.startOffsets, err = o.Committer.Offsets.Fetch(ctx, o.Application, tps)
		return err
	})
	if err != nil {
		return fmt.Errorf("read committed offsets: %w", err)
	}
	if opening.bounds, err = o.bounds(ctx, opening.Deployment, logs); err != nil {
		return err
	}
	// Before initOffsets: afterwards every task has offsets, and a state without offsets could not be
	// noticed.
	if err := o.checkState(ctx, opening); err != nil {
		return err
	}
	if err := o.initOffsets(ctx, opening, tps); err != nil {
		return err
	}
	// After initOffsets: these stores are restored up to the committed offset of their topic.
	if err := o.topicStores(ctx, opening); err != nil {
		return err
	}
	return o.inputEnds(ctx, opening, tps)
}

// topicStores looks up the bounds of topics that stores are restored from in place of a changelog.
// Their end is the committed offset: what lies behind it has not been processed.
func (o *Opener) topicStores(ctx context.Context, opening *Opening) error {
	var tps []kafka.TopicPartition
	for id := range opening.Tasks {
		for _, spec := range opening.Graph.Subtopologies[id.Subtopology].Stores {
			if spec.RowDecoder != nil {
				tps = append(tps, kafka.TopicPartition{Topic: spec.SourceTopic, Partition: id.Partition})
			}
		}
	}
	if len(tps) == 0 {
		return nil
	}
	found, err := o.bounds(ctx, opening.Deployment, tps)
	for tp, bounds := range found {
		bounds.End = max(opening.startOffsets[tp].Offset, bounds.Start)
		opening.bounds[tp] = bounds
	}
	return err
}

// checkState returns an error for tasks that have state but no committed offset at all. Their input
// would be processed into that state once more.
//
// One case is allowed: all inputs of the task are internal topics from which nothing was ever
// deleted. Then the topics are new to the program, as when a step that changes keys is put in front
// of the store. Their records were made of input that the state does not contain.
func (o *Opener) checkState(ctx context.Context, opening *Opening) error {
	type found struct {
		store string
		tp    kafka.TopicPartition
	}
	state := map[graph.TaskID]found{}
	inputStarts := map[kafka.TopicPartition]int64{}
	for id, opened := range opening.Tasks {
		if opening.hasCommitted(opened.Inputs) {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(opened.Changelogs)) {
			if bounds := opening.bounds[opened.Changelogs[name]]; bounds.End > bounds.Start {
				state[id] = found{name, opened.Changelogs[name]}
				maps.Copy(inputStarts, positionsAt(opened.Inputs, kafka.Earliest))
				break
			}
		}
	}
	if len(state) == 0 {
		return nil
	}
	processed, err := o.groupHasCommitted(ctx, opening.Deployment)
	if err != nil {
		return err
	}
	starts, err := o.listOffsets(ctx, kafka.ReadUncommitted, inputStarts)
	if err != nil {
		return fmt.Errorf("look up the starts of inputs: %w", err)
	}
	var errs []error
	for _, id := range slices.SortedFunc(maps.Keys(state), graph.TaskID.Compare) {
		inputs, withState := opening.Tasks[id].Inputs, state[id]
		untouched := func(tp kafka.TopicPartition) bool {
			return opening.Deployment.IsRepartition(tp.Topic) && starts[tp] == 0
		}
		switch {
		// The whole program has no offset: all of its input would be processed once more.
		case !processed:
			errs = append(errs, fmt.Errorf("store %q has state in %s, but group %q has committed no offset for any input of "+
				"the program: all records would be processed into that state once more: %s",
				withState.store, withState.tp, o.Application, stateWithoutOffsets))
		// Only this task's inputs have none. They may be new to the program, or their offsets were
		// deleted: only the user knows.
		case slices.ContainsFunc(inputs, func(tp kafka.TopicPartition) bool { return !untouched(tp) }):
			errs = append(errs, fmt.Errorf("store %q has state in %s, but group %q has committed no offset for the inputs of "+
				"task %s, %s, although it has for other inputs. If their records are in that state already, they would be "+
				"processed into it twice. If the inputs are new to the program, commit offsets for them; otherwise: %s",
				withState.store, withState.tp, o.Application, id, names(inputs), stateWithoutOffsets))
		}
	}
	return errors.Join(errs...)
}

const stateWithoutOffsets = "reset the application (delete its internal topics and state directories), " +
	"or commit the offsets that belong to the state with kafka-consumer-groups --reset-offsets"

func names(tps []kafka.TopicPartition) string {
	var b strings.Builder
	for i, tp := range tps {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(tp.String())
	}
	return b.String()
}

// groupHasCommitted reports whether the group has committed an offset for any input of the program.
func (o *Opener) groupHasCommitted(ctx context.Context, deployment *topics.Deployment) (committed bool, err error) {
	var found map[kafka.TopicPartition]kafka.OffsetMeta
	err = kafka.RetryUnavailable(ctx, func() (err error) {
		found, err = o.Committer.Offsets.Fetch(ctx, o.Application, deployment.Partitions())
		return err
	})
	if err != nil {
		return false, fmt.Errorf("read committed offsets: %w", err)
	}
	for _, meta := range found {
		committed = committed || meta.Offset >= 0
	}
	return committed, nil
}

// hasCommitted reports whether one of the partitions has a committed offset, or there is none that
// needs one.
func (o *Opening) hasCommitted(tps []kafka.TopicPartition) bool {
	for _, tp := range tps {
		if o.startOffsets[tp].Offset >= 0 {
			return true
		}
	}
	return len(tps) == 0
}

// initOffsets chooses the start offset of partitions without a committed one, as their sources say.
// It commits them before anything is processed, for tasks with and without state. So a changelog
// never has a record without an offset that says which input it contains, and RunToEnd need not
// tell "not begun" from "nothing there".
//
// The commit also writes what the offsets remember of the program, where they say something else.
// The internal topics exist by now, and may be written from here on.
func (o *Opener) initOffsets(ctx context.Context, opening *Opening, tps []kafka.TopicPartition) error {
	wanted := map[kafka.TopicPartition]int64{}
	for _, tp := range tps {
		if opening.startOffsets[tp].Offset >= 0 {
			continue
		}
		at, err := startPosition(opening.Deployment.Source(tp.Topic), tp)
		if err != nil {
			return err
		}
		// A partition that was added to a topic which the group reads already. Producers may have written
		// to it before the group found it, so its end would skip records.
		if at == kafka.Latest && o.IsNewPartition != nil && o.IsNewPartition(tp) {
			at = kafka.Earliest
		}
		wanted[tp] = at
	}
	found, err := o.listOffsets(ctx, kafka.ReadCommitted, wanted)
	if err != nil {
		return fmt.Errorf("look up where to begin: %w", err)
	}
	begin := map[kafka.TopicPartition]kafka.OffsetMeta{}
	for tp, offset := range found {
		begin[tp] = kafka.OffsetMeta{Offset: offset}
	}
	if err := addProgramMetadata(opening, begin); err != nil {
		return err
	}
	if len(begin) == 0 {
		return nil
	}
	o.Hook.At(crashpoint.StartPositions)
	if err := o.Committer.Commit(ctx, opening.Member, begin); err != nil {
		return err
	}
	o.Hook.At(crashpoint.StartPositionsCommitted)
	maps.Copy(opening.startOffsets, begin)
	return nil
}

// addProgramMetadata adds to begin the offsets whose metadata does not remember this program, or
// remembers another one. One task of each subtopology carries the program, with the first of its
// inputs.
func addProgramMetadata(opening *Opening, begin map[kafka.TopicPartition]kafka.OffsetMeta) error {
	for id, opened := range opening.Tasks {
		entry := ""
		if graph.CarriesProgram(id) {
			var err error
			if entry, err = opening.Graph.ProgramEntry(id.Subtopology); err != nil {
				return err
			}
		}
		// Inputs are sorted: the first is the one whose offset carries the entry in the task's own
		// commits. On all others an entry, left from when they were first, is removed.
		for _, tp := range opened.Inputs {
			meta, ok := begin[tp]
			if !ok {
				meta = opening.startOffsets[tp]
			}
			var changed bool
			if meta.Metadata, changed = offsetmeta.SetProgram(meta.Metadata, entry); changed {
				begin[tp] = meta
			}
			entry = ""
		}
	}
	return nil
}

// startPosition returns what to ask ListOffsets for: kafka.Earliest, kafka.Latest, or a time.
func startPosition(source *graph.Node, tp kafka.TopicPartition) (int64, error) {
	if source == nil {
		return kafka.Earliest, nil
	}
	switch start := source.Source.Offset; start.Kind {
	case graph.StartLatest:
		return kafka.Latest, nil
	case graph.StartNone:
		return 0, fmt.Errorf("source %q (%s): no offset is committed for %s, and its StartAt is stream.None",
			source.Name, source.Pos, tp)
	case graph.StartSince:
		return max(time.Now().UnixMilli()-start.Since, 0), nil
	}
	return kafka.Earliest, nil
}

// inputEnds looks up the ends of the inputs, so that a task knows from the start which partitions
// have more records.
func (o *Opener) inputEnds(ctx context.Context, opening *Opening, tps []kafka.TopicPartition) error {
	found, err := o.listOffsets(ctx, kafka.ReadCommitted, positionsAt(tps, kafka.Latest))
	if err != nil {
		return fmt.Errorf("look up the ends of the inputs: %w", err)
	}
	opening.endOffsets = map[kafka.TopicPartition]kafka.OffsetMeta{}
	for tp, offset := range found {
		opening.endOffsets[tp] = kafka.OffsetMeta{Offset: offset}
	}
	return nil
}

// positionsAt asks for the same position of all partitions.
func positionsAt(tps []kafka.TopicPartition, at int64) map[kafka.TopicPartition]int64 {
	out := make(map[kafka.TopicPartition]int64, len(tps))
	for _, tp := range tps {
		out[tp] = at
	}
	return out
}

func (o *Opener) listOffsets(
	ctx context.Context, isolation kafka.Isolation, positions map[kafka.TopicPartition]int64,
) (found map[kafka.TopicPartition]int64, err error) {
	if len(positions) == 0 {
		return nil, nil
	}
	err = kafka.RetryUnavailable(ctx, func() (err error) {
		found, err = o.Admin.ListOffsets(ctx, isolation, positions)
		return err
	})
	return found, err
}

// bounds looks up where changelogs begin and end. The ends are those of a read_uncommitted reader:
// a committed offset can be visible before the marker of the transaction that committed it, and a
// restore must reach behind that marker.
func (o *Opener) bounds(ctx context.Context, deployment *topics.Deployment, tps []kafka.TopicPartition) (
	map[kafka.TopicPartition]changelog.Bounds, error,
) {
	ends, err := o.listOffsets(ctx, kafka.ReadUncommitted, positionsAt(tps, kafka.Latest))
	if err != nil {
		return nil, fmt.Errorf("look up the ends of changelogs: %w", err)
	}
	starts, err := o.listOffsets(ctx, kafka.ReadUncommitted, positionsAt(tps, kafka.Earliest))
	if err != nil {
		return nil, fmt.Errorf("look up the starts of changelogs: %w", err)
	}
	out := make(map[kafka.TopicPartition]changelog.Bounds, len(tps))
	for _, tp := range tps {
		out[tp] = changelog.Bounds{ID: deployment.Topics[tp.Topic].ID, Start: starts[tp], End: ends[tp]}
	}
	return out, o.addConfigs(ctx, out)
}

// addConfigs adds the topics' configurations: how long tombstones stay in a changelog, and how
// large its records may be.
func (o *Opener) addConfigs(ctx context.Context, bounds map[kafka.TopicPartition]changelog.Bounds) error {
	known := map[string]map[string]string{} // by topic
	for tp, b := range bounds {
		config, ok := known[tp.Topic]
		if !ok {
			err := kafka.RetryUnavailable(ctx, func() (err error) {
				config, err = o.Admin.TopicConfig(ctx, tp.Topic)
				return err
			})
			if err != nil && !errors.Is(err, kafka.ErrNotAuthorized) { // without permission: Kafka's defaults
				return fmt.Errorf("read the configuration of changelog %q: %w", tp.Topic, err)
			}
			known[tp.Topic] = config
		}
		b.DeleteRetention, b.Config = changelog.DeleteRetention(config), config
		bounds[tp] = b
	}
	return nil
}

// Open acquires and restores the stores of one task. On an error it releases them.
func (o *Opener) Open(ctx context.Context, opening *Opening, id graph.TaskID) (handover Handover, err error) {
	opened := opening.Tasks[id]
	handover = Handover{
		ID: id, MemoryWanted: new(atomic.Bool), Member: opening.Member, Engines: map[string]storage.Engine{},
		Start: map[kafka.TopicPartition]kafka.OffsetMeta{}, Ends: map[kafka.TopicPartition]int64{},
	}
	for _, tp := range opened.Inputs {
		handover.Start[tp], handover.Ends[tp] = opening.startOffsets[tp], opening.endOffsets[tp].Offset
		handover.Topics = append(handover.Topics, tp.Topic)
	}
	handover.Damage = o.Damage
	handover.Damage.Files = map[string]storage.Damageable{}
	defer func() {
		if err != nil {
			err = handover.Damage.asDamaged(id, err)
			o.ReleaseStores(handover)
		}
	}()
	if err := o.openStores(ctx, opening, &handover); err != nil {
		return handover, err
	}
	return handover, o.restore(ctx, opening, slices.Concat(handover.Logs, handover.Sources))
}

// openStores acquires the stores of a task. What it has acquired is in handover, also when it fails.
func (o *Opener) openStores(ctx context.Context, opening *Opening, handover *Handover) error {
	id := handover.ID
	opened := opening.Tasks[id]
	for _, graphStore := range opening.Graph.Subtopologies[id.Subtopology].Stores {
		engine, err := o.AcquireStore(graphStore, id.Partition, handover.MemoryWanted)
		if err != nil {
			return fmt.Errorf("open store %q partition %d: %w", graphStore.Name, id.Partition, err)
		}
		handover.Engines[graphStore.Name] = engine // before anything else can fail: ReleaseStores goes by handover
		if file, ok := engine.(storage.Damageable); ok {
			handover.Damage.Files[graphStore.Name] = file
		}
		tp, hasChangelog := opened.Changelogs[graphStore.Name]
		// The limits are below the layout of windows, sessions and versions: they are about rows as the
		// changelog has them.
		if hasChangelog {
			plain := graphStore.Kind == graph.Timestamped || graphStore.Kind == graph.Plain
			engine = changelog.LimitRows(engine, opening.bounds[tp].Config, plain)
		}
		if engine, err = segmented.Wrap(graphStore, engine); err != nil {
			return fmt.Errorf("open store %q partition %d: %w", graphStore.Name, id.Partition, err)
		}
		handover.Engines[graphStore.Name] = engine
		if hasChangelog {
			handover.Logs = append(handover.Logs, &changelog.Log{
				TopicPartition: tp, Store: graphStore.Name, Engine: engine, Headers: graphStore.Headers,
				Committed: opening.committedChangelog(opened.Inputs, graphStore.Name),
				Deletable: changelog.Deletable(opening.bounds[tp].Config),
			})
		}
		if graphStore.RowDecoder != nil {
			source := &changelog.Log{
				TopicPartition: kafka.TopicPartition{Topic: graphStore.SourceTopic, Partition: id.Partition},
				Store:          graphStore.Name, Engine: engine,
			}
			if source.DecodeRow, err = task.NewRowDecoder(ctx, opening.Graph, graphStore, o.Policies, nil); err != nil {
				return fmt.Errorf("open store %q partition %d: %w", graphStore.Name, id.Partition, err)
			}
			handover.Sources = append(handover.Sources, source)
		}
	}
	return nil
}

// committedChangelog returns what the committed offsets of a task say of a store's changelog. The
// entries travel with the first input, which may have been another one in an earlier version of the
// program: the greatest value counts.
func (o *Opening) committedChangelog(inputs []kafka.TopicPartition, store string) changelog.Committed {
	committed := changelog.Committed{Expired: -1, Time: -1}
	for _, tp := range inputs {
		at, entries, _ := offsetmeta.Decode(o.startOffsets[tp].Metadata) // Task.SetCommitted logs the error
		committed.Time = max(committed.Time, at)
		if expired, ok := entries[offsetmeta.ExpiredKey(store)]; ok {
			committed.Expired = max(committed.Expired, expired)
		}
		if next, ok := entries[offsetmeta.NextKey(store)]; ok && next > committed.Next {
			committed.Next, committed.Until = next, entries[offsetmeta.UntilKey(store)]
		}
	}
	return committed
}

// ReleaseStores releases the stores of a task that no goroutine uses any more.
func (o *Opener) ReleaseStores(h Handover) {
	for name := range h.Engines {
		o.ReleaseStore(name, h.ID.Partition)
	}
}

func (o *Opener) restore(ctx context.Context, opening *Opening, logs []*changelog.Log) error {
	if len(logs) == 0 {
		return nil
	}
	slots := o.RestoreSlots
	if remainingOffsets(opening, logs) > largeRestore {
		slots = o.LargeRestoreSlots
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer o.Budget.KeepFreed()()
	for _, l := range logs {
		if err := o.Restorer.Restore(ctx, l, opening.bounds[l.TopicPartition]); err != nil {
			return err
		}
	}
	return nil
}

// largeRestore is the number of offsets from which on restores run one after the other. Stores that
// are filled side by side share the memory budget, so each is written to disk several times; one
// after the other, each may be written once. Measured with a million rows in four partitions: the
// same time, and 102 MB resident instead of 213. Short restores mostly wait for brokers, which they
// can do side by side.
const largeRestore = 50_000

func remainingOffsets(opening *Opening, logs []*changelog.Log) (n int64) {
	for _, l := range logs {
		c, ok := l.Engine.Position()
		n += opening.bounds[l.TopicPartition].Remaining(c, ok)
	}
	return n
}

// BoundsLookup returns the function for Restorer.Bounds.
func (o *Opener) BoundsLookup(deployment func() *topics.Deployment) func(context.Context, []kafka.TopicPartition) (
	map[kafka.TopicPartition]changelog.Bounds, error,
) {
	return func(ctx context.Context, tps []kafka.TopicPartition) (map[kafka.TopicPartition]changelog.Bounds, error) {
		return o.bounds(ctx, deployment(), tps)
	}
}
