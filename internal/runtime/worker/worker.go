// Package worker runs tasks. An App has a few workers. Each is one goroutine with tasks of its own:
// it receives batches through an inbox, processes records in rounds, and commits while it
// processes.
//
// A commit has four steps. One commit is in flight at most, and processing goes on meanwhile:
//
//  1. Cut, between two records. Each task with changes emits what its steps defer until a commit, and its
//     offsets are fixed. The epochs of its stores end, and their changes are queued for the changelogs.
//     The ticket of the cut covers everything that was queued before it.
//  2. Send. The ticket completes when Kafka has acknowledged everything. Records that a broker refused go
//     to the failure policy first. Rows that another process overwrote in a changelog are written again.
//     Either needs one more ticket.
//  3. The offsets are committed, as the group member to which the tasks were assigned.
//  4. Settle. The stores learn that their epochs are accepted and where their changelogs end. Only now may
//     rows of these epochs reach a file.
//
// Invariants:
//
//  1. Offsets are committed only after everything made of the records before them is acknowledged.
//  2. A store settles an epoch only after the offsets that belong to it are committed.
//  3. A task is returned either settled, or with everything undone that is not settled.
//  4. The goroutine waits for nobody while it has work. The one exception is Producer.Send, which waits
//     when too much is unacknowledged.
package worker

import (
	"context"
	"errors"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/mailbox"
	"github.com/millstream-go/millstream/internal/runtime/meter"
	"github.com/millstream-go/millstream/internal/runtime/task"
)

const (
	idleCutDelay    = 20 * time.Millisecond // from the last record to a cut when there is no input
	membershipDelay = 50 * time.Millisecond // from an offset out of range to the next check of the membership
)

// Worker is a goroutine with tasks. All methods except Run may be called from any goroutine.
type Worker struct {
	cfg   Config
	ctx   context.Context // ends when the worker must drop everything
	abort context.CancelCauseFunc
	// lease ends when the member loses its tasks or ctx ends. Sends and users' functions wait with its
	// context. The goroutine of Run replaces it; any goroutine may end it.
	lease           atomic.Pointer[lease]
	inbox           *mailbox.Mailbox[message]
	done            chan struct{}
	stats           Stats
	userCall        atomic.Pointer[activity]
	userCallStarted atomic.Int64 // when it began, in nanoseconds since 1970; 0: no user code is running
	// awaitsBrokers is set while the worker waits for brokers in the middle of a task: for room in the producer, or for
	// the partition count of a topic.
	awaitsBrokers atomic.Bool
	// health is the last answer of Producer.Healthy, which only the goroutine of Run may call.
	health atomic.Pointer[error]

	progress atomic.Pointer[Progress] // as it was published last; never nil

	refused atomic.Int64 // records that brokers have refused, and that are or were in the inbox

	// The fields below belong to the goroutine of Run.
	producer  kafka.Producer
	producers int // how many there were, and how often one began again: the number of the present one
	// producerNumber has that number for goroutines of the present producer.
	producerNumber *atomic.Int64
	refusedHandled int64 // how many of refused their policies have decided about
	transactional
	meter                  *meter.Meter
	published              time.Time // when progress was published last
	committer              Committer
	tasks                  []*activeTask
	open                   counts // of what was processed since the last cut
	byPartition            map[kafka.TopicPartition]*activeTask
	received               []message
	inFlight               *pendingCommit
	pendingCheck           chan foreignCheck // result of the check for foreign writes; nil: none is running
	member                 string            // to which the tasks were assigned
	lastCut                time.Time
	lastBusy               time.Time // when a record was last processed
	commitWanted           bool      // a step asked for a commit
	deadLettersAfterTicket bool      // a dead letter was queued after the last ticket, for a record that a broker refused
	stopping               bool
	memoryFullSince        time.Time // zero: there is room in the memory budget
	broken                 error     // why the worker cannot commit any more
	timer                  *time.Timer
}

// lease is a period in which the member owns its tasks.
type lease struct {
	ctx context.Context
	end context.CancelCauseFunc
}

func (w *Worker) newLease() {
	l := new(lease)
	l.ctx, l.end = context.WithCancelCause(w.ctx)
	w.lease.Store(l)
}

// leaseEnded reports whether the member has lost its tasks. Nothing that is uncommitted counts any
// more, and an error that appears now is a consequence: it is not reported.
func (w *Worker) leaseEnded() bool { return w.lease.Load().ctx.Err() != nil }

// message is one of these: a batch, a failed fetch, a record that a broker refused, a command.
type message struct {
	batch          *kafka.Batch
	tp             kafka.TopicPartition
	err            error // of the fetch of tp
	produceFailure *kafka.ProduceFailure
	producer       int64 // of produceFailure: the number of the producer
	command        func()
}

// New returns a worker that does nothing until Run.
func New(ctx context.Context, cfg Config) *Worker {
	w := &Worker{
		cfg: cfg, inbox: mailbox.New[message](), done: make(chan struct{}),
		byPartition:   map[kafka.TopicPartition]*activeTask{},
		transactional: transactional{timeout: minTimeout, maxTimeout: maxTimeout},
	}
	w.ctx, w.abort = context.WithCancelCause(ctx)
	w.newLease()
	w.meter = meter.New(cfg.Task.Graph)
	w.progress.Store(&Progress{At: time.Now(), Counts: meter.NewCounts(cfg.Task.Graph)})
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

// Abort ends Run soon, whatever it waits for. Nothing more is committed or written to files, and
// the tasks are not returned.
func (w *Worker) Abort() { w.abort(errAborted) }

// Deliver implements kafka.Sink.
func (w *Worker) Deliver(b *kafka.Batch) { w.inbox.Put(message{batch: b}) }

// FetchFailed implements kafka.Sink.
func (w *Worker) FetchFailed(tp kafka.TopicPartition, err error) {
	w.inbox.Put(message{tp: tp, err: err})
}

// Wake ends the worker's wait, so that it checks what others set without a message:
// Handover.MemoryWanted, what is paused, and files that were found damaged.
func (w *Worker) Wake() { w.inbox.Wake() }

func (w *Worker) command(f func()) { w.inbox.Put(message{command: f}) }

// Run processes and commits until Stop or Abort. It returns an error only when it cannot begin.
func (w *Worker) Run() (err error) {
	defer close(w.done)
	defer crashpoint.Catch(w.cfg.Crashed)
	defer w.abort(errAborted)
	// Scans pass values that lie in memory-mapped files. Where such a page cannot be read, the fault
	// becomes a panic of the task, which counts as damage of the file; otherwise it would end the
	// process.
	debug.SetPanicOnFault(true)
	w.timer = time.NewTimer(time.Hour)
	defer w.timer.Stop()
	if err := w.openProducer(); err != nil {
		return err
	}
	defer func() { w.producer.Close() }()
	w.lastCut = time.Now()
	for !w.finished() {
		w.drainInbox()
		w.applyPauses() // what was fetched before a pause is queued by now
		busy := w.round()
		w.idle = !busy
		w.driveCommits()
		if busy {
			w.publishProgress(w.lastBusy)
		} else {
			w.publishProgress(time.Now())
		}
		if !busy && !w.finished() {
			w.wait()
		}
	}
	w.abortOpen()
	w.published = time.Time{} // what was counted at the end is published, too
	w.publishProgress(time.Now())
	return nil
}

func (w *Worker) finished() bool {
	return w.ctx.Err() != nil || w.stopping && len(w.tasks) == 0 && w.inFlight == nil
}

func (w *Worker) openProducer() (err error) {
	number := new(atomic.Int64)
	w.producerNumber = number
	w.countProducer()
	cfg := kafka.ProduceConfig{
		Allowed: w.cfg.Membership.Allowed, OnNoRoom: w.awaitsBrokers.Store,
		// A record that a broker refused goes to the worker's goroutine, where its policy decides. The producer calls this
		// on a goroutine of its own.
		OnFailure: func(f kafka.ProduceFailure) bool {
			w.refused.Add(1)
			w.inbox.Put(message{produceFailure: &f, producer: number.Load()})
			return true
		},
	}
	if w.exactlyOnce() {
		return w.openTransactor(cfg)
	}
	w.producer, err = w.cfg.Producer(cfg)
	return err
}

// countProducer has the worker ignore what brokers have refused until now.
func (w *Worker) countProducer() {
	w.producers++
	w.producerNumber.Store(int64(w.producers))
}

// drainInbox handles all messages in the inbox.
func (w *Worker) drainInbox() {
	w.received = w.inbox.Drain(w.received)
	for _, msg := range w.received {
		switch {
		case msg.batch != nil:
			w.addBatch(msg.batch)
		case msg.command != nil:
			msg.command()
		case msg.produceFailure != nil:
			w.refusedHandled++
			// What one that was replaced has reported is of records that are processed again.
			if msg.producer == int64(w.producers) {
				w.handleProduceFailure(*msg.produceFailure)
			}
		default:
			w.fetchFailed(msg.tp, msg.err)
		}
	}
}

func (w *Worker) addBatch(batch *kafka.Batch) {
	active := w.byPartition[batch.TopicPartition]
	if active == nil || active.stopped { // the batch was under way when its task was stopped
		return
	}
	active.ends[batch.TopicPartition] = max(active.ends[batch.TopicPartition], batch.LastStable)
	active.queued[batch.TopicPartition] = batch.Next
	// A batch without records moves the position too, past markers and compacted offsets, and that is
	// committed.
	active.dirty = true
	if err := active.task.Add(batch); err != nil {
		w.failTask(active, err)
	}
}

// fetchFailed stops a task whose input cannot be read. An offset out of range may have another
// cause, which is no failure of the task:
//
//	A is frozen for longer than its session -> B gets A's tasks, commits, and purges what it processed from a
//	repartition topic -> A thaws, and its position is no longer in the log -> A's heartbeat gets UNKNOWN_MEMBER_ID
//
// The last event can take a moment. While the session of A may have ended, A waits and checks
// again: then either the tasks are lost, or the error is the task's.
func (w *Worker) fetchFailed(tp kafka.TopicPartition, err error) {
	active := w.byPartition[tp]
	if active == nil || active.stopped {
		return
	}
	var outOfRange *kafka.OffsetOutOfRange
	if errors.As(err, &outOfRange) && w.cfg.Membership.Allowed() != nil {
		time.AfterFunc(membershipDelay, func() {
			w.command(func() {
				if w.byPartition[tp] == active {
					w.fetchFailed(tp, err)
				}
			})
		})
		return
	}
	w.failTaskAs(active, Unreadable, &task.Error{
		Task: active.ID, TopicPartition: tp, Offset: active.task.Position(tp), Err: w.explainUnreadable(tp, err),
	})
}

// wait returns when there may be something to do.
func (w *Worker) wait() {
	if err := w.producer.Healthy(); err != nil {
		w.health.Store(&err)
	} else {
		w.health.Store(nil)
	}
	w.timer.Reset(w.maxWait())
	// Channels that stay nil are never ready: without a commit in flight the worker waits for the
	// others.
	var ticket <-chan struct{}
	var result <-chan error
	commit := w.inFlight
	if commit == nil && w.rewinding != nil {
		commit = w.rewinding.pending
	}
	if commit != nil {
		ticket, result = commit.waitChannels()
	}
	select {
	case <-w.inbox.Ready():
	case <-ticket:
	case err := <-result:
		// The channel has one value, which is received here: pollResult would not find it a second
		// time.
		commit.err, commit.hasResult = err, true
	case <-w.timer.C:
	case <-w.ctx.Done():
	}
}

// maxWait returns how long the worker may wait when no message arrives.
func (w *Worker) maxWait() time.Duration {
	now := time.Now()
	until := now.Add(time.Second) // wait publishes the producer's health, which must not be much older than that
	if w.inFlight == nil && w.anyToCut() {
		until = w.cutDueAt()
	}
	// While the memory budget is full, stores are asked for memory again at this pace.
	if next := now.Add(memoryPoll); !w.memoryFullSince.IsZero() && next.Before(until) {
		until = next
	}
	// A task that is not called at present has nothing to be woken for: with what is due already the worker would
	// not wait at all. It hears of what the task waits for: the result of a commit, or memory.
	full, behind := w.uncutBehind() || !w.memoryFullSince.IsZero(), w.commitBehind()
	for _, active := range w.tasks {
		if active.stopped || active.paused || behind || full && len(active.Engines) > 0 {
			continue // one that failed while it was wired is stopped, and has no task.Task
		}
		if next, ok := active.task.NextWake(); ok && next.Before(until) {
			until = next
		}
	}
	return max(until.Sub(now), 0)
}
