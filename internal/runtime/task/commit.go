package task

import (
	"iter"
	"maps"
	"math"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/offsetmeta"
	"github.com/millstream-go/millstream/internal/timerange"
)

// commitHook is a function of OnCommit and the step that registered it.
type commitHook struct {
	stepHook
	flushSoon bool
}

// OnCommit implements graph.Env. Steps are wired from the sinks up. The hooks are ordered from the
// sources down, so that a step sees what the steps before it emitted in their hooks.
func (t *Task) OnCommit(n *graph.Node, f func() error) (early func()) {
	position := slices.Index(t.sub.Nodes, n)
	i := len(t.onCommit)
	for i > 0 && slices.Index(t.sub.Nodes, t.onCommit[i-1].node) > position {
		i--
	}
	hook := &commitHook{stepHook: stepHook{n, f}}
	t.onCommit = slices.Insert(t.onCommit, i, hook)
	return func() { hook.flushSoon, t.flushSoon = true, true }
}

// Flush has the steps emit what they defer until a commit. The owner calls it right before Cut,
// with nothing in between. A non-nil error ends the task.
func (t *Task) Flush() (err error) {
	if t.err != nil || len(t.onCommit) == 0 {
		return t.err
	}
	defer t.reportDrops()
	defer t.recoverPanic(&err)
	return t.flush(true)
}

// flush runs the commit hooks of all steps, or of those that asked for it.
func (t *Task) flush(all bool) error {
	t.current = nil
	for _, hook := range t.onCommit {
		if !all && !hook.flushSoon {
			continue
		}
		hook.flushSoon = false
		t.recordTime, t.currentStep.Node = max(t.cfg.Clock.time, 0), hook.node
		err := hook.run()
		if err == nil { // a user's function in the step may have ignored the error that ended the task
			err = t.err
		}
		if err != nil {
			return t.fatal(t.currentStep.Node, err)
		}
	}
	t.flushSoon = false
	return nil
}

// Cut returns the offsets to commit and the times in their metadata. It returns those of partitions
// that have changed since the last Cut, nil when none has; with always, that of one partition at least. The owner cuts
// the task's engines at the same record, right after Flush.
func (t *Task) Cut(always bool) map[kafka.TopicPartition]kafka.OffsetMeta {
	t.epoch++
	t.commitRequested = false
	t.noteStoreTimes()
	// One offset carries what belongs to the whole task. It is committed again when that changes,
	// although the partition itself may stand still: a window closes because of another partition's
	// record.
	first, times, changed := t.metadataQueue(), t.knownOperatorTimes(), always && !t.Moved()
	if first != nil && (!maps.Equal(times, t.cutTimes) || t.expiredChanged) {
		t.cutTimes, t.expiredChanged, changed = times, false, true
	}
	var out map[kafka.TopicPartition]kafka.OffsetMeta
	for _, q := range t.queues {
		unchanged := q.position == q.cutPosition && q.partitionTime == q.cutPartitionTime
		if q.position < 0 || unchanged && !(changed && q == first) {
			continue
		}
		q.cutPosition, q.cutPartitionTime = q.position, q.partitionTime
		meta := kafka.OffsetMeta{Offset: q.position, Metadata: offsetmeta.Encode(q.partitionTime, nil)}
		if q == first {
			meta.Metadata = t.metadata(q, t.metadataEntries(times))
		}
		if out == nil {
			out = make(map[kafka.TopicPartition]kafka.OffsetMeta, len(t.queues))
		}
		out[q.tp] = meta
	}
	return out
}

// Moved reports whether a position has moved since the last Cut.
func (t *Task) Moved() bool {
	for _, q := range t.queues {
		if q.position >= 0 && q.position != q.cutPosition {
			return true
		}
	}
	return false
}

// NoteExpired sets a metadata entry about a store or its changelog, such as the offset before which it
// has expired. key is one of package offsetmeta. The entry travels with the offsets from the next
// Cut on. A restore compares it with the start of the log, and so tells what the owner deleted from
// what somebody else deleted.
func (t *Task) NoteExpired(key string, at int64) {
	if old, ok := t.expired[key]; ok && old == at {
		return
	}
	if t.expired == nil {
		t.expired = map[string]int64{}
	}
	t.expired[key], t.expiredChanged = at, true
}

// metadata returns the metadata of the first partition. Brokers keep MaxSize bytes of it. Entries
// about expired rows are left out when they do not fit: without them a restore notices a deletion
// by others less often, but nothing is wrong.
func (t *Task) metadata(q *queue, entries map[string]int64) string {
	if len(t.expired) > 0 || t.hasTimedStores() {
		all := make(map[string]int64, len(entries)+len(t.expired)+1)
		maps.Copy(all, entries)
		maps.Copy(all, t.expired)
		if t.hasTimedStores() {
			all[offsetmeta.PositionKey] = q.position
		}
		if m := offsetmeta.Encode(q.partitionTime, all); len(m) <= offsetmeta.MaxSize {
			return m
		}
	}
	return offsetmeta.Encode(q.partitionTime, entries)
}

// metadataQueue returns the queue whose offset carries the operator times. It is the one with the
// smallest topic name of those that have an offset.
func (t *Task) metadataQueue() *queue {
	var first *queue
	for _, q := range t.queues {
		if q.position >= 0 && (first == nil || q.tp.Topic < first.tp.Topic) {
			first = q
		}
	}
	return first
}

// metadataEntries returns what travels with the offset of the first partition: the operator times
// and the program.
func (t *Task) metadataEntries(times map[string]int64) map[string]int64 {
	if t.cfg.Program == "" {
		return times
	}
	out := make(map[string]int64, len(times)+1)
	maps.Copy(out, times)
	out[t.cfg.Program] = 0
	return out
}

// knownOperatorTimes returns the stream times of the operators that have one.
func (t *Task) knownOperatorTimes() map[string]int64 {
	if len(t.operatorTimes) == 0 {
		return nil
	}
	out := make(map[string]int64, len(t.operatorTimes))
	for n, operator := range t.operatorTimes {
		if operator.Time >= 0 {
			out[offsetmeta.OperatorKey(n.Name)] = operator.Time
		}
	}
	return out
}

// SetCommitted sets positions and times to the committed ones, before the first batch. It ignores
// partitions of other tasks.
func (t *Task) SetCommitted(offsets map[kafka.TopicPartition]kafka.OffsetMeta) {
	times, current := map[string]int64{}, false
	for _, q := range t.queues {
		meta, ok := offsets[q.tp]
		if !ok || meta.Offset < 0 {
			continue
		}
		// Another client, or a tool that reset the offset, may have written other metadata. The offset is
		// valid all the same; what is lost is which records are late.
		at, operators, err := offsetmeta.Decode(meta.Metadata)
		if err != nil {
			t.cfg.Logger.Warn("millstream: the stream times of a committed offset cannot be read",
				"task", t.cfg.ID.String(), "topic", q.tp.Topic, "partition", q.tp.Partition, "error", err)
		}
		at = timerange.Clamp(at) // Kafka Streams, and earlier versions of this module, commit any time
		q.position, q.partitionTime = meta.Offset, at
		q.cutPosition, q.cutPartitionTime = meta.Offset, at
		t.cfg.Clock.advance(at)
		if position, ok := operators[offsetmeta.PositionKey]; ok && position == meta.Offset {
			current = true
		}
		for name, operatorTime := range operators {
			if old, ok := times[name]; !ok || operatorTime > old {
				times[name] = timerange.Clamp(operatorTime)
			}
		}
	}
	t.setOperatorTimes(times)
	t.setStoreTimes(times, current)
}

// timedStore is a store whose rows expire by stream time.
type timedStore interface {
	Observed(key []byte) (at int64, err error)
	Committed(at int64)
}

// timedStores are the stores that are restored and whose rows expire.
func (t *Task) timedStores() iter.Seq2[*graph.Store, timedStore] {
	return func(yield func(*graph.Store, timedStore) bool) {
		for _, e := range t.engines {
			if s, ok := e.Engine.(timedStore); ok && (e.Store.Changelog || e.Store.SourceTopic != "") && !yield(e.Store, s) {
				return
			}
		}
	}
}

func (t *Task) hasTimedStores() bool {
	for range t.timedStores() {
		return true
	}
	return false
}

// noteStoreTimes has the times of stores travel with the offsets, where their steps have no times of their own.
func (t *Task) noteStoreTimes() {
	for store, s := range t.timedStores() {
		if _, tracked := t.operatorTimeOf(store); tracked {
			continue
		}
		if at, err := s.Observed(nil); err == nil && at >= 0 {
			t.NoteExpired(offsetmeta.ObservedKey(store.Name), at)
		}
	}
}

// setStoreTimes tells stores that were restored which stream time is committed: what they were restored from may have
// later ones, of records that are processed again. It is that of the operators of a store, or that of the store where
// its steps have none of their own.
//
// The time of the inputs may be far ahead of both: a task has a stream of now and a table that was written a week
// ago, or a filter in front of a store. Rows that expire by it are missing for records that are processed again. It
// counts only where the entries are not of the last commit, but of one before Kafka Streams ran the application, or
// of none.
func (t *Task) setStoreTimes(entries map[string]int64, current bool) {
	inputs := int64(-1)
	for _, q := range t.queues {
		inputs = max(inputs, q.partitionTime)
	}
	for store, s := range t.timedStores() {
		at, tracked := t.operatorTimeOf(store)
		key := offsetmeta.ObservedKey(store.Name)
		observed, noted := entries[key]
		switch {
		case !current:
			at = inputs
		case !tracked && noted:
			at = observed
			t.NoteExpired(key, at)
			t.expiredChanged = false // it is not committed again before it changes
		case !tracked:
			at = -1 // nothing was put
		}
		s.Committed(at)
	}
}

// operatorTimeOf returns the time of the operators of a store, of several the earliest. ok is false when they have none
// of their own. Versions are written at the times of the table's records: a join that looks them up has a time of its
// own, which may be behind.
func (t *Task) operatorTimeOf(store *graph.Store) (at int64, ok bool) {
	if store.Kind == graph.Versioned {
		return 0, false
	}
	at = math.MaxInt64
	for n, operator := range t.operatorTimes {
		if slices.Contains(n.Stores, store.Name) {
			at, ok = min(at, operator.Time), true
		}
	}
	return at, ok
}

// setOperatorTimes sets the operators' times. times has the greatest of all partitions, because the
// partition that carries them may have been another one when they were committed.
func (t *Task) setOperatorTimes(times map[string]int64) {
	for n, operator := range t.operatorTimes {
		if at, ok := times[offsetmeta.OperatorKey(n.Name)]; ok {
			operator.Time = at
		}
	}
	t.cutTimes = t.knownOperatorTimes()
}

var _ graph.SinkWriter = (*sink)(nil)
