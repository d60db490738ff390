package millstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

// Live returns nil while the App is fit to go on: an error when it has failed or stopped, or when a call of a user's function has
// lasted longer than Config.MaxProcessingTime. A process whose App is not live should be started anew.
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
	if s := a.current(); s != nil {
		return s.stuck()
	}
	return nil
}

// Ready returns nil when the App processes everything that it is meant to: all its tasks run, its brokers answer, its stores can
// write to disk. It is for load balancers of services that answer from their stores, and for rolling upgrades.
func (a *App) Ready() error {
	if state := a.State(); state != Running {
		if why := a.waiting.Load(); state == Starting && why != nil && *why != nil {
			return fmt.Errorf("millstream: %v: %w", state, *why)
		}
		if s := a.current(); s != nil && state == Restoring {
			return errors.Join(fmt.Errorf("millstream: %v", state), s.healthy())
		}
		return fmt.Errorf("millstream: %v", state)
	}
	s := a.current()
	if s == nil {
		return errors.New("millstream: stopping")
	}
	return errors.Join(s.stuck(), s.healthy())
}

// waits notes why the App cannot start yet, nil when it can: a start that waits in silence looks like one that works.
func (a *App) waits(err error) {
	a.waiting.Store(&err)
	if errors.Is(err, kafka.ErrUnavailable) {
		a.cfg.Logger.Warn("millstream: waiting for brokers", "application", a.cfg.ApplicationID, "error", err)
	}
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

// healthy asks brokers and stores.
func (s *session) healthy() error {
	errs := []error{s.group.Healthy(), s.fetcher.Healthy(), s.restorer.Healthy()}
	if s.follower != nil {
		errs = append(errs, s.follower.Healthy())
	}
	for _, w := range s.workers {
		errs = append(errs, w.Healthy())
	}
	return errors.Join(append(errs, s.stores.dir.Healthy())...)
}

// stuck says whether a user's function takes too long.
func (s *session) stuck() error {
	for i, w := range s.workers {
		if since := w.Stats().Since.Load(); since != 0 {
			if d := time.Since(time.Unix(0, since)); d > s.cfg.MaxProcessingTime {
				return fmt.Errorf("worker %d has been processing for %v, longer than Config.MaxProcessingTime, %v", i, d.Round(time.Second), s.cfg.MaxProcessingTime)
			}
		}
	}
	if name, d := s.globals.stuck(s.cfg.MaxProcessingTime); name != "" {
		return fmt.Errorf("the step of %s has been processing for %v, longer than Config.MaxProcessingTime, %v", name, d.Round(time.Second), s.cfg.MaxProcessingTime)
	}
	return nil
}

// watch ends the App when a worker is stuck: the group is left, so that others may take its tasks.
func (s *session) watch(ctx context.Context) {
	t := time.NewTicker(max(s.cfg.MaxProcessingTime/10, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := s.stuck(); err != nil {
				s.fail(err)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
