package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/millstream-go/millstream/internal/changelog"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/store"
)

// commit is the one in flight.
type commit struct {
	began   time.Time
	tasks   []*running
	epochs  []epoch
	offsets map[kafka.TopicPartition]kafka.OffsetMeta

	ticket   *kafka.Ticket // of step 2
	ends     map[kafka.TopicPartition]int64
	foreign  []kafka.ForeignWrite // what others wrote, and a last look has found
	keys     chan foreign         // what others wrote, being read
	answer   chan error           // of step 3
	answered bool
	err      error
}

// epoch is one store's part in a commit.
type epoch struct {
	engine store.Engine
	log    *changelog.Log // nil: it has none
	source *changelog.Log // what it is kept from instead, and up to where; nil: nothing
	at     int64
	number uint64
}

// foreign is what others wrote into changelogs of the worker.
type foreign struct {
	keys map[*changelog.Log][][]byte
	err  error
}

func (c *commit) waitFor() (ticket <-chan struct{}, answer <-chan error) {
	if c.ticket != nil {
		ticket = c.ticket.Done
	}
	return ticket, c.answer
}

func (w *Worker) dirty() bool {
	for _, r := range w.tasks {
		if r.cuttable() {
			return true
		}
	}
	return false
}

func (r *running) cuttable() bool {
	return (r.dirty || r.Pressed.Load()) && r.err == nil && !r.undo && r.task != nil
}

// due says whether a cut is: now when somebody waits for it, on the interval under load, soon when there is no input.
func (w *Worker) due() bool { return w.dirty() && !time.Now().Before(w.dueAt()) }

func (w *Worker) dueAt() time.Time {
	if w.soon || w.stopping || w.written() >= earlyBytes {
		return time.Time{}
	}
	for _, r := range w.tasks {
		if r.releasing || r.Pressed.Load() {
			return time.Time{}
		}
	}
	at, idle := w.lastCut.Add(w.cfg.CommitInterval), w.lastBusy.Add(idleCut)
	if idle.Before(at) {
		return idle
	}
	return at
}

// step takes the commit in flight as far as it goes, begins the next one when it is due, and hands back what is settled.
func (w *Worker) step() {
	w.advance()
	if w.inFlight == nil && w.broken == nil && w.due() {
		w.inFlight = w.cut()
		w.advance()
	}
	w.lookedLast()
	w.handBack()
}

// cut is step 1. keeps 4: it sends, but waits for nothing.
func (w *Worker) cut() *commit {
	w.cfg.Hook.At(crashpoint.CutBegin)
	if !w.flush() {
		return nil
	}
	c := &commit{began: time.Now(), offsets: map[kafka.TopicPartition]kafka.OffsetMeta{}, ends: map[kafka.TopicPartition]int64{}}
	w.lastCut, w.soon, w.letters = c.began, false, false
	for _, r := range w.tasks {
		if r.cuttable() {
			r.dirty, r.cut = false, true
			r.Pressed.Store(false)
			c.tasks = append(c.tasks, r)
			maps.Copy(c.offsets, r.task.Cut())
			for _, e := range r.task.Engines() {
				c.epochs = append(c.epochs, r.epoch(e.Engine))
			}
		}
	}
	w.cfg.Hook.At(crashpoint.CutOffsets)
	for i := range c.epochs {
		if err := c.epochs[i].cut(w.tenure.Load().ctx, w.producer); err != nil {
			w.breakDown(err)
			return nil
		}
		if i == len(c.epochs)/2 {
			w.cfg.Hook.At(crashpoint.CutHalf)
		}
	}
	c.ticket = w.producer.Cut()
	w.cfg.Hook.At(crashpoint.CutDone)
	return c
}

// flush has the tasks that are cut send what their steps hold back until then, and says whether there can be a commit.
func (w *Worker) flush() bool {
	for _, r := range w.tasks {
		if !r.cuttable() {
			continue
		}
		w.stats.Since.Store(time.Now().UnixNano()) // users' functions take what is sent
		if err := r.task.Flush(); err != nil {
			w.fail(r, err)
		}
	}
	w.stats.Since.Store(0)
	return w.broken == nil && !w.over()
}

// epoch is the part of a store in a commit that is being cut.
func (r *running) epoch(e store.Engine) epoch {
	out := epoch{engine: e, log: r.logs[e]}
	for _, l := range r.Sources {
		if l.Engine == e {
			out.source, out.at = l, r.task.Position(l.TopicPartition)
		}
	}
	return out
}

func (e *epoch) cut(ctx context.Context, p kafka.Producer) (err error) {
	if e.log != nil {
		e.number, err = e.log.Cut(ctx, p)
		return err
	}
	e.number, err = e.engine.Cut(func(store.Change) error { return nil })
	return err
}

// advance goes from step to step without waiting.
func (w *Worker) advance() {
	for c := w.inFlight; c != nil && w.inFlight == c; {
		switch {
		case c.ticket != nil && closed(c.ticket.Done):
			w.sent(c)
		case c.keys != nil && w.resend(c):
		case c.answer != nil && c.poll():
			w.answered(c)
		default:
			return
		}
	}
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func (c *commit) poll() bool {
	if c.answered {
		return true
	}
	select {
	case c.err = <-c.answer:
		c.answered = true
	default:
	}
	return c.answered
}

// sent is the end of step 2, or of a part of it.
func (w *Worker) sent(c *commit) {
	t := c.ticket
	c.ticket = nil
	maps.Copy(c.ends, t.Ends) // there may have been a ticket before
	if t.Err != nil {
		w.breakDown(fmt.Errorf("produce: %w", t.Err))
		return
	}
	w.take() // records that were refused are there before the ticket is done
	if w.inFlight != c {
		return
	}
	switch {
	case w.letters: // they belong to this commit
		w.letters, c.ticket = false, w.producer.Cut()
	case len(t.Foreign)+len(c.foreign) > 0:
		foreign := append(c.foreign, t.Foreign...)
		c.foreign = nil
		w.readForeign(c, foreign)
	default:
		w.commitOffsets(c)
	}
}

// commitOffsets is step 3, on a goroutine of its own. keeps 1
func (w *Worker) commitOffsets(c *commit) {
	w.cfg.Hook.At(crashpoint.SendAcked)
	c.answer = make(chan error, 1)
	if len(c.offsets) == 0 {
		c.answer <- nil
		return
	}
	member := w.member
	go func() {
		defer crashpoint.Catch(w.cfg.Died)
		err := w.committer.Commit(w.ctx, member, c.offsets)
		if err == nil {
			w.cfg.Hook.At(crashpoint.SendCommitted)
		}
		c.answer <- err
	}()
}

// answered is the end of step 3.
func (w *Worker) answered(c *commit) {
	w.inFlight = nil
	switch {
	case c.err == nil:
		w.settle(c)
	case w.ctx.Err() != nil:
	case errors.Is(c.err, ErrLost):
		w.void(Lost, c.err)
	default:
		w.breakDown(c.err)
	}
}

// settle is step 4. keeps 2
func (w *Worker) settle(c *commit) {
	w.cfg.Hook.At(crashpoint.SettleBegin)
	for i, e := range c.epochs {
		switch {
		case e.log != nil:
			e.log.Settle(e.number, c.ends)
		case e.source != nil:
			e.source.SettleAt(e.number, e.at)
		default:
			e.engine.Settle(e.number, store.Checkpoint{Time: time.Now()})
		}
		if i == len(c.epochs)/2 {
			w.cfg.Hook.At(crashpoint.SettleHalf)
		}
	}
	for _, r := range c.tasks {
		r.cut = false
	}
	w.stats.Commits.Add(1)
	w.cfg.Hook.At(crashpoint.SettleDone)
	w.cfg.Settled(Commit{Tasks: len(c.tasks), Took: time.Since(c.began), Offsets: c.offsets})
}

// refused applies the policy of production to a record that a broker refused. The commit that waits for it takes in what comes
// of that; a record of a changelog or of a task that is gone cannot be done without.
func (w *Worker) refused(f kafka.ProduceFailure) {
	r := w.writer(f.Topic)
	if r == nil {
		w.breakDown(fmt.Errorf("%s refused a record: %w", f.TopicPartition, f.Err))
		return
	}
	w.letters = true
	if err := r.task.Refused(f); err != nil {
		// What was made of records before is lost with this one: nothing of this worker may be committed.
		w.fail(r, err)
		w.breakDown(err)
	}
}

// writer returns a task that has a sink for a topic.
func (w *Worker) writer(topic string) *running {
	var chooses *running
	for _, r := range w.tasks {
		if r.task == nil || r.err != nil {
			continue
		}
		for _, n := range w.cfg.Task.Graph.Subs[r.ID.Sub].Nodes {
			switch {
			case n.Kind != graph.Sink:
			case n.Sink.Topic == "":
				chooses = r
			case n.Sink.Topic == topic && !n.Sink.Internal:
				return r
			}
		}
	}
	return chooses
}
