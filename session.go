package millstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/changelog"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/group"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/kafka/sarama"
	"github.com/millstream-go/millstream/internal/task"
	"github.com/millstream-go/millstream/internal/topics"
	"github.com/millstream-go/millstream/internal/worker"
	"github.com/millstream-go/millstream/store"
)

// session is one run of an App: everything that lives between Run and its return.
type session struct {
	app  *App
	cfg  Config
	hook crashpoint.Hook
	// ctx outlives the context of Run by the graceful stop. It ends when everything is to be dropped.
	ctx   context.Context
	abort context.CancelCauseFunc

	client     kafka.Client
	admin      kafka.Admin
	offsets    kafka.Offsets
	fetcher    kafka.Fetcher
	restorer   kafka.Fetcher
	membership [2]kafka.Group
	closers    []func() // of the roles, last opened first closed

	stores  *stores
	planner *topics.Planner
	group   *group.Group
	opener  *worker.Opener
	workers []*worker.Worker
	counts  *partitions
	purge   *purge
	manager manager

	tasks  atomic.Pointer[[]TaskInfo]
	ready  chan struct{} // closed when group and workers are there
	failed chan struct{} // closed by fail
	once   sync.Once
	err    error // why it failed; read after failed is closed
	died   atomic.Bool
	bg     sync.WaitGroup // goroutines that end with ctx
}

// fail ends the session with err; the first one counts.
func (s *session) fail(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.failed)
	})
}

// failing says that the session ends.
func (s *session) failing() bool {
	select {
	case <-s.failed:
		return true
	default:
		return false
	}
}

// die ends the session as a kill would: nothing is committed, written or left any more.
func (s *session) die() {
	s.died.Store(true)
	for _, m := range s.membership {
		if m != nil {
			m.Close() // the group is not to be left
		}
	}
	s.fail(crashpoint.Dead)
	s.abort(crashpoint.Dead)
}

func (a *App) newSession(ctx context.Context) *session {
	s := &session{app: a, cfg: a.cfg, hook: crashpoint.From(ctx), failed: make(chan struct{}), ready: make(chan struct{})}
	s.ctx, s.abort = context.WithCancelCause(context.WithoutCancel(ctx))
	s.tasks.Store(new([]TaskInfo))
	s.manager.init(s)
	return s
}

// open connects the roles, checks the topics, and makes group and workers. ctx is Run's.
func (s *session) open(ctx context.Context) (err error) {
	if s.stores, err = openStores(ctx, s.cfg, s.app.g, s); err != nil {
		return err
	}
	if err := s.openRoles(); err != nil {
		return err
	}
	plan, err := s.plan(ctx)
	if err != nil {
		return err
	}
	s.counts = newPartitions(s.ctx, s.admin, plan)
	s.purge = newPurge(s.admin, s.cfg.Logger)
	s.group = group.New(group.Config{
		Application: s.cfg.ApplicationID, Group: s.membership[0], Heartbeats: s.membership[1], Planner: s.planner, Plan: plan,
		Handler: &s.manager, Process: s.stores.id, Workers: s.cfg.Workers, Rack: s.cfg.Rack, Stored: s.stores.tasks,
		SessionTimeout: s.cfg.SessionTimeout, Heartbeat: s.cfg.HeartbeatInterval, RebalanceTimeout: s.cfg.RebalanceTimeout, Logger: s.cfg.Logger,
	})
	s.openOpener()
	for i := range s.cfg.Workers {
		s.workers = append(s.workers, worker.New(s.ctx, s.workerConfig(i)))
	}
	return nil
}

func (s *session) openRoles() (err error) {
	s.client, err = sarama.New(sarama.Config{
		Brokers: s.cfg.Brokers, ClientID: s.cfg.ClientID, Rack: s.cfg.Rack, TLS: s.cfg.TLS, SASL: s.cfg.SASL.client(s.ctx),
		Dialer: s.cfg.Dialer, Logger: s.cfg.Logger,
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.client.Close)
	if s.admin, err = s.client.Admin(); err != nil {
		return err
	}
	s.closers = append(s.closers, s.admin.Close)
	if s.offsets, err = s.client.Offsets(); err != nil {
		return err
	}
	s.closers = append(s.closers, s.offsets.Close)
	for i := range s.membership {
		if s.membership[i], err = s.client.Group(); err != nil {
			return err
		}
		s.closers = append(s.closers, s.membership[i].Close)
	}
	// What aborted transactions wrote is no input, and no state either.
	if s.fetcher, err = s.client.Fetcher(kafka.FetchConfig{Isolation: kafka.ReadCommitted}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.fetcher.Close)
	if s.restorer, err = s.client.Fetcher(kafka.FetchConfig{Isolation: kafka.ReadCommitted}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.restorer.Close)
	return nil
}

// plan looks the topics up, creates internal ones and checks them, waiting for brokers that are away as long as Run's ctx lasts.
func (s *session) plan(ctx context.Context) (plan *topics.Plan, err error) {
	s.planner = topics.New(s.app.g, topics.Config{
		Application: s.cfg.ApplicationID, Replication: s.cfg.ReplicationFactor, TopicConfig: s.cfg.TopicConfig,
	}, s.admin)
	err = worker.Persist(ctx, func() (err error) {
		plan, err = s.planner.Plan(ctx)
		return err
	})
	return plan, err
}

func (s *session) openOpener() {
	restorer := &changelog.Restorer{Fetcher: s.restorer, Logger: s.cfg.Logger, Hook: s.hook, Progress: s.progress}
	s.opener = &worker.Opener{
		Application: s.cfg.ApplicationID, Admin: s.admin,
		Committer: worker.Committer{Offsets: s.offsets, Group: s.cfg.ApplicationID, Membership: s.group},
		Restorer:  restorer, Borrow: s.borrow, Return: s.stores.giveBack,
		Restores: make(chan struct{}, max(2*s.cfg.Workers, 4)), Logger: s.cfg.Logger, Hook: s.hook,
	}
	restorer.Extents = s.opener.Extents(func() *topics.Plan { return s.group.Plan() })
}

func (s *session) workerConfig(i int) worker.Config {
	return worker.Config{
		ID: i, Membership: s.group, Group: s.cfg.ApplicationID, Fetcher: s.fetcher, Offsets: s.offsets,
		Producer: func(c kafka.ProduceConfig) (kafka.Producer, error) {
			c.Compression = s.cfg.Compression
			return s.client.Producer(c)
		},
		Reader: func() (kafka.Fetcher, error) {
			return s.client.Fetcher(kafka.FetchConfig{Isolation: kafka.ReadCommitted})
		},
		Partitions: s.counts.of, CommitInterval: s.cfg.CommitInterval, Budget: s.stores.dir.Budget(), Logger: s.cfg.Logger, Hook: s.hook,
		Tell: s.manager.tell, Settled: s.settled, Died: s.die,
		Task: task.Config{
			Graph: s.app.g, Application: s.cfg.ApplicationID, MaxIdle: s.cfg.MaxTaskIdle,
			Policies: task.Policies{Decode: s.cfg.OnDecodeError, Process: s.cfg.OnProcessError, Produce: s.cfg.OnProduceError},
			Dropped:  func(n *graph.Node, reason string, c int64) { s.app.drops.add(n, reason, c) },
			Failure: func(r failure.Report) {
				if f := s.cfg.Events.Failure; f != nil {
					f(r)
				}
			},
			Logger: s.cfg.Logger,
		},
	}
}

// borrow opens a store partition for a task. When its memory is wanted its worker finds out at once.
func (s *session) borrow(st *graph.Store, partition int32, pressed *atomic.Bool) (store.Engine, error) {
	return s.stores.borrow(st, partition, func() {
		pressed.Store(true)
		for _, w := range s.workers {
			w.Poke()
		}
	})
}

// settled is told of each commit of a worker.
func (s *session) settled(c worker.Commit) {
	s.purge.add(c.Offsets)
	if f := s.cfg.Events.Commit; f != nil {
		f(CommitInfo{Tasks: c.Tasks, Took: c.Took})
	}
}

// progress is told of restores.
func (s *session) progress(p changelog.Progress, applied int) {
	s.app.stats.restored.Add(int64(applied))
	if f := s.cfg.Events.Restore; f != nil {
		f(RestoreInfo{Store: p.Store, Partition: p.Partition, Done: p.Position - p.Begin, End: p.End - p.Begin, Records: p.Records, Full: p.Full})
	}
}

// run is Run and RunToEnd.
func (a *App) run(ctx context.Context, toEnd bool) error {
	if !a.started.CompareAndSwap(false, true) {
		return ErrRunning
	}
	a.setState(Starting)
	s := a.newSession(ctx)
	err := s.run(ctx, toEnd)
	if err != nil {
		a.setFailure(err)
		a.setState(Failed)
		return err
	}
	a.setState(Stopped)
	return nil
}

func (s *session) run(ctx context.Context, toEnd bool) error {
	if err := s.open(ctx); err != nil {
		s.close()
		if ctx.Err() != nil {
			return nil // stopped while it waited for brokers
		}
		return fmt.Errorf("millstream: start %q: %w", s.cfg.ApplicationID, err)
	}
	s.app.setSession(s)
	close(s.ready)
	ended := s.start(ctx, toEnd)
	select {
	case <-ctx.Done():
	case <-ended:
	case <-s.failed:
	}
	s.stop()
	s.close()
	select {
	case <-s.failed:
		if s.died.Load() {
			return crashpoint.Dead
		}
		return fmt.Errorf("millstream: %q stopped: %w", s.cfg.ApplicationID, s.err)
	default:
		return nil
	}
}

// start starts the goroutines. The channel is closed when RunToEnd has come to the end.
func (s *session) start(ctx context.Context, toEnd bool) (ended chan struct{}) {
	ended = make(chan struct{})
	s.background(func() { s.manager.loop(s.ctx) })
	s.background(func() { s.app.drops.run(s.ctx) })
	s.background(func() { s.purge.run(s.ctx, s.group.Plan) })
	s.background(func() { s.watch(s.ctx) })
	s.background(func() { s.stores.closeIdle(s.ctx) })
	for _, w := range s.workers {
		s.bg.Go(func() {
			if err := w.Run(); err != nil {
				s.fail(err)
			}
		})
	}
	s.manager.grouped = make(chan struct{})
	s.bg.Go(func() {
		defer close(s.manager.grouped)
		if err := s.group.Run(s.ctx); err != nil && s.ctx.Err() == nil {
			s.fail(err)
		}
	})
	if toEnd {
		s.background(func() {
			if err := s.toEnd(ctx); err == nil {
				close(ended)
			} else if ctx.Err() == nil && s.ctx.Err() == nil {
				s.fail(err)
			}
		})
	}
	return ended
}

// background runs f, which may pass crash points, on a goroutine that ends with s.ctx.
func (s *session) background(f func()) {
	s.bg.Go(func() {
		defer crashpoint.Catch(s.die)
		f()
	})
}

var (
	errStopTimeout = errors.New("the graceful stop took longer than Config.StopTimeout: what was not settled will be processed again")
	errStopped     = errors.New("the App has stopped")
)

// stop settles everything and leaves the group, within the time that the configuration gives it.
func (s *session) stop() {
	s.app.setState(Stopping)
	limit := time.AfterFunc(s.cfg.StopTimeout, func() {
		s.fail(errStopTimeout)
		s.abort(errStopTimeout)
	})
	defer limit.Stop()
	s.group.Stop() // revokes all tasks, which settles them, and leaves
	<-s.manager.grouped
	for _, w := range s.workers {
		w.Stop()
	}
	for _, w := range s.workers {
		select {
		case <-w.Done():
		case <-s.ctx.Done(): // it may be in a user's function for ever
		}
	}
	if s.ctx.Err() == nil {
		s.settledAll()
	}
}

func (s *session) settledAll() {
	defer crashpoint.Catch(s.die)
	s.hook.At(crashpoint.StopSettled)
}

// close ends what is left. After a graceful stop that is little; after an abort the goroutines end because s.ctx has.
func (s *session) close() {
	aborted := s.ctx.Err() != nil
	s.abort(errStopped)
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
	if !s.ended(aborted) {
		// A user's function does not return. Its worker may read a store when it does: a file that is unmapped by then would
		// end the process.
		s.cfg.Logger.Error("millstream: a worker does not end; its stores stay open", "application", s.cfg.ApplicationID)
		return
	}
	if s.group != nil {
		s.app.keepStats(s)
	}
	if s.stores != nil {
		if err := s.stores.dir.Close(!aborted); err != nil {
			s.fail(err)
		}
	}
}

// grace is how long goroutines may take to end after an abort.
const grace = 5 * time.Second

// ended waits until the goroutines have ended; after an abort not for ever.
func (s *session) ended(aborted bool) bool {
	if !aborted {
		s.bg.Wait()
		return true
	}
	all := make(chan struct{})
	go func() {
		s.bg.Wait()
		close(all)
	}()
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-all:
		return true
	case <-t.C:
		return false
	}
}

// partitions knows how many partitions topics have.
type partitions struct {
	ctx   context.Context
	admin kafka.Admin

	mu    sync.Mutex // not held while asking
	known map[string]counted
}

type counted struct {
	n  int
	at time.Time
}

// countsLast is how long a count is believed: a topic may be given more partitions.
const countsLast = time.Minute

func newPartitions(ctx context.Context, admin kafka.Admin, plan *topics.Plan) *partitions {
	p := &partitions{ctx: ctx, admin: admin, known: map[string]counted{}}
	for name, info := range plan.Topics {
		p.known[name] = counted{info.Partitions, time.Now()}
	}
	return p
}

// of returns the count of a topic. It asks the cluster when it does not know, on the caller's goroutine at the first time, else beside it.
func (p *partitions) of(topic string) (int, error) {
	p.mu.Lock()
	c, ok := p.known[topic]
	old := ok && time.Since(c.at) > countsLast
	if old {
		c.at = time.Now() // one look at a time
		p.known[topic] = c
	}
	p.mu.Unlock()
	if old {
		go func() { _, _ = p.ask(topic) }()
	}
	if ok {
		return c.n, nil
	}
	return p.ask(topic)
}

func (p *partitions) ask(topic string) (n int, err error) {
	err = worker.Persist(p.ctx, func() error {
		found, err := p.admin.Topics(p.ctx, topic)
		n = found[topic].Partitions
		return err
	})
	if err == nil && n == 0 {
		err = fmt.Errorf("topic %q: %w", topic, kafka.ErrUnknownTopic)
	}
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[topic] = counted{n, time.Now()}
	return n, nil
}
