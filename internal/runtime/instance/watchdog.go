package instance

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/runtime/global"
	"github.com/millstream-go/millstream/internal/runtime/worker"
)

// watchdog finds functions of the user that do not return. What counts is the record, not the
// round: a worker is stuck when it has been seen at the same step and record for longer than
// Config.MaxProcessingTime.
type watchdog struct {
	limit     time.Duration
	workers   []*watchedCaller
	followers []*watchedCaller
	stuckCall atomic.Pointer[error]
}

// watchedCaller is a worker or a follower: it calls functions of the user.
type watchedCaller struct {
	current  func() (userCall, bool)
	last     userCall
	lastSeen time.Time // when it was seen in last for the first time; zero: it was in no call
	stuck    atomic.Bool
}

// userCall is a call of a function of the user: a worker.UserCall or a global.UserCall. Two that
// are equal were found in the same call.
type userCall interface{ Error(error) error }

// Comparing two of a type that cannot be compared would be a panic on the watchdog's goroutine.
var (
	_ map[worker.UserCall]struct{}
	_ map[global.UserCall]struct{}
)

func newWatchdog(inst *Instance) *watchdog {
	w := &watchdog{limit: inst.cfg.MaxProcessingTime}
	for _, each := range inst.workers {
		w.workers = append(w.workers, &watchedCaller{current: func() (userCall, bool) { return each.UserCall() }})
	}
	for _, f := range inst.globals.followers {
		w.followers = append(w.followers, &watchedCaller{current: func() (userCall, bool) { return f.UserCall() }})
	}
	return w
}

// run ends the run of the instance when a call is stuck. The group is left at once then, so that
// others may run the tasks.
func (w *watchdog) run(ctx context.Context, inst *Instance) {
	ticker := time.NewTicker(max(w.limit/10, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			if err := w.check(now, inst); err != nil {
				w.stuckCall.CompareAndSwap(nil, &err)
				inst.Fail(err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// check abandons the tasks of workers that are stuck, and returns the first call that is.
func (w *watchdog) check(now time.Time, inst *Instance) (first error) {
	for i, caller := range w.workers {
		if caller.stuck.Load() { // it was abandoned before
			continue
		}
		if err := caller.check(now, w.limit); err != nil {
			inst.manager.abandon(i)
			first = cmp.Or(first, err)
		}
	}
	for _, caller := range w.followers {
		if err := caller.check(now, w.limit); err != nil {
			first = cmp.Or(first, err)
		}
	}
	// Last: a worker that is in an event of the App was found by its record, and that error says more.
	return cmp.Or(first, inst.cfg.Observer.StuckEvent(now, w.limit))
}

// check returns an error when the caller has been in one call for longer than limit.
func (c *watchedCaller) check(now time.Time, limit time.Duration) error {
	call, ok := c.current()
	switch {
	case !ok:
		c.lastSeen = time.Time{}
	case c.lastSeen.IsZero() || call != c.last:
		c.last, c.lastSeen = call, now
	case now.Sub(c.lastSeen) > limit:
		c.stuck.Store(true)
		return call.Error(fmt.Errorf("it has not returned for %v, longer than Config.MaxProcessingTime, %v",
			now.Sub(c.lastSeen).Round(time.Second), limit))
	}
	return nil
}

// runningCalls returns the calls that are running.
func (w *watchdog) runningCalls() []userCall {
	calls := []userCall{}
	for _, callers := range [][]*watchedCaller{w.workers, w.followers} {
		for _, caller := range callers {
			if call, ok := caller.current(); ok {
				calls = append(calls, call)
			}
		}
	}
	return calls
}

// err returns what is stuck, nil when nothing is.
func (w *watchdog) err() error {
	if err := w.stuckCall.Load(); err != nil {
		return *err
	}
	return nil
}

// workerStuck reports whether a worker is in a call that does not return.
func (w *watchdog) workerStuck(i int) bool { return w.workers[i].stuck.Load() }

// followerStuck returns what reports the same of a follower.
func (w *watchdog) followerStuck(inst *Instance) func(*global.Follower) bool {
	return func(f *global.Follower) bool {
		for i, other := range inst.globals.followers {
			if other == f {
				return w.followers[i].stuck.Load()
			}
		}
		return false
	}
}

// anyStuck reports whether a call does not return, so that not all goroutines will end.
func (w *watchdog) anyStuck() bool { return w.stuckCall.Load() != nil }
