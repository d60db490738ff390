package millstream

import (
	"fmt"
	"sync"
	"time"
)

// eventCalls are the calls of Events, and of a DecideTask's function, that have not returned. Those of
// Commit, Failure and Dropped may be on a worker, which knows the record as well; the others are on
// goroutines that nobody else watches. The zero value is ready. Safe for use by several goroutines.
type eventCalls struct {
	mu      sync.Mutex
	lastID  int
	running map[int]eventCall
}

type eventCall struct {
	function string
	started  time.Time
}

// begin notes a call of a function of Config, by its full name. end is to be called when it has returned.
func (c *eventCalls) begin(function string) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		c.running = map[int]eventCall{}
	}
	c.lastID++
	id := c.lastID
	c.running[id] = eventCall{function, time.Now()}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.running, id)
	}
}

// stuck returns an error when the oldest call has not returned for longer than limit.
func (c *eventCalls) stuck(now time.Time, limit time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var oldest eventCall
	for _, call := range c.running {
		if oldest.function == "" || call.started.Before(oldest.started) {
			oldest = call
		}
	}
	if oldest.function == "" || now.Sub(oldest.started) <= limit {
		return nil
	}
	return fmt.Errorf("%s: it has not returned for %v, longer than Config.MaxProcessingTime, %v",
		oldest.function, now.Sub(oldest.started).Round(time.Second), limit)
}

// notifyState calls Events.State. At the end of Run it waits no longer than Config.StopTimeout, and
// does not call it again when it has not returned.
func (a *App) notifyState(old, next State) {
	notify := a.cfg.Events.State
	switch {
	case notify == nil || a.stateEventStuck.Load():
		return
	case next < Stopping: // the watchdog finds it if it does not return
		notify(old, next)
		return
	}
	// The App stops already, so what the watchdog finds ends nothing any more: without a limit of its
	// own, Run would never return.
	done := make(chan struct{})
	go func() {
		defer close(done)
		notify(old, next)
	}()
	timer := time.NewTimer(a.cfg.StopTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		a.stateEventStuck.Store(true)
		err := fmt.Errorf("Config.Events.State: it has not returned for %v, Config.StopTimeout", a.cfg.StopTimeout)
		if inst := a.current(); inst != nil {
			inst.Fail(err)
		} else {
			a.cfg.Logger.Error("millstream: a function does not return", "error", err)
		}
	}
}
