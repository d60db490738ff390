package task

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
)

// timer is a punctuation.
type timer struct {
	node        *graph.Node
	every, next int64 // milliseconds
	seq         int
	f           func(now int64) error
	stopped     bool
}

// timers are the punctuations of one clock, the next one first.
type timers struct {
	all  []*timer
	next int64 // of the first; greater than any time when there is none
	seq  int
}

func (s *timers) reset() { s.all, s.next = nil, math.MaxInt64 }

func (s *timers) first() (int64, bool) { return s.next, len(s.all) > 0 }

func (s *timers) add(x *timer) {
	i, _ := slices.BinarySearchFunc(s.all, x, func(a, b *timer) int {
		return cmp.Or(cmp.Compare(a.next, b.next), cmp.Compare(a.seq, b.seq))
	})
	s.all = slices.Insert(s.all, i, x)
	s.next = s.all[0].next
}

func (s *timers) remove(x *timer) {
	if i := slices.Index(s.all, x); i >= 0 {
		s.all = slices.Delete(s.all, i, i+1)
	}
	s.next = math.MaxInt64
	if len(s.all) > 0 {
		s.next = s.all[0].next
	}
}

// Schedule implements graph.Env. The grid of stream time is aligned at 0, so the first call comes as soon as stream time is known.
func (t *Task) Schedule(n *graph.Node, kind graph.Clock, every time.Duration, f func(now int64) error) (stop func()) {
	s := &t.timers[kind]
	s.seq++
	x := &timer{node: n, every: max(1, every.Milliseconds()), seq: s.seq, f: f}
	if kind == graph.WallClock {
		x.next = t.cfg.Now().UnixMilli() + x.every
	}
	s.add(x)
	return func() {
		x.stopped = true
		s.remove(x)
	}
}

// Punctuate calls the punctuations of the wall clock that are due, each once however many intervals have gone by.
func (t *Task) Punctuate() (err error) {
	return t.punctuateNow(graph.WallClock, t.cfg.Now().UnixMilli())
}

// PunctuateStreamTime calls the punctuations of stream time that are due. Process does so after each record; tasks that
// share a Clock need it when another one has moved it.
func (t *Task) PunctuateStreamTime() (err error) {
	return t.punctuateNow(graph.StreamTime, t.cfg.Clock.time)
}

func (t *Task) punctuateNow(kind graph.Clock, now int64) (err error) {
	if t.err != nil || t.timers[kind].next > now {
		return t.err
	}
	defer t.report()
	defer t.guard(&err)
	return t.punctuate(kind, now)
}

func (t *Task) punctuate(kind graph.Clock, now int64) error {
	s := &t.timers[kind]
	for now >= 0 && s.next <= now {
		x := s.all[0]
		s.remove(x)
		if err := t.fire(x, now); err != nil {
			return err
		}
		if !x.stopped {
			x.next += ((now-x.next)/x.every + 1) * x.every
			s.add(x)
		}
	}
	return nil
}

// fire calls one punctuation. Its step has applied its policy already (topology.Task): an error that comes back is fatal.
func (t *Task) fire(x *timer, now int64) error {
	t.current, t.recordTime, t.place.Node = nil, now, x.node
	err := x.f(now)
	if err == nil {
		err = t.err
	}
	if err != nil {
		return t.fatal(x.node, err)
	}
	if t.early {
		return t.flush(false)
	}
	return nil
}
