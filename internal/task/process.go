package task

import (
	"time"

	"github.com/millstream-go/millstream/internal/graph"
)

// Process takes up to limit records, the lowest time first, and returns how many it took. It ends early when nothing can be
// processed at present, and after the record for which a step asks for a commit. A non-nil error ends the task.
func (t *Task) Process(limit int) (n int, err error) {
	if t.err != nil {
		return 0, t.err
	}
	defer t.report()
	defer t.guard(&err)
	t.open = false
	for before := t.wanted; n < limit && t.wanted == before; {
		if ready, err := t.prepare(); err != nil || !ready {
			return n, err
		}
		if err := t.one(); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Head returns the time of the record that Process would take next, and since when it has waited, among tasks with the same
// Clock; ok is false when none can be processed at present.
func (t *Task) Head() (time int64, since uint64, ok bool, err error) {
	if t.err != nil {
		return 0, 0, false, t.err
	}
	defer t.report()
	defer t.guard(&err)
	t.open = false
	if ok, err = t.prepare(); err != nil || !ok {
		return 0, 0, false, err
	}
	return t.ready[0].head.Time, t.ready[0].since, true, nil
}

// prepare decodes heads and says whether a record may be processed.
func (t *Task) prepare() (bool, error) {
	for len(t.stale) > 0 {
		q := t.stale[0]
		if err := t.refresh(q); err != nil {
			return false, err
		}
		last := copy(t.stale, t.stale[1:])
		t.stale = t.stale[:last]
		q.stale = false
		if q.ready {
			t.ready.push(q)
		} else {
			t.open = false
		}
	}
	if !t.open {
		t.open = t.waited()
	}
	return t.open && len(t.ready) > 0, nil
}

// waited says whether the empty queues have been waited for (KIP-695). It is asked when a round begins and when a queue has
// run empty, not for each record.
func (t *Task) waited() bool {
	switch {
	case len(t.ready) == 0:
		return false
	case len(t.ready) == len(t.queues) || t.cfg.MaxIdle < 0:
		for _, q := range t.queues {
			q.deadline = time.Time{}
		}
		return true
	}
	yes := true
	for _, q := range t.queues {
		if !t.idled(q) {
			yes = false
		}
	}
	return yes
}

func (t *Task) idled(q *queue) bool {
	if q.ready {
		q.deadline = time.Time{}
		return true
	}
	if t.cfg.Lag != nil && t.cfg.Lag(q.tp) {
		q.deadline = time.Time{}
		return false
	}
	if t.cfg.MaxIdle == 0 {
		return true
	}
	now := t.cfg.Now()
	if q.deadline.IsZero() {
		q.deadline = now.Add(t.cfg.MaxIdle)
	}
	return !now.Before(q.deadline)
}

// one processes the record with the lowest time, and the punctuations of stream time that it makes due. keeps 1
func (t *Task) one() error {
	q := t.ready.pop()
	at := q.head.Time
	t.cfg.Clock.see(at)
	q.latest = max(q.latest, at)
	t.current, t.recordTime, t.place.Node = &q.head, at, q.node
	err := q.inlet.Process()
	if err == nil {
		err = t.err
	}
	if err != nil {
		return t.fatal(t.place.Node, err)
	}
	t.current = nil
	t.done(q)
	t.look(q)
	if t.early {
		if err := t.flush(false); err != nil {
			return err
		}
	}
	return t.punctuate(graph.StreamTime, t.cfg.Clock.time)
}

// NextWake returns when Process or Punctuate has something to do although nothing was added, ok false when never.
func (t *Task) NextWake() (at time.Time, ok bool) {
	if next, some := t.timers[graph.WallClock].first(); some {
		at, ok = time.UnixMilli(next), true
	}
	if len(t.ready) == 0 {
		return at, ok
	}
	for _, q := range t.queues {
		if !q.deadline.IsZero() && (!ok || q.deadline.Before(at)) {
			at, ok = q.deadline, true
		}
	}
	return at, ok
}
