package worker

import (
	"context"
	"errors"
	"time"

	"github.com/millstream-go/millstream/internal/changelog"
	"github.com/millstream-go/millstream/internal/kafka"
)

// readForeign begins to read what others wrote into changelogs of this worker's tasks, whose only writer it is: a member that
// was thawed after it had lost them. The rows of those keys are written again before the commit goes on.
func (w *Worker) readForeign(c *commit, writes []kafka.ForeignWrite) {
	logs := map[kafka.TopicPartition]*changelog.Log{}
	for _, e := range c.epochs {
		if e.log != nil {
			logs[e.log.TopicPartition] = e.log
		}
	}
	for _, f := range writes {
		w.cfg.Logger.Error("millstream: another process wrote into a changelog of this one; writing its own rows again",
			"changelog", f.TopicPartition, "from", f.From, "to", f.To)
	}
	c.keys = make(chan foreign, 1)
	go func() {
		keys, err := w.foreignKeys(logs, writes)
		c.keys <- foreign{keys, err}
		w.inbox.Poke()
	}()
}

func (w *Worker) foreignKeys(logs map[kafka.TopicPartition]*changelog.Log, writes []kafka.ForeignWrite) (map[*changelog.Log][][]byte, error) {
	f, err := w.cfg.Reader()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ctx, cancel := context.WithTimeoutCause(w.tenure.Load().ctx, foreignTimeout, errForeign)
	defer cancel()
	out := map[*changelog.Log][][]byte{}
	for _, x := range writes {
		l := logs[x.TopicPartition]
		if l == nil {
			continue
		}
		keys, err := changelog.Keys(ctx, f, x)
		if err != nil {
			return nil, err
		}
		out[l] = append(out[l], keys...)
	}
	return out, nil
}

const foreignTimeout = time.Minute

var errForeign = errors.New("what another process wrote into a changelog could not be read in time")

// resend writes the rows again, once their keys are known.
func (w *Worker) resend(c *commit) bool {
	select {
	case f := <-c.keys:
		c.keys = nil
		for l, keys := range f.keys {
			if f.err == nil {
				f.err = l.Resend(w.tenure.Load().ctx, w.producer, keys)
			}
		}
		if f.err != nil {
			w.breakDown(f.err)
			return true
		}
		c.ticket = w.producer.Cut()
		return true
	default:
		return false
	}
}

// look is the answer to a last look at changelogs.
type look struct {
	ends map[kafka.TopicPartition]int64
	err  error
}

const lookTimeout = 5 * time.Second

// lastLook says whether a task that is settled may be handed back: nobody else has written into its changelogs. Else, it has that looked
// up for all tasks that are as far, and lookedLast takes the answer.
//
// What another process wrote is found at the next write to the changelog, but after the last one there is none:
//
//	A is frozen with records of changelog in its connection -> B has its tasks, settles newer rows -> A thaws, its old rows arrive
//	-> B gives the tasks up -> whoever gets them restores the old rows
func (w *Worker) lastLook(r *running) bool {
	if r.looked || r.undo || r.err != nil || len(r.Logs) == 0 || w.cfg.Ends == nil || w.over() || w.broken != nil {
		return true
	}
	if w.looking != nil {
		return false
	}
	var tps []kafka.TopicPartition
	for _, x := range w.tasks {
		if x.handable() && !x.looked && !x.undo && x.err == nil {
			x.asked = true
			for _, l := range x.Logs {
				tps = append(tps, l.TopicPartition)
			}
		}
	}
	answer := make(chan look, 1)
	w.looking = answer
	over := w.tenure.Load().ctx
	go func() {
		ctx, cancel := context.WithTimeout(over, lookTimeout)
		defer cancel()
		ends, err := w.cfg.Ends(ctx, tps)
		answer <- look{ends, err}
		w.inbox.Poke()
	}()
	return false
}

// lookedLast begins a commit for the tasks into whose changelogs others wrote, unless one is in flight: then it waits for that.
func (w *Worker) lookedLast() {
	if w.looking == nil || w.inFlight != nil {
		return
	}
	var l look
	select {
	case l = <-w.looking:
		w.looking = nil
	default:
		return
	}
	if l.err != nil { // the tasks have to be handed back all the same
		w.cfg.Logger.Warn("millstream: a last look at changelogs failed", "error", l.err)
	}
	var writes []kafka.ForeignWrite
	for _, r := range w.tasks {
		if !r.asked {
			continue
		}
		r.asked, r.looked = false, true
		for _, x := range r.Logs {
			if end := l.ends[x.TopicPartition]; end > x.End() {
				writes = append(writes, kafka.ForeignWrite{TopicPartition: x.TopicPartition, From: x.End(), To: end})
				r.dirty = true // to be handed back after one more commit, which writes them over
			}
		}
	}
	if len(writes) > 0 && w.broken == nil && !w.over() {
		if w.inFlight = w.cut(); w.inFlight != nil {
			w.inFlight.foreign = writes
			w.advance()
		}
	}
}
