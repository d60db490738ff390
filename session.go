package millstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/group"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/topics"
	"github.com/millstream-go/millstream/internal/worker"
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
	follower   kafka.Fetcher // of global topics; nil when there are none
	membership [2]kafka.Group
	closers    []func() // of the roles, last opened first closed

	stores  *stores
	globals *globals
	planner *topics.Planner
	group   *group.Group
	opener  *worker.Opener
	workers []*worker.Worker
	counts  *partitions
	purge   *purge
	manager manager

	tasks  atomic.Pointer[[]TaskInfo]
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
	s := &session{app: a, cfg: a.cfg, hook: crashpoint.From(ctx), failed: make(chan struct{})}
	s.ctx, s.abort = context.WithCancelCause(context.WithoutCancel(ctx))
	s.tasks.Store(new([]TaskInfo))
	s.manager.init(s)
	return s
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
	if err := s.app.panics.Load(); err != nil { // there was no session to fail
		s.fail(*err)
	}
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
	for _, f := range s.globals.followers {
		s.background(func() { f.Run(s.ctx) })
	}
	s.manager.grouped = make(chan struct{})
	s.bg.Go(func() {
		defer close(s.manager.grouped)
		if len(s.globals.followers) > 0 {
			s.app.setState(Restoring)
		}
		if !s.globals.await(s.ctx) {
			return
		}
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
	close(s.globals.stopping) // there may be no group yet
	s.group.Stop()            // revokes all tasks, which settles them, and leaves
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
	s.globals.stop(s.ctx) // no task looks anything up any more
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
