package millstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/topology"
)

// App runs a topology as one member of a group of equals. Its methods may be called from any goroutine.
type App struct {
	cfg Config
	g   *graph.Graph

	state   atomic.Int32 // a State; changed under mu
	started atomic.Bool
	drops   *drops
	stats   counters
	waiting atomic.Pointer[error] // why the start waits
	panics  atomic.Pointer[error] // the first panic of one of Events

	mu      sync.Mutex // guards what follows; never held while waiting
	session *session   // nil before Run and after it
	failure error      // what Run returned, or is about to
}

// New returns an App that will run top. The error has every mistake of the configuration, one a line.
func New(top *topology.Topology, cfg Config) (*App, error) {
	var errs []error
	if top == nil {
		errs = append(errs, errors.New("the topology is nil"))
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, cfg.check()...)
	for _, p := range []struct {
		field  string
		policy failure.Policy
	}{{"OnDecodeError", cfg.OnDecodeError}, {"OnProcessError", cfg.OnProcessError}, {"OnProduceError", cfg.OnProduceError}} {
		if err := p.policy.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("Config.%s: %w", p.field, err))
		}
	}
	if err := join(errs); err != nil {
		return nil, err
	}
	a := &App{cfg: cfg, g: top.Graph()}
	a.cfg.Events = cfg.Events.guarded(a.panicked)
	a.drops = newDrops(a.cfg.Events.Dropped)
	return a, nil
}

// ErrRunning is returned by Run and RunToEnd when the App has been run already: an App runs once.
var ErrRunning = errors.New("millstream: an App runs once; make another one with New")

// Run runs the App until ctx ends, and then stops it gracefully: everything that was processed is committed, the stores are
// written and closed, the group is left, within Config.StopTimeout. It returns nil then. It returns an error when the App cannot go
// on: a record that fails under the policy Stop, a user's function that panics, topics that do not fit, a state directory that
// another process owns. Everything that was processed before is committed in that case too.
//
// Brokers that are away are no error: Run waits for them, and Ready says so.
func (a *App) Run(ctx context.Context) error { return a.run(ctx, false) }

// RunToEnd runs the App until it has processed its inputs up to where they ended when it started, and everything that it makes
// of them in its own intermediate topics; then it stops as Run does. There is no idle timer: the ends of external topics are fixed
// at the start, and that of an intermediate topic when those who write it have committed past the ends of their own inputs. If the
// group has several members, each waits until all partitions are done, whoever has them. Global stores have what their topics held at
// the start, and what has come since.
func (a *App) RunToEnd(ctx context.Context) error { return a.run(ctx, true) }

// State returns where the App is in its life.
func (a *App) State() State { return State(a.state.Load()) }

// setState goes to another state, unless the App is past it.
func (a *App) setState(next State) {
	a.mu.Lock()
	old := State(a.state.Load())
	back := (next == Restoring || next == Running) && old > Running || next == Stopping && old > Stopping
	if old == next || back {
		a.mu.Unlock()
		return
	}
	a.state.Store(int32(next))
	a.mu.Unlock()
	a.cfg.Logger.Info("millstream: state", "application", a.cfg.ApplicationID, "old", old, "new", next)
	if f := a.cfg.Events.State; f != nil {
		f(old, next)
	}
}

// current returns the session of a run under way, nil when there is none.
func (a *App) current() *session {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session
}

func (a *App) setSession(s *session) {
	a.mu.Lock()
	a.session = s
	a.mu.Unlock()
}

// setFailure keeps the first error that ends the App.
func (a *App) setFailure(err error) {
	a.mu.Lock()
	if a.failure == nil {
		a.failure = err
	}
	a.mu.Unlock()
}

// panicked ends the App because one of Events panicked.
func (a *App) panicked(err error) {
	if a.State() >= Stopped { // Run has its result
		a.cfg.Logger.Error("millstream: a panic after the end", "application", a.cfg.ApplicationID, "error", err)
		return
	}
	a.panics.CompareAndSwap(nil, &err)
	if s := a.current(); s != nil {
		s.fail(err)
	}
}

// Format prints the application's id and its state, whatever the verb: some verbs would show the secrets in the configuration.
func (a *App) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "millstream.App(%q, %v)", a.cfg.ApplicationID, a.State())
}
