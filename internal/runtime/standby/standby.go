// Package standby keeps copies of the stores of tasks that other members run: standbys and warm-ups. A copy follows
// the changelogs of its stores, so that a member which gets the task restores only what the copy does not have yet.
//
// Invariants:
//
//  1. The stores of a copy have what its logs have up to its positions, and nothing else: what transactions wrote
//     that did not commit is not read, and of a topic that stands for a changelog nothing behind the committed offset.
//  2. A store belongs to the goroutine of Run from the end of its opening until its release. Release is
//     called once for it, when nothing of its logs is fetched any more.
//  3. What fails concerns one copy, which begins again after a pause. The App goes on.
package standby

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/changelog"
	"github.com/millstream-go/millstream/internal/runtime/group"
	"github.com/millstream-go/millstream/internal/runtime/mailbox"
	"github.com/millstream-go/millstream/internal/runtime/topics"
	"github.com/millstream-go/millstream/internal/runtime/worker"
)

// Reason is why a standby has ended.
type Reason int

// The reasons.
const (
	Promoted Reason = iota // its member runs the task from now on
	Migrated               // the group wants no standby here any more, or the App stops
)

// Config configures a Set.
type Config struct {
	// Open acquires the stores of a task and looks up its logs. It is called on a goroutine of its own.
	Open func(ctx context.Context, t topics.Task, memoryWanted *atomic.Bool) (worker.StandbyStores, error)
	// Release takes stores back. settled reports that they have what their positions say; otherwise they are
	// not to be trusted further than their files. promoted reports that the task opens them next.
	Release func(stores worker.StandbyStores, settled, promoted bool)
	// Fetcher returns what the logs are read with. It is called when the first standby begins; the caller closes it.
	Fetcher func() (kafka.Fetcher, error)
	// Ends returns the ends of changelogs, open transactions included. Committed returns the committed offsets of topics
	// that stand for changelogs. Both wait for brokers, as long as ctx lasts.
	Ends, Committed func(ctx context.Context, tps []kafka.TopicPartition) (map[kafka.TopicPartition]int64, error)
	// Background runs a function on a goroutine whose end the owner waits for.
	Background func(func())
	// CaughtUp is called when the lag of a warm-up is acceptable: the task may move to this member. And it is called, with
	// false for warmUp, when that of a standby is in whose place another member has one until then.
	CaughtUp func(id graph.TaskID, warmUp bool)
	// Update is called when a standby of a store has begun, after each batch that was applied, and when it has
	// ended. Nil: nobody wants to know.
	Update func(Update)
	Hook   crashpoint.Hook
	Logger *slog.Logger
}

// Update is an event of a standby of one store.
type Update struct {
	Info
	Started, Ended bool // neither: a batch was applied
	Applied        int  // records of the batch
	Reason         Reason
}

// Info describes a standby of one store.
type Info struct {
	Task      graph.TaskID
	Store     string
	Topic     string
	Partition int32
	TopicID   kafka.TopicID // of the log
	Position  int64         // the next offset of the log
	End       int64         // of the log, as it was known last; -1: not known
	Records   int64         // applied since the standby began
	WarmUp    bool          // the task is to move here
}

// Lag returns how many offsets the standby is behind; -1 when that is not known.
func (i Info) Lag() int64 {
	if i.End < 0 {
		return -1
	}
	return max(i.End-i.Position, 0)
}

const (
	// pollInterval is the time between two look-ups of the ends of logs.
	pollInterval = 5 * time.Second
	// announceInterval is the least time between two announcements of a warm-up that has caught up: who leads the group
	// may see a larger lag, and is not to be asked again and again.
	announceInterval = time.Minute
	minPause         = time.Second
	maxPause         = time.Minute
)

// Set is the standbys of one App: one goroutine and one fetcher. Its methods may be called from any goroutine, and do
// not wait.
type Set struct {
	cfg     Config
	inbox   *mailbox.Mailbox[message]
	done    chan struct{} // closed when Run has returned
	pressed atomic.Bool   // a store is to free memory, or has found damage

	mu    sync.Mutex // guards infos
	infos map[graph.TaskID][]Info

	// What follows belongs to the goroutine of Run.
	ctx      context.Context
	fetcher  kafka.Fetcher
	replicas map[graph.TaskID]*replica
	logs     map[kafka.TopicPartition]*followed
	received []message
	polling  bool
	stopping bool
}

// message is one of: a batch, a fetch that failed, a command.
type message struct {
	batch   *kafka.Batch
	tp      kafka.TopicPartition
	err     error
	command func()
}

// New returns a Set without standbys.
func New(cfg Config) *Set {
	return &Set{
		cfg: cfg, inbox: mailbox.New[message](), done: make(chan struct{}), infos: map[graph.TaskID][]Info{},
		replicas: map[graph.TaskID]*replica{}, logs: map[kafka.TopicPartition]*followed{},
	}
}

// Start begins a standby, or changes whether one is a warm-up. Its stores must be free.
func (s *Set) Start(w group.Standby) { s.command(func() { s.start(w) }) }

// Stop ends the standby of a task. The channel is closed when its stores are released: at once when there is none.
// Whoever waits must expect that Run ends first (Done).
func (s *Set) Stop(id graph.TaskID, reason Reason) <-chan struct{} {
	released := make(chan struct{})
	s.command(func() { s.stop(id, reason, released) })
	return released
}

// Close ends all standbys, and Run then.
func (s *Set) Close() {
	s.command(func() {
		s.stopping = true
		for id := range s.replicas {
			s.stop(id, Migrated, make(chan struct{}))
		}
	})
}

// Done is closed when Run has returned.
func (s *Set) Done() <-chan struct{} { return s.done }

// Wake has the stores looked at: the memory of one is wanted, or a file of one is damaged.
func (s *Set) Wake() {
	s.pressed.Store(true)
	s.inbox.Wake()
}

// Infos returns the standbys whose position is known, by task and store.
func (s *Set) Infos() []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Info
	for _, infos := range s.infos {
		out = append(out, infos...)
	}
	slices.SortFunc(out, func(a, b Info) int {
		if c := a.Task.Compare(b.Task); c != 0 {
			return c
		}
		if a.Store < b.Store {
			return -1
		}
		return 1
	})
	return out
}

// Deliver implements kafka.Sink.
func (s *Set) Deliver(b *kafka.Batch) { s.inbox.Put(message{batch: b}) }

// FetchFailed implements kafka.Sink.
func (s *Set) FetchFailed(tp kafka.TopicPartition, err error) { s.inbox.Put(message{tp: tp, err: err}) }

func (s *Set) command(f func()) { s.inbox.Put(message{command: f}) }

// Run follows the logs until Close or until ctx ends. After ctx has ended stores are not released.
func (s *Set) Run(ctx context.Context) {
	defer close(s.done)
	s.ctx = ctx
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		s.received = s.inbox.Drain(s.received)
		for _, m := range s.received {
			if ctx.Err() != nil {
				return
			}
			s.handle(m)
		}
		if s.pressed.Swap(false) {
			s.relieve()
		}
		if s.stopping && len(s.replicas) == 0 {
			return
		}
		select {
		case <-s.inbox.Ready():
		case <-poll.C:
			s.poll()
		case <-ctx.Done():
			return
		}
	}
}

func (s *Set) handle(m message) {
	switch {
	case m.command != nil:
		m.command()
	case m.batch != nil:
		// One of a standby that has ended meanwhile is of no use, and the fetcher does not wait for it.
		if f := s.logs[m.batch.TopicPartition]; f != nil {
			f.held = append(f.held, m.batch)
			s.advance(f)
		}
	default:
		if f := s.logs[m.tp]; f != nil {
			s.fail(f.replica, fmt.Errorf("read %s: %w", m.tp, m.err))
		}
	}
}

// replica is the copy of one task's stores.
type replica struct {
	group.Standby
	cancel    context.CancelFunc // of the opening; nil: it is not opening
	open      bool               // stores are its own
	stores    worker.StandbyStores
	logs      []*followed
	failures  int
	announced time.Time      // when CaughtUp was called last
	stopped   bool           // ends when the opening has
	next      *group.Standby // begins then; nil: none does
	reason    Reason
	released  []chan struct{}
	failed    []Info      // of what it followed when it failed; their end is still to be reported
	pressed   atomic.Bool // a store is to free memory, or has found damage
	attempt   int         // counts openings, so that a pause of an earlier one ends nothing
}

// followed is a log of a replica.
type followed struct {
	replica *replica
	log     *changelog.Log
	info    Info
	started bool           // its begin was reported
	limit   int64          // records from here on are not to be applied yet
	held    []*kafka.Batch // in order, from the position on
}

func (s *Set) start(w group.Standby) {
	if s.stopping {
		return
	}
	r := s.replicas[w.Task.ID]
	if r == nil {
		r = &replica{Standby: w}
		s.replicas[w.Task.ID] = r
		s.openReplica(r)
		return
	}
	// The opening of the one that ends may be in a call that no context ends, of a disk. The stores are its own.
	if r.stopped {
		r.next = &w
		return
	}
	r.WarmUp, r.Replaces, r.AcceptableLag = w.WarmUp, w.Replaces, w.AcceptableLag
	for _, f := range r.logs {
		f.info.WarmUp = w.WarmUp
	}
	s.publish(r)
	s.announce(r)
}

// openReplica begins to open the stores of a replica.
func (s *Set) openReplica(r *replica) {
	ctx, cancel := context.WithCancel(s.ctx)
	r.cancel = cancel
	r.attempt++
	s.cfg.Background(func() {
		stores, err := s.cfg.Open(ctx, r.Task, &r.pressed)
		s.command(func() { s.opened(r, stores, err) })
	})
}

// opened is the end of an opening.
func (s *Set) opened(r *replica, stores worker.StandbyStores, err error) {
	r.cancel()
	r.cancel = nil
	if err != nil {
		if r.stopped {
			s.forget(r)
			return
		}
		s.fail(r, err)
		return
	}
	r.stores, r.open = stores, true
	if r.stopped {
		s.release(r, true)
		s.forget(r)
		return
	}
	if err := s.follow(r); err != nil {
		s.fail(r, err)
	}
}

// follow begins to fetch the logs of a replica.
func (s *Set) follow(r *replica) (err error) {
	if s.fetcher == nil {
		if s.fetcher, err = s.cfg.Fetcher(); err != nil {
			return err
		}
	}
	restorer := &changelog.Restorer{Logger: s.cfg.Logger, Hook: s.cfg.Hook}
	for _, log := range r.stores.Restorable() {
		// Two stores may be kept from one topic, which is fetched once. The second one is restored by the task.
		if s.logs[log.TopicPartition] != nil {
			continue
		}
		bounds := r.stores.Bounds[log.TopicPartition]
		progress, err := restorer.Follow(log, bounds)
		if err != nil {
			return err
		}
		f := &followed{replica: r, log: log, limit: math.MaxInt64, info: Info{
			Task: r.Task.ID, Store: log.Store, Topic: log.Topic, Partition: log.Partition, TopicID: log.ID,
			Position: progress.Position, End: bounds.End, WarmUp: r.WarmUp,
		}}
		if log.DecodeRow != nil {
			f.limit = bounds.End
		}
		r.logs = append(r.logs, f)
		s.logs[log.TopicPartition] = f
	}
	s.publish(r)
	r.failed = nil
	for _, f := range r.logs {
		f.started = true
		s.notify(Update{Info: f.info, Started: true})
		s.fetcher.Add(f.log.TopicPartition, f.info.Position, s)
	}
	s.announce(r)
	return nil
}

// advance applies what a log has before its limit.
func (s *Set) advance(f *followed) {
	r := f.replica
	for len(f.held) > 0 {
		b := f.held[0]
		f.info.End = max(f.info.End, b.HighWatermark)
		if f.log.DecodeRow != nil {
			f.info.End = f.limit
		}
		if len(b.Records) > 0 && b.Records[0].Offset >= f.limit {
			break
		}
		applied, err := f.log.Apply(b, f.info.Position, f.limit)
		if err != nil {
			s.fail(r, err)
			return
		}
		r.failures = 0
		f.info.Position = max(f.info.Position, min(b.Next, f.limit))
		f.info.Records += int64(applied)
		s.notify(Update{Info: f.info, Applied: applied})
		s.cfg.Hook.At(crashpoint.StandbyHalf)
		if b.Next > f.limit {
			break
		}
		if b.Recycle != nil && f.log.DecodeRow == nil {
			b.Recycle()
		}
		s.fetcher.Release(f.log.TopicPartition, b.Bytes)
		f.held[0] = nil
		f.held = f.held[1:]
	}
	s.publish(r)
	s.announce(r)
}

// announce reports a warm-up that has caught up, or that all standbys have which replace others: a member may get many
// of these at once, and no rebalance is wanted for each.
func (s *Set) announce(r *replica) {
	if !r.WarmUp && !r.Replaces || !r.caughtUp() ||
		!r.announced.IsZero() && time.Since(r.announced) < announceInterval {
		return
	}
	now := time.Now()
	if !r.WarmUp {
		for _, other := range s.replicas {
			if other.Replaces && !other.stopped && !other.caughtUp() {
				return
			}
		}
		for _, other := range s.replicas {
			if other.Replaces {
				other.announced = now
			}
		}
	}
	r.announced = now
	s.cfg.CaughtUp(r.Task.ID, r.WarmUp)
}

// caughtUp reports whether the lag of a replica is known, and acceptable.
func (r *replica) caughtUp() bool {
	if !r.open || r.stopped {
		return false
	}
	var lag int64
	for _, f := range r.logs {
		if f.info.Lag() < 0 {
			return false
		}
		lag += f.info.Lag()
	}
	return lag <= r.AcceptableLag
}

// poll looks up the ends of the logs, and how far topics that stand for changelogs are committed.
func (s *Set) poll() {
	if s.polling || len(s.logs) == 0 {
		return
	}
	s.polling = true
	var changelogs, sources []kafka.TopicPartition
	asked := make(map[*followed]bool, len(s.logs))
	for tp, f := range s.logs {
		asked[f] = true
		if f.log.DecodeRow != nil {
			sources = append(sources, tp)
		} else {
			changelogs = append(changelogs, tp)
		}
	}
	began := time.Now()
	s.cfg.Background(func() {
		ctx, cancel := context.WithTimeout(s.ctx, pollInterval)
		defer cancel()
		ends, err := s.cfg.Ends(ctx, changelogs)
		committed, committedErr := s.cfg.Committed(ctx, sources)
		s.command(func() {
			s.polling = false
			if err := errors.Join(err, committedErr); err != nil && s.ctx.Err() == nil {
				s.cfg.Logger.Debug("millstream: looking up how far standbys are behind failed", "error", err)
			}
			for f := range asked {
				// It may have ended meanwhile, and another one of the same log have begun.
				if s.logs[f.log.TopicPartition] == f {
					s.polled(f, ends, committed, began)
				}
			}
		})
	})
}

// polled takes in what a poll that began at a time has found.
func (s *Set) polled(f *followed, ends, committed map[kafka.TopicPartition]int64, began time.Time) {
	if offset, ok := committed[f.log.TopicPartition]; ok && offset > f.limit {
		f.limit = offset
		s.advance(f)
	}
	if end, ok := ends[f.log.TopicPartition]; ok {
		f.info.End = end
		if f.info.Position >= end {
			if err := f.log.Confirm(began); err != nil {
				s.fail(f.replica, err)
				return
			}
		}
		s.publish(f.replica)
		s.announce(f.replica)
	}
}

// relieve has the stores free memory, and ends the standbys whose files are damaged.
func (s *Set) relieve() {
	for _, r := range s.replicas {
		if !r.open || r.stopped || !r.pressed.Swap(false) {
			continue
		}
		if r.stores.Damaged(nil) {
			s.fail(r, errors.New("a file of a store is damaged"))
			continue
		}
		for _, f := range r.logs {
			if err := f.log.Relieve(); err != nil {
				s.fail(r, err)
				break
			}
		}
	}
}

// fail has a standby begin again after a pause: its logs have changed, a file is damaged, or rows cannot be read.
// What is damaged is moved aside when the stores are released.
func (s *Set) fail(r *replica, err error) {
	if errors.Is(err, crashpoint.Dead) {
		panic(crashpoint.Dead)
	}
	if s.ctx.Err() != nil {
		return
	}
	if r.open {
		damaged := r.stores.Damaged(err)
		for _, f := range s.unfollow(r) {
			if f.started {
				r.failed = append(r.failed, f.info)
			}
		}
		s.release(r, false)
		if !damaged && r.failures == 0 {
			s.cfg.Logger.Warn("millstream: a standby cannot follow its changelog, and begins again", "task", r.Task.ID.String(),
				"error", err)
		}
	} else if r.failures == 0 {
		s.cfg.Logger.Warn("millstream: a standby cannot be opened; this is retried", "task", r.Task.ID.String(), "error", err)
	}
	if r.stopped {
		s.forget(r)
		return
	}
	pause := min(minPause<<min(r.failures, 6), maxPause)
	r.failures++
	attempt := r.attempt
	time.AfterFunc(pause, func() {
		s.command(func() {
			if s.replicas[r.Task.ID] == r && r.attempt == attempt && r.cancel == nil {
				s.openReplica(r)
			}
		})
	})
}

func (s *Set) stop(id graph.TaskID, reason Reason, released chan struct{}) {
	r := s.replicas[id]
	if r == nil {
		close(released)
		return
	}
	r.released = append(r.released, released)
	r.stopped, r.reason, r.next = true, reason, nil
	if r.cancel != nil { // it is being opened: opened goes on
		r.cancel()
		return
	}
	if r.open {
		// The fetch stops first. What it brought after the ends of the logs are looked up, for the active task, would
		// put the position behind them, and it would not be trusted.
		logs := s.unfollow(r)
		if reason == Promoted {
			s.cfg.Hook.At(crashpoint.PromotionBegin)
		}
		for _, f := range logs {
			s.notify(Update{Info: f.info, Ended: true, Reason: reason})
		}
		s.release(r, true)
	}
	s.forget(r)
}

// unfollow ends the fetching for a replica, and returns what it has followed.
func (s *Set) unfollow(r *replica) []*followed {
	logs := r.logs
	for _, f := range logs {
		s.fetcher.Remove(f.log.TopicPartition)
		delete(s.logs, f.log.TopicPartition)
		f.held = nil
	}
	r.logs = nil
	s.publish(r)
	return logs
}

func (s *Set) release(r *replica, settled bool) {
	promoted := r.stopped && r.reason == Promoted
	stores := r.stores
	r.stores, r.open = worker.StandbyStores{}, false
	s.cfg.Release(stores, settled, promoted)
}

// forget ends a replica whose stores are released.
func (s *Set) forget(r *replica) {
	delete(s.replicas, r.Task.ID)
	for _, info := range r.failed {
		s.notify(Update{Info: info, Ended: true, Reason: r.reason})
	}
	for _, ch := range r.released {
		close(ch)
	}
	r.released = nil
	if r.next != nil {
		s.start(*r.next)
	}
}

// publish shows other goroutines where a replica is.
func (s *Set) publish(r *replica) {
	var infos []Info
	for _, f := range r.logs {
		infos = append(infos, f.info)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if infos == nil {
		delete(s.infos, r.Task.ID)
		return
	}
	s.infos[r.Task.ID] = infos
}

func (s *Set) notify(u Update) {
	if s.cfg.Update != nil {
		s.cfg.Update(u)
	}
}
