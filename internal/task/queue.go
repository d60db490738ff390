package task

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// queue holds the batches of one source partition as they were fetched: nothing is copied or allocated per record.
type queue struct {
	tp    kafka.TopicPartition
	node  *graph.Node
	inlet graph.Queue
	order int // among the queues of the task

	batches []*kafka.Batch
	pos     int // in batches[0]
	records int // that are queued, the head included

	head  graph.Input // decoded, when ready
	ready bool
	stale bool   // in Task.stale
	since uint64 // when it got the batch or lost the record before the head

	latest   int64 // partition time, -1 before the first record
	position int64 // offset of the next record, -1: not known
	deadline time.Time

	cutPosition, cutLatest int64 // as they were cut last
}

func newQueue(tp kafka.TopicPartition, n *graph.Node, in graph.Queue, order int) *queue {
	q := &queue{tp: tp, node: n, inlet: in, order: order, latest: -1, position: -1, cutPosition: -1, cutLatest: -1}
	q.head.TopicPartition = tp
	return q
}

// Add queues a batch. The task keeps it until its records have been processed. Batches of partitions that the task does not
// read are released, unless their topic matches a source's pattern.
func (t *Task) Add(b *kafka.Batch) error {
	if t.err != nil {
		return t.err
	}
	q, err := t.queueOf(b.TopicPartition)
	if err != nil {
		return err
	}
	if q == nil {
		t.cfg.Released(b.TopicPartition, b.Bytes)
		return nil
	}
	q.batches = append(q.batches, b)
	q.records += len(b.Records)
	t.look(q)
	if !q.ready {
		t.pass(q)
	}
	return nil
}

func (t *Task) queueOf(tp kafka.TopicPartition) (*queue, error) {
	if q := t.byTP[tp]; q != nil {
		return q, nil
	}
	if t.sub.Global { // the topic has got more partitions
		return t.openLate(&t.sources[0], tp)
	}
	if tp.Partition != t.cfg.ID.Partition {
		return nil, nil
	}
	for i := range t.sources {
		s := &t.sources[i]
		if s.node.Source.Pattern == "" {
			continue
		}
		if ok, err := matches(s, tp.Topic); err != nil {
			return nil, t.fatal(s.node, err)
		} else if ok {
			return t.openLate(s, tp)
		}
	}
	return nil, nil
}

func (t *Task) openLate(s *source, tp kafka.TopicPartition) (q *queue, err error) {
	defer t.guard(&err)
	if err := t.openQueue(s, tp.Topic, tp); err != nil {
		return nil, err
	}
	return t.byTP[tp], nil
}

// look has the head of q looked at before the next record is chosen.
func (t *Task) look(q *queue) {
	if !q.ready && !q.stale {
		q.stale = true
		q.since = t.cfg.Clock.next()
		t.stale = append(t.stale, q)
	}
}

// pass goes past batches that are done, so that the position is behind markers and gaps too. keeps 2
func (t *Task) pass(q *queue) {
	done := 0
	for done < len(q.batches) && q.pos == len(q.batches[done].Records) {
		b := q.batches[done]
		q.position = max(q.position, b.Next)
		q.pos = 0
		done++
		t.cfg.Released(q.tp, b.Bytes)
	}
	if done > 0 {
		left := copy(q.batches, q.batches[done:])
		clear(q.batches[left:])
		q.batches = q.batches[:left]
	}
	if len(q.batches) == 0 {
		q.head.Record = kafka.Record{} // it would keep its batch alive
	}
}

// refresh decodes records of q until one is to be processed. Skipped ones move the position like processed ones.
func (t *Task) refresh(q *queue) error {
	for !q.ready && len(q.batches) > 0 {
		b := q.batches[0]
		q.head.Record = b.Records[q.pos]
		t.current, t.place.Node = &q.head, q.node
		t.recordTime = q.head.Record.Time
		at, ok, err := q.inlet.Head(&q.head, q.latest)
		t.current = nil
		if err == nil {
			err = t.err
		}
		if err != nil {
			return t.fatalInput(q.node, &q.head, err)
		}
		q.head.Time = at
		if !ok {
			t.done(q)
			continue
		}
		q.ready = true
	}
	return nil
}

// done moves q past its head.
func (t *Task) done(q *queue) {
	q.position = q.head.Offset + 1
	q.ready = false
	q.pos++
	q.records--
	if q.pos == len(q.batches[0].Records) {
		t.pass(q)
	}
}

// queueHeap is a binary heap of queues with a head: the lowest time first, and at equal times the one that has waited longest, as
// Kafka Streams does it with two queues. container/heap would box and call through an interface for each record.
type queueHeap []*queue

func (h queueHeap) less(i, j int) bool {
	if h[i].head.Time != h[j].head.Time {
		return h[i].head.Time < h[j].head.Time
	}
	return h[i].since < h[j].since
}

func (h *queueHeap) push(q *queue) {
	*h = append(*h, q)
	s := *h
	for i := len(s) - 1; i > 0; {
		parent := (i - 1) / 2
		if !s.less(i, parent) {
			return
		}
		s[i], s[parent] = s[parent], s[i]
		i = parent
	}
}

func (h *queueHeap) pop() *queue {
	s := *h
	top, last := s[0], len(s)-1
	s[0], s[last] = s[last], nil
	s = s[:last]
	*h = s
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(s); c++ {
			if s.less(c, least) {
				least = c
			}
		}
		if least == i {
			return top
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
}
