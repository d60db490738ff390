package millstream

import (
	"errors"
	"fmt"
	"net/http"
)

// Live returns nil while the App is fit to go on: an error when it has failed or stopped, or when a
// call of a user's function has lasted longer than Config.MaxProcessingTime. A process whose App is
// not live should be restarted.
func (a *App) Live() error {
	switch state := a.State(); state {
	case Failed:
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.failure == nil {
			return errors.New("millstream: failed")
		}
		return a.failure
	case Stopped:
		return errors.New("millstream: stopped")
	}
	if inst := a.current(); inst != nil {
		return inst.StuckCall()
	}
	return nil
}

// Ready returns nil when the App processes everything that it is meant to: all its tasks run, its
// brokers answer, its stores can write to disk. It is for load balancers of services that answer
// from their stores, and for rolling upgrades.
func (a *App) Ready() error {
	// First, since it is the cause of much else: a start that waits for brokers, a restore that does
	// not go on.
	if err := a.brokersReachable(); err != nil {
		return fmt.Errorf("millstream: %v: %w", a.State(), err)
	}
	if state := a.State(); state != Running {
		if reason := a.waitReason.Load(); state == Starting && reason != nil && *reason != nil {
			return fmt.Errorf("millstream: %v: %w", state, *reason)
		}
		if inst := a.current(); inst != nil && (state == Restoring || state == Starting) {
			return errors.Join(fmt.Errorf("millstream: %v", state), inst.Healthy())
		}
		if state == Failed { // without its error, whoever asks a probe would have to look for it elsewhere
			return fmt.Errorf("millstream: %v: %w", state, a.Live())
		}
		return fmt.Errorf("millstream: %v", state)
	}
	inst := a.current()
	if inst == nil { // it has ended since State was read
		return errors.New("millstream: stopping")
	}
	return errors.Join(inst.StuckCall(), inst.Healthy())
}

// setWaiting notes why the App cannot start yet, nil when it can. Without that a start that waits
// would look like one that works.
func (a *App) setWaiting(err error) { a.waitReason.Store(&err) }

// brokersReachable returns why no broker answers, as the client has logged it; nil when one does,
// and when the App is not connected.
func (a *App) brokersReachable() error {
	reachable := a.reachable.Load()
	if reachable == nil || a.State() < Starting || a.State() > Stopping {
		return nil
	}
	return (*reachable)()
}

// LiveHandler answers 200 when Live is nil, else 503 with the error.
func (a *App) LiveHandler() http.Handler { return healthHandler(a.Live) }

// ReadyHandler answers 200 when Ready is nil, else 503 with the error.
func (a *App) ReadyHandler() http.Handler { return healthHandler(a.Ready) }

func healthHandler(check func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
}
