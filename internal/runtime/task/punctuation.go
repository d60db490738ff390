package task

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
)

// punctuation is a function that a step scheduled.
type punctuation struct {
	node        *graph.Node
	every, next int64 // milliseconds
	seq         int
	call        func(now int64) error
	stopped     bool
}

// punctuations has the punctuations of one clock in the order in which they are due.
type punctuations struct {
	all  []*punctuation
	next int64 // when the first is due; greater than any time when there is none
	seq  int   // orders punctuations that are due at the same time, by when they were scheduled
}

func (ps *punctuations) reset() { ps.all, ps.next = nil, math.MaxInt64 }

func (ps *punctuations) earliest() (int64, bool) { return ps.next, len(ps.all) > 0 }

func (ps *punctuations) add(p *punctuation) {
	i, _ := slices.BinarySearchFunc(ps.all, p, func(a, b *punctuation) int {
		return cmp.Or(cmp.Compare(a.next, b.next), cmp.Compare(a.seq, b.seq))
	})
	ps.all = slices.Insert(ps.all, i, p)
	ps.next = ps.all[0].next
}

func (ps *punctuations) remove(p *punctuation) {
	if i := slices.Index(ps.all, p); i >= 0 {
		ps.all = slices.Delete(ps.all, i, i+1)
	}
	ps.next = math.MaxInt64
	if len(ps.all) > 0 {
		ps.next = ps.all[0].next
	}
}

// Schedule implements graph.Env. The grid of stream time is aligned at 0, so the first call comes
// with the first record.
func (t *Task) Schedule(
	node *graph.Node, kind graph.Clock, every time.Duration, f func(now int64) error,
) (stop func()) {
	scheduled := &t.punctuations[kind]
	scheduled.seq++
	added := &punctuation{node: node, every: max(1, every.Milliseconds()), seq: scheduled.seq, call: f}
	if kind == graph.WallClock {
		added.next = t.cfg.Now().UnixMilli() + added.every
	}
	scheduled.add(added)
	return func() {
		added.stopped = true
		scheduled.remove(added)
	}
}

// Punctuate calls the wall-clock punctuations that are due, each once, however many intervals have
// passed.
func (t *Task) Punctuate() (err error) {
	return t.punctuateNow(graph.WallClock, t.cfg.Now().UnixMilli())
}

// PunctuateStreamTime calls the stream-time punctuations that are due. Process does that after each
// record. Tasks that share a Clock need it too, when a record of another task has advanced it.
func (t *Task) PunctuateStreamTime() (err error) {
	return t.punctuateNow(graph.StreamTime, t.cfg.Clock.time)
}

func (t *Task) punctuateNow(kind graph.Clock, now int64) (err error) {
	if t.err != nil || t.punctuations[kind].next > now {
		return t.err
	}
	defer t.reportDrops()
	defer t.recoverPanic(&err)
	return t.punctuate(kind, now)
}

func (t *Task) punctuate(kind graph.Clock, now int64) error {
	scheduled := &t.punctuations[kind]
	for now >= 0 && scheduled.next <= now {
		// Removed while it runs: it may stop itself, or schedule others that are due earlier.
		due := scheduled.all[0]
		scheduled.remove(due)
		if err := t.fire(due, now); err != nil {
			return err
		}
		if !due.stopped {
			// The next point of the grid after now. Missed points are not made up for, as in Kafka Streams.
			due.next += ((now-due.next)/due.every + 1) * due.every
			scheduled.add(due)
		}
	}
	return nil
}

// fire calls one punctuation. The step applies its policy inside the call (topology.Task), so an
// error is fatal.
func (t *Task) fire(p *punctuation, now int64) error {
	t.current, t.recordTime, t.currentStep.Node = nil, now, p.node
	err := p.call(now)
	if err == nil { // a user's function may have ignored the error that ended the task
		err = t.err
	}
	if err != nil {
		return t.fatal(p.node, err)
	}
	if t.flushSoon {
		return t.flush(false)
	}
	return nil
}
