package task

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// queue has the batches of one source partition as they were fetched. Nothing is copied or
// allocated per record.
type queue struct {
	tp    kafka.TopicPartition
	task  *Task
	node  *graph.Node
	inlet graph.Queue
	index int // among the queues of the task

	batches     []*kafka.Batch
	recordIndex int // of the head in batches[0]
	records     int // queued records, the head included

	head         graph.Input // decoded when ready is set
	ready        bool
	inUndecoded  bool   // the queue is in queueOrder.undecoded
	waitingSince uint64 // place in the order of waiting; 0 for tasks that share an order

	partitionTime int64     // greatest time of its records, -1 before the first
	position      int64     // offset of the next record, -1: not known
	idleDeadline  time.Time // until when the task waits for a record; zero: it does not wait

	cutPosition, cutPartitionTime int64 // at the last cut

	stores aheadStores // of the steps below the source
	count  *int64      // of records processed, of all queues of the source
}

func newQueue(tp kafka.TopicPartition, n *graph.Node, in graph.Queue, index int) *queue {
	q := &queue{
		tp: tp, node: n, inlet: in, index: index, partitionTime: -1, position: -1, cutPosition: -1, cutPartitionTime: -1,
	}
	q.head.TopicPartition = tp
	return q
}

// Add queues a batch. Config.Released is called when its records have been processed. A batch of a
// partition that the task does not read is released at once, unless its topic matches a source's
// pattern.
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
	t.markUndecoded(q)
	// A batch without records moves the position too. With a head in front of it, the batch waits for
	// its turn.
	if !q.ready {
		t.releaseDone(q)
	}
	return nil
}

// queueOf returns the queue of a partition, nil if the task does not read it. It opens a queue for
// a topic or a partition that was created after the task was wired.
func (t *Task) queueOf(tp kafka.TopicPartition) (*queue, error) {
	if q := t.byPartition[tp]; q != nil {
		return q, nil
	}
	if t.sub.Global { // a partition was added to the global topic
		return t.openAddedQueue(&t.sources[0], tp)
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
			return t.openAddedQueue(s, tp)
		}
	}
	return nil, nil
}

func (t *Task) openAddedQueue(s *source, tp kafka.TopicPartition) (q *queue, err error) {
	defer t.recoverPanic(&err)
	if err := t.openQueue(s, tp.Topic, tp); err != nil {
		return nil, err
	}
	return t.byPartition[tp], nil
}

// markUndecoded has the head of q decoded before the next record is chosen. It is not decoded here:
// a failure must not be reported while another record is being processed.
func (t *Task) markUndecoded(q *queue) {
	if !q.ready && !q.inUndecoded {
		q.inUndecoded = true
		if t.cfg.Clock.queues == nil {
			q.waitingSince = t.cfg.Clock.nextSeq()
		}
		t.queueOrder.undecoded = append(t.queueOrder.undecoded, q)
	}
}

// releaseDone releases the batches at the front that have no more records. The position moves to
// the end of the batch, past transaction markers and compacted offsets after the last record. keeps
// 2
func (t *Task) releaseDone(q *queue) {
	done := 0
	for done < len(q.batches) && q.recordIndex == len(q.batches[done].Records) {
		b := q.batches[done]
		q.position = max(q.position, b.Next)
		q.recordIndex = 0
		done++
		t.cfg.Released(q.tp, b.Bytes)
	}
	if done > 0 {
		left := copy(q.batches, q.batches[done:])
		clear(q.batches[left:])
		q.batches = q.batches[:left]
	}
	if len(q.batches) == 0 {
		q.head.Record = kafka.Record{} // otherwise it would keep its batch in memory
	}
}

// decodeHead decodes records of q until one can be processed. Skipped records move the position
// like processed ones.
func (t *Task) decodeHead(q *queue) error {
	for !q.ready && len(q.batches) > 0 {
		b := q.batches[0]
		if !q.stores.none() && q.recordIndex%aheadRecords == 0 {
			t.readAhead(q, b)
		}
		q.head.Record = b.Records[q.recordIndex]
		t.current, t.currentStep.Node = &q.head, q.node
		t.recordTime = q.head.Record.Time
		at, ok, err := t.decodeOne(q, b)
		t.current = nil
		if err == nil { // a user's serde may have ignored the error that ended the task
			err = t.err
		}
		if err != nil {
			return t.fatalAt(q.node, &q.head, err)
		}
		q.head.Time = at
		if !ok { // skipped, and counted: the next record may be in another batch
			t.passHead(q)
			continue
		}
		q.ready = true
	}
	return nil
}

// decodeOne decodes the head of q, a record of b. ok is false when the record is skipped.
func (t *Task) decodeOne(q *queue, b *kafka.Batch) (at int64, ok bool, err error) {
	if b.Unreadable == nil {
		return q.inlet.DecodeHead(&q.head, q.partitionTime)
	}
	// The batch has one record that stands for all of its own, which cannot be read one by one. The
	// policy decides about them together, and a drop counts them all.
	t.recordCount = max(int64(b.Unreadable.Records), 1)
	cause := graph.Failure{Phase: graph.Decoding, Err: b.Unreadable}
	_, err = t.HandleFailure(q.node, cause, func() error { return b.Unreadable })
	t.recordCount = 1
	return 0, false, err
}

// passHead moves q past its head.
func (t *Task) passHead(q *queue) {
	q.position = q.head.Offset + 1
	q.ready = false
	q.recordIndex++
	q.records--
	if q.recordIndex == len(q.batches[0].Records) {
		t.releaseDone(q)
	}
}

// queueHeap is a binary heap of queues with a decoded head. The lowest time comes first, and at
// equal times the queue that has waited longest, so that each has its turn.
//
// For tasks that share an order, as in a test driver, waitingSince is 0. Queues of equal times then
// come in the order of a java.util.PriorityQueue, which Kafka Streams uses, so that its
// TopologyTestDriver and this one choose the same record. That order can pass over one of three
// queues with equal times as long as the others have records.
//
// container/heap would allocate, and call through an interface, for each record.
type queueHeap []*queue

func (h queueHeap) less(i, j int) bool {
	if h[i].head.Time != h[j].head.Time {
		return h[i].head.Time < h[j].head.Time
	}
	return h[i].waitingSince < h[j].waitingSince
}

func (h *queueHeap) push(q *queue) {
	*h = append(*h, q)
	heap := *h
	for i := len(heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !heap.less(i, parent) {
			return
		}
		heap[i], heap[parent] = heap[parent], heap[i]
		i = parent
	}
}

func (h *queueHeap) pop() *queue {
	heap := *h
	top, last := heap[0], len(heap)-1
	heap[0], heap[last] = heap[last], nil
	heap = heap[:last]
	*h = heap
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(heap); child++ {
			if heap.less(child, least) {
				least = child
			}
		}
		if least == i {
			return top
		}
		heap[i], heap[least] = heap[least], heap[i]
		i = least
	}
}
