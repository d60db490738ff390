package millstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/instance"
	"github.com/millstream-go/millstream/topology"
)

// App runs a topology as one member of a group of equals. Its methods may be called from any
// goroutine.
type App struct {
	cfg   Config
	graph *graph.Graph

	state    atomic.Int32 // a State; changed under mu
	started  atomic.Bool
	counters *instance.Counters
	pauses   instance.Pauses
	// Nil before it is open, and after the run unless a function of the user has not returned.
	instance   atomic.Pointer[instance.Instance]
	waitReason atomic.Pointer[error]        // why the start waits
	reachable  atomic.Pointer[func() error] // whether a broker answers; nil before there is a client
	eventPanic atomic.Pointer[error]        // the first panic of one of Events
	eventCalls eventCalls
	// stateEventStuck is set when Events.State has not returned from a call at the end of Run.
	stateEventStuck atomic.Bool

	mu      sync.Mutex // guards what follows; never held while waiting
	failure error      // what Run returned, or is about to
}

// New returns an App that will run top. The error has every mistake of the configuration, one a
// line.
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
	}{{"OnDecodeError", cfg.OnDecodeError}, {"OnProcessError", cfg.OnProcessError},
		{"OnProduceError", cfg.OnProduceError}} {
		if err := p.policy.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("Config.%s: %w", p.field, err))
		}
	}
	if err := cfg.OnTaskError.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("Config.OnTaskError: %w", err))
	}
	if err := joinErrors(errs); err != nil {
		return nil, err
	}
	cfg.Tags = maps.Clone(cfg.Tags) // read in each rebalance
	a := &App{cfg: cfg, graph: (*graph.Handle)(top).Graph(), counters: instance.NewCounters()}
	a.cfg.Logger = cfg.Logger.With("application", cfg.ApplicationID)
	a.cfg.Events = cfg.Events.guarded(&a.eventCalls, a.onEventPanic)
	return a, nil
}

// Run runs the App until ctx ends, and then stops it gracefully: everything that was processed is
// committed, the stores are written and closed, the group is left, within Config.StopTimeout. It
// returns nil then. It returns an error when the App cannot go on: a record that fails under the
// policy Stop or a user's function that panics (unless Config.OnTaskError restarts the task), topics
// that do not fit, a state directory that another process uses. Everything that was processed before
// is committed in that case too.
//
// Brokers that do not answer are no error: Run waits for them. When none has answered for 1.5
// seconds, at the start or later, the Logger gets one warning with the addresses and the cause,
// Ready returns the same, and when one answers again the Logger gets one line of level Info. One
// broker that is away while others answer is not warned of, unless the cluster lists it for longer
// than 30 seconds.
//
// A login that is refused, and a certificate that this side or the broker does not accept, end Run
// with an error as long as no broker has accepted the settings of TLS and SASL since Run began: a
// retry would change nothing. Once one has accepted them they are tried again, with the warning
// above: passwords, tokens and certificates are renewed while services run.
func (a *App) Run(ctx context.Context) error { return a.run(ctx, false) }

// RunToEnd runs the App until it has processed its inputs up to where they ended when it started,
// and everything that it makes of them in its own intermediate topics; then it stops as Run does.
// There is no idle timer: the ends of external topics are fixed at the start, and that of an
// intermediate topic when those who write it have committed past the ends of their own inputs. If
// the group has several members, each waits until all partitions are done, whoever has them. Global
// stores have what their topics had at the start, and what has come since.
func (a *App) RunToEnd(ctx context.Context) error { return a.run(ctx, true) }

// State returns where the App is in its life.
func (a *App) State() State { return State(a.state.Load()) }

// setState goes to another state, unless the App is past it.
func (a *App) setState(next State) {
	a.mu.Lock()
	old := State(a.state.Load())
	// Tasks come and go during a stop, too, and the phases that follow from that come too late.
	backward := (next == Restoring || next == Running) && old > Running || next == Stopping && old > Stopping
	if old == next || backward {
		a.mu.Unlock()
		return
	}
	a.state.Store(int32(next))
	a.mu.Unlock()
	if next != Running { // the instance logs what it runs
		a.cfg.Logger.Info("millstream: "+next.String(), "was", old.String())
	}
	a.notifyState(old, next)
}

// setFailure notes the first error that ends the App.
func (a *App) setFailure(err error) {
	a.mu.Lock()
	if a.failure == nil {
		a.failure = err
	}
	a.mu.Unlock()
}

// onEventPanic ends the App because one of Events panicked.
func (a *App) onEventPanic(err error) {
	if a.State() >= Stopped { // Run has its result
		a.cfg.Logger.Error("millstream: a panic after the end", "error", err)
		return
	}
	// Noted first: if there is no instance yet, opened finds it there.
	a.eventPanic.CompareAndSwap(nil, &err)
	if inst := a.current(); inst != nil {
		inst.Fail(err)
	}
}

// Format prints the application's id and its state, whatever the verb: some verbs would show the
// secrets in the configuration.
func (a *App) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "millstream.App(%q, %v)", a.cfg.ApplicationID, a.State())
}
