// Package worker runs tasks: a few goroutines own them all, take batches from an inbox, process in rounds, and commit as they go.
//
// A commit is cut, send, settle, and one is in flight while processing goes on:
//
//  1. Cut, between two records: each task that has done something sends what it holds back until a commit, its offsets are fixed, the epochs of its stores end, and what
//     they changed is queued for their changelogs. The ticket covers all that was sent before.
//  2. Send: the ticket completes when Kafka has acknowledged everything. Records that it refused go to their policy first, and what
//     others wrote into a changelog is written over; either makes a new ticket.
//  3. The offsets are committed as the member that the worker belongs to.
//  4. Settle: stores learn that the epoch is accepted and where their changelogs end. Only now may it reach a file.
//
// Invariants:
//
//  1. Offsets are committed only after everything that was made of the records before them is acknowledged.
//  2. A store settles an epoch only after the offsets that go with it are committed.
//  3. A task is handed back settled, or with everything that is not settled undone; never in between.
//  4. The goroutine waits for nobody while it has work, but for Producer.Send when too much is unacknowledged.
package worker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/task"
)

const (
	idleCut = 20 * time.Millisecond // without input, a cut is due that soon
	doubt   = 50 * time.Millisecond // between two looks at whether the member is one still
)

// Worker is a goroutine with tasks. Its methods but Run are safe from any goroutine.
type Worker struct {
	cfg   Config
	ctx   context.Context // ends when the worker is to drop everything
	abort context.CancelCauseFunc
	// tenure ends when the member loses its tasks, or ctx does: it is what sends and users' functions wait with. Replaced by the
	// goroutine of Run, ended by any.
	tenure atomic.Pointer[tenure]
	inbox  *Mailbox[message]
	done   chan struct{}
	stats  Stats
	// health is what the producer last said, which only its owner may ask.
	health atomic.Pointer[error]

	// What follows is owned by the goroutine of Run.
	producer  kafka.Producer
	committer Committer
	tasks     []*running
	byTP      map[kafka.TopicPartition]*running
	taken     []message
	inFlight  *commit
	looking   chan look // the answer to a last look; nil: none is under way
	member    string
	lastCut   time.Time
	lastBusy  time.Time
	soon      bool // a cut is wanted now
	letters   bool // dead letters were sent for records that a broker refused, since the last ticket
	stopping  bool
	fullSince time.Time // zero: memory is not used up
	broken    error
	timer     *time.Timer
}

// tenure is a time in which the member owns its tasks.
type tenure struct {
	ctx context.Context
	end context.CancelCauseFunc
}

func (w *Worker) newTenure() {
	t := new(tenure)
	t.ctx, t.end = context.WithCancelCause(w.ctx)
	w.tenure.Store(t)
}

// over says that what was not committed is void: what fails now fails because of that.
func (w *Worker) over() bool { return w.tenure.Load().ctx.Err() != nil }

// message is one of: a batch, a fetch that failed, a record that was refused, a command.
type message struct {
	batch   *kafka.Batch
	tp      kafka.TopicPartition
	err     error // of the fetch of tp
	refused *kafka.ProduceFailure
	command func()
}

// New returns a worker that does nothing until Run.
func New(ctx context.Context, cfg Config) *Worker {
	w := &Worker{cfg: cfg, inbox: NewMailbox[message](), done: make(chan struct{}), byTP: map[kafka.TopicPartition]*running{}}
	w.ctx, w.abort = context.WithCancelCause(ctx)
	w.newTenure()
	w.committer = Committer{Offsets: cfg.Offsets, Group: cfg.Group, Membership: cfg.Membership}
	return w
}

// Stats returns the worker's counts.
func (w *Worker) Stats() *Stats { return &w.stats }

// Healthy returns nil, or why a broker cannot be written to at present.
func (w *Worker) Healthy() error {
	if err := w.health.Load(); err != nil {
		return *err
	}
	return nil
}

// Done is closed when Run has returned.
func (w *Worker) Done() <-chan struct{} { return w.done }

var errAborted = errors.New("aborted")

// Abort ends Run soon, whatever it is waiting for. Nothing is committed or written to files any more; the tasks are not handed back.
func (w *Worker) Abort() { w.abort(errAborted) }

// Deliver implements kafka.Sink.
func (w *Worker) Deliver(b *kafka.Batch) { w.inbox.Put(message{batch: b}) }

// FetchFailed implements kafka.Sink.
func (w *Worker) FetchFailed(tp kafka.TopicPartition, err error) {
	w.inbox.Put(message{tp: tp, err: err})
}

// Poke has the worker look at what it was told beside its inbox.
func (w *Worker) Poke() { w.inbox.Poke() }

func (w *Worker) command(f func()) { w.inbox.Put(message{command: f}) }

// Run works until Stop or Abort. It returns an error when it could not begin.
func (w *Worker) Run() (err error) {
	defer close(w.done)
	defer crashpoint.Catch(w.cfg.Died)
	defer w.abort(errAborted)
	w.timer = time.NewTimer(time.Hour)
	defer w.timer.Stop()
	if err := w.open(); err != nil {
		return err
	}
	defer func() { w.producer.Close() }()
	w.lastCut = time.Now()
	for !w.finished() {
		w.take()
		busy := w.round()
		w.step()
		if !busy && !w.finished() {
			w.wait()
		}
	}
	return nil
}

func (w *Worker) finished() bool {
	return w.ctx.Err() != nil || w.stopping && len(w.tasks) == 0 && w.inFlight == nil
}

func (w *Worker) open() (err error) {
	w.producer, err = w.cfg.Producer(kafka.ProduceConfig{Allowed: w.cfg.Membership.Allowed, OnFailure: w.refusal})
	return err
}

// refusal keeps a record that a broker refused for the worker to decide about. Called on a goroutine of the producer.
func (w *Worker) refusal(f kafka.ProduceFailure) bool {
	w.inbox.Put(message{refused: &f})
	return true
}

// take deals with what was left in the inbox.
func (w *Worker) take() {
	w.taken = w.inbox.Take(w.taken)
	for _, m := range w.taken {
		switch {
		case m.batch != nil:
			w.add(m.batch)
		case m.command != nil:
			m.command()
		case m.refused != nil:
			w.refused(*m.refused)
		default:
			w.fetchFailed(m.tp, m.err)
		}
	}
}

func (w *Worker) add(b *kafka.Batch) {
	r := w.byTP[b.TopicPartition]
	if r == nil || r.stopped { // of a task that has gone meanwhile
		return
	}
	r.ends[b.TopicPartition] = max(r.ends[b.TopicPartition], b.LastStable)
	r.queued[b.TopicPartition] = b.Next
	r.dirty = true
	if err := r.task.Add(b); err != nil {
		w.fail(r, err)
	}
}

// fetchFailed stops a task whose input cannot be read, unless the member may have been dropped from its group without knowing:
//
//	A is frozen past its session -> B has its tasks, commits, and deletes what it has processed from a repartition topic
//	-> A thaws, and its position is not in the log -> A's heartbeat is answered: not a member
//
// The last may take a moment. Until then, A waits; then the tasks are gone, or the failure is one.
func (w *Worker) fetchFailed(tp kafka.TopicPartition, err error) {
	r := w.byTP[tp]
	if r == nil || r.stopped {
		return
	}
	var gone *kafka.OffsetOutOfRange
	if errors.As(err, &gone) && w.cfg.Membership.Allowed() != nil {
		time.AfterFunc(doubt, func() {
			w.command(func() {
				if w.byTP[tp] == r {
					w.fetchFailed(tp, err)
				}
			})
		})
		return
	}
	w.fail(r, &task.Error{Task: r.ID, TopicPartition: tp, Offset: r.task.Position(tp), Err: err})
}

// wait sleeps until there may be something to do.
func (w *Worker) wait() {
	if err := w.producer.Healthy(); err != nil {
		w.health.Store(&err)
	} else {
		w.health.Store(nil)
	}
	w.timer.Reset(w.pause())
	var ticket <-chan struct{}
	var answer <-chan error
	if c := w.inFlight; c != nil {
		ticket, answer = c.waitFor()
	}
	select {
	case <-w.inbox.Wake():
	case <-ticket:
	case err := <-answer:
		w.inFlight.err, w.inFlight.answered = err, true
	case <-w.timer.C:
	case <-w.ctx.Done():
	}
}

// pause is how long nothing is due.
func (w *Worker) pause() time.Duration {
	now := time.Now()
	at := now.Add(time.Second) // the producer's health is looked at then
	if w.inFlight == nil && w.dirty() {
		at = w.dueAt()
	}
	if next := now.Add(relief); !w.fullSince.IsZero() && next.Before(at) {
		at = next
	}
	for _, r := range w.tasks {
		if r.stopped { // it may have failed before it had a task
			continue
		}
		if next, ok := r.task.NextWake(); ok && next.Before(at) {
			at = next
		}
	}
	return max(at.Sub(now), 0)
}
