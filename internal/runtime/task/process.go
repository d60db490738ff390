package task

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
)

// Process processes up to limit records, the lowest time first, and returns their number. It ends
// early when nothing can be processed at present, and after a record for which a step requests a
// commit. A non-nil error ends the task.
func (t *Task) Process(limit int) (n int, err error) {
	if t.err != nil {
		return 0, t.err
	}
	defer t.reportDrops()
	defer t.recoverPanic(&err)
	t.canProcess = false
	for before := t.commitRequested; n < limit && t.commitRequested == before; {
		// Only a new request ends the loop. An old one waits for the commit in flight, and processing
		// goes on meanwhile.
		if ready, err := t.nextReady(); err != nil || !ready {
			return n, err
		}
		if err := t.processOne(); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Head returns the time of the record that Process would process next, and its place in the order
// of waiting among tasks with the same Clock. ok is false when no record can be processed at
// present.
func (t *Task) Head() (time int64, since uint64, ok bool, err error) {
	if t.err != nil {
		return 0, 0, false, t.err
	}
	defer t.reportDrops()
	defer t.recoverPanic(&err)
	t.canProcess = false
	if ok, err = t.nextReady(); err != nil || !ok {
		return 0, 0, false, err
	}
	return t.queueOrder.ready[0].head.Time, t.queueOrder.ready[0].waitingSince, true, nil
}

// nextReady decodes the heads that are not decoded yet. It reports whether a record of t may be
// processed.
func (t *Task) nextReady() (bool, error) {
	for order := t.queueOrder; len(order.undecoded) > 0; {
		q := order.undecoded[0]
		if err := t.decodeHeadOf(q); err != nil {
			return false, err
		}
		last := copy(order.undecoded, order.undecoded[1:])
		order.undecoded = order.undecoded[:last]
		q.inUndecoded = false
		if q.ready {
			order.ready.push(q)
			q.task.ready++
		} else { // the queue ran empty: its next record may be the one with the lowest time
			q.task.canProcess = false
		}
	}
	if !t.canProcess {
		t.canProcess = t.inputsReady()
	}
	return t.canProcess && t.ready > 0 && t.queueOrder.ready[0].task == t, nil
}

// decodeHeadOf decodes the head of a queue that may belong to another task of the same order.
func (t *Task) decodeHeadOf(q *queue) (err error) {
	if q.task == t {
		return t.decodeHead(q)
	}
	defer q.task.recoverPanic(&err) // a panic ends the task that owns the queue, not t
	return q.task.decodeHead(q)
}

// inputsReady reports whether the task has waited for its empty queues as long as it must
// (KIP-695). It is evaluated when a round begins and when a queue has run empty, not for each
// record.
func (t *Task) inputsReady() bool {
	switch {
	case t.ready == 0:
		return false
	case t.ready == len(t.queues) || t.cfg.MaxIdle < 0:
		for _, q := range t.queues {
			q.idleDeadline = time.Time{}
		}
		return true
	}
	// All queues, also after one that is not ready: each has a deadline of its own, which begins now.
	ready := true
	for _, q := range t.queues {
		if !t.idleElapsed(q) {
			ready = false
		}
	}
	return ready
}

// idleElapsed reports whether the task need not wait for a record of q.
func (t *Task) idleElapsed(q *queue) bool {
	if q.ready {
		q.idleDeadline = time.Time{}
		return true
	}
	// A record is on the broker: it will come, so the task waits for it however long the fetch takes.
	if t.cfg.HasLag != nil && t.cfg.HasLag(q.tp) {
		q.idleDeadline = time.Time{}
		return false
	}
	if t.cfg.MaxIdle == 0 {
		return true
	}
	now := t.cfg.Now()
	if q.idleDeadline.IsZero() {
		q.idleDeadline = now.Add(t.cfg.MaxIdle)
	}
	return !now.Before(q.idleDeadline)
}

// RestartIdle has the wait for empty queues begin anew: nothing was fetched for a while.
func (t *Task) RestartIdle() {
	for _, q := range t.queues {
		q.idleDeadline = time.Time{}
	}
}

// processOne processes the record with the lowest time, then the stream-time punctuations that it
// makes due. keeps 1
func (t *Task) processOne() error {
	q := t.queueOrder.ready.pop()
	t.ready--
	at := q.head.Time
	// Stream time advances before the record is processed: for its own lateness the record itself
	// counts.
	t.cfg.Clock.advance(at)
	q.partitionTime = max(q.partitionTime, at)
	t.current, t.recordTime, t.currentStep.Node = &q.head, at, q.node
	*q.count++
	t.lastTime = at
	err := t.applyDecodePolicy(q.inlet.Process())
	if err == nil { // a user's function may have ignored the error that ended the task
		err = t.err
	}
	if err != nil {
		return t.fatal(t.currentStep.Node, err)
	}
	t.current = nil
	t.passHead(q)
	t.markUndecoded(q)
	// A step has reached its bound of deferred updates. It emits them now, not while the record is
	// processed: an aggregation may be in a scan then, whose rows the emission would change.
	if t.flushSoon {
		if err := t.flush(false); err != nil {
			return err
		}
	}
	return t.punctuate(graph.StreamTime, t.cfg.Clock.time)
}

// NextWake returns when Process or Punctuate has something to do without a new batch. ok is false
// for never.
func (t *Task) NextWake() (at time.Time, ok bool) {
	if next, some := t.punctuations[graph.WallClock].earliest(); some {
		at, ok = time.UnixMilli(next), true
	}
	if t.ready == 0 { // no record waits for the empty queues
		return at, ok
	}
	for _, q := range t.queues {
		if !q.idleDeadline.IsZero() && (!ok || q.idleDeadline.Before(at)) {
			at, ok = q.idleDeadline, true
		}
	}
	return at, ok
}
