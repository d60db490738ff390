package task

import (
	"maps"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/offsetmeta"
)

// flusher is a function of OnCommit and the step that registered it.
type flusher struct {
	closing
	early bool
}

// OnCommit implements graph.Env. Steps are wired from the sinks up, and flushed from the sources down.
func (t *Task) OnCommit(n *graph.Node, f func() error) (early func()) {
	at := slices.Index(t.sub.Nodes, n)
	i := len(t.onCommit)
	for i > 0 && slices.Index(t.sub.Nodes, t.onCommit[i-1].node) > at {
		i--
	}
	x := &flusher{closing: closing{n, f}}
	t.onCommit = slices.Insert(t.onCommit, i, x)
	return func() { x.early, t.early = true, true }
}

// Flush has the steps send what they hold back until a commit. It is called right before Cut, with nothing in between; a non-nil error
// ends the task.
func (t *Task) Flush() (err error) {
	if t.err != nil || len(t.onCommit) == 0 {
		return t.err
	}
	defer t.report()
	defer t.guard(&err)
	return t.flush(true)
}

// flush flushes all steps, or those that have asked for it.
func (t *Task) flush(all bool) error {
	t.current = nil
	for _, x := range t.onCommit {
		if !all && !x.early {
			continue
		}
		x.early = false
		t.recordTime, t.place.Node = max(t.cfg.Clock.time, 0), x.node
		err := x.f()
		if err == nil {
			err = t.err
		}
		if err != nil {
			return t.fatal(t.place.Node, err)
		}
	}
	t.early = false
	return nil
}

// Cut returns the offsets to commit, with the times that travel with them: of the partitions that have moved since the last Cut; nil when
// none has. The engines of the task are to be cut at the same moment, by the owner, right after Flush.
func (t *Task) Cut() map[kafka.TopicPartition]kafka.OffsetMeta {
	t.epoch++
	t.wanted = false
	first, times, moved := t.first(), t.operatorTimes(), false
	if first != nil && !maps.Equal(times, t.saved) {
		t.saved, moved = times, true
	}
	var out map[kafka.TopicPartition]kafka.OffsetMeta
	for _, q := range t.queues {
		if q.position < 0 || q.position == q.cutPosition && q.latest == q.cutLatest && !(moved && q == first) {
			continue
		}
		q.cutPosition, q.cutLatest = q.position, q.latest
		m := kafka.OffsetMeta{Offset: q.position, Metadata: offsetmeta.Encode(q.latest, nil)}
		if q == first {
			m.Metadata = offsetmeta.Encode(q.latest, times)
		}
		if out == nil {
			out = make(map[kafka.TopicPartition]kafka.OffsetMeta, len(t.queues))
		}
		out[q.tp] = m
	}
	return out
}

// first returns the queue whose offset carries the operator times: that of the smallest topic name, of those that have an offset.
func (t *Task) first() *queue {
	var first *queue
	for _, q := range t.queues {
		if q.position >= 0 && (first == nil || q.tp.Topic < first.tp.Topic) {
			first = q
		}
	}
	return first
}

func (t *Task) operatorTimes() map[string]int64 {
	if len(t.times) == 0 {
		return nil
	}
	out := make(map[string]int64, len(t.times))
	for n, x := range t.times {
		if x.Time >= 0 {
			out[offsetmeta.OperatorKey(n.Name)] = x.Time
		}
	}
	return out
}

// SetCommitted sets positions and times to those committed, before the first batch. Partitions of others are ignored; so is metadata that
// another client wrote: the offset beside it is good all the same.
func (t *Task) SetCommitted(offsets map[kafka.TopicPartition]kafka.OffsetMeta) {
	times := map[string]int64{}
	for _, q := range t.queues {
		m, ok := offsets[q.tp]
		if !ok || m.Offset < 0 {
			continue
		}
		at, operators, err := offsetmeta.Decode(m.Metadata)
		if err != nil {
			t.cfg.Logger.Warn("times of a committed offset are not known", "task", t.cfg.ID, "partition", q.tp, "error", err)
		}
		q.position, q.latest = m.Offset, at
		q.cutPosition, q.cutLatest = m.Offset, at
		t.cfg.Clock.see(at)
		for name, x := range operators {
			if old, ok := times[name]; !ok || x > old {
				times[name] = x
			}
		}
	}
	t.setTimes(times)
}

// setTimes moves the operators' times to the greatest of all partitions: which partition is the first one may have changed.
func (t *Task) setTimes(times map[string]int64) {
	for n, x := range t.times {
		if at, ok := times[offsetmeta.OperatorKey(n.Name)]; ok {
			x.Time = at
		}
	}
	t.saved = t.operatorTimes()
}

var _ graph.SinkWriter = (*sink)(nil)
