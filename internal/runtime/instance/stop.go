package instance

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
)

var (
	errStopTimeout = errors.New("the graceful stop took longer than Config.StopTimeout: what was not committed will be " +
		"processed again")
	errNotEnded = errors.New("a call did not return within Config.StopTimeout: what was not committed will be " +
		"processed again")
	errNotClosed = errors.New("the stores could not be written and closed within Config.StopTimeout: the next start " +
		"restores what is missing")
	errStopped = errors.New("the App has stopped")
)

// abortTimeout is how long goroutines may take to end when nothing is settled any more.
const abortTimeout = 5 * time.Second

// stop settles everything and leaves the group within Config.StopTimeout. A part of that time is
// reserved for what follows when it does not suffice: to leave the group all the same, and to end
// the goroutines.
func (inst *Instance) stop() {
	inst.stopDeadline = time.Now().Add(inst.cfg.StopTimeout)
	inst.stopping.Store(true) // before the phase, so that no event about tasks comes after it
	inst.cfg.Observer.Phase(Stopping)
	reserve := min(inst.cfg.StopTimeout/10, time.Second)
	stopped := make(chan struct{})
	defer close(stopped)
	inst.goroutines.Go(func() { inst.limitStop(max(time.Until(inst.stopDeadline)-reserve, 0), stopped) })
	// The purge begins while this member has its tasks: only their owner knows what has expired in
	// their changelogs.
	purged := inst.finalPurge()
	// A start that still waits for global stores has no group yet, and would not hear of Stop.
	close(inst.globals.stopping)
	// This revokes all tasks, which settles them, and leaves the group then. Leaving first would have
	// others process what is about to be committed.
	inst.group.Stop(inst.stopDeadline.Add(-reserve / 2))
	<-inst.manager.groupDone
	// After the group, which may want standbys until its end. Their stores are free then, and are closed with a flush.
	inst.standbys.Close()
	for _, w := range inst.workers {
		w.Stop()
	}
	for i, w := range inst.workers {
		if inst.watchdog.workerStuck(i) {
			continue
		}
		select {
		case <-w.Done():
		case <-inst.ctx.Done(): // it may be in a user's function for ever
		}
	}
	// After the workers: as long as a task runs it may look something up.
	inst.globals.stop(inst.ctx, inst.watchdog.followerStuck(inst))
	select {
	case <-inst.standbys.Done():
	case <-inst.ctx.Done():
	}
	select {
	case <-purged:
	case <-inst.ctx.Done():
	}
	if inst.ctx.Err() == nil {
		inst.passStopSettled()
	}
}

// limitStop ends a stop that takes longer than limit. The error has to say what the stop waited
// for. A call of a user's function that is the same half-way and at the end is that; calls that
// follow each other are only slow, and the cause may be the brokers.
func (inst *Instance) limitStop(limit time.Duration, stopped <-chan struct{}) {
	timer := time.NewTimer(limit / 2)
	defer timer.Stop()
	// Two ticks, at the half and at the end, of which the first remembers the calls.
	var halfway []userCall
	for range 2 {
		select {
		case <-timer.C:
		case <-stopped:
			return
		}
		if halfway == nil {
			halfway = inst.watchdog.runningCalls()
			timer.Reset(limit - limit/2)
		}
	}
	err := errStopTimeout // no call is the cause: brokers, or a disk
	for _, call := range inst.watchdog.runningCalls() {
		if slices.Contains(halfway, call) {
			err = call.Error(fmt.Errorf("it has not returned, so that %w", err))
			break
		}
	}
	// In this order: the abort makes other goroutines fail, and their errors would only say that.
	inst.Fail(err)
	inst.abort(err)
}

// passStopSettled passes the crash point between the last commit and the closing of the stores.
func (inst *Instance) passStopSettled() {
	defer crashpoint.Catch(inst.crash)
	inst.hook.At(crashpoint.StopSettled)
}

// close ends what is left. After a graceful stop that is little; after an abort the goroutines end
// because inst.ctx has.
func (inst *Instance) close() {
	aborted := inst.ctx.Err() != nil || inst.watchdog != nil && inst.watchdog.anyStuck()
	inst.abort(errStopped)
	// Snapshot may be called at any time, and no goroutine may begin while their end is awaited.
	inst.members.close()
	inst.inputEnds.close()
	for i := len(inst.closers) - 1; i >= 0; i-- {
		inst.closers[i]()
	}
	if !inst.awaitGoroutines() {
		inst.Fail(errNotEnded)
		// A user's function does not return. Its worker may read a store when it does: a file that is
		// unmapped by then would end the process.
		inst.cfg.Logger.Error("millstream: a worker does not end; its stores stay open")
		return
	}
	if inst.globals != nil {
		inst.cfg.Counters.setMeasured(inst.measured()) // before nobody asks the run any more: counts never fall
	}
	inst.ended.Store(true) // reads of stores are refused from here on
	inst.cfg.Counters.removeWorkers()
	if inst.stores != nil {
		inst.closeStores(!aborted)
	}
}

// Ended reports whether all goroutines of the run have ended, so that it can be asked nothing any
// more.
func (inst *Instance) Ended() bool { return inst.ended.Load() }

// closeStores closes the stores, and writes what is settled before that if flush is true. What
// takes longer than there is time for goes on in the background. If the process ends meanwhile, its
// files are as good as after a crash.
func (inst *Instance) closeStores(flush bool) {
	closed := make(chan error, 1)
	go func() {
		closed <- inst.stores.dir.Close(flush)
	}()
	timer := time.NewTimer(inst.timeLeft())
	defer timer.Stop()
	select {
	case err := <-closed:
		if err != nil {
			inst.Fail(err)
		}
	case <-timer.C:
		inst.Fail(errNotClosed)
	}
}

// timeLeft returns how long the rest of a stop may take: until the deadline, and no longer than
// abortTimeout where there is no deadline yet or where a function does not return.
func (inst *Instance) timeLeft() time.Duration {
	left := abortTimeout
	if !inst.stopDeadline.IsZero() {
		left = time.Until(inst.stopDeadline)
		if inst.watchdog.anyStuck() {
			left = min(left, abortTimeout)
		}
	}
	return max(left, time.Millisecond)
}

// awaitGoroutines waits until the goroutines have ended, and reports whether they have.
func (inst *Instance) awaitGoroutines() bool {
	ended := make(chan struct{})
	go func() {
		inst.goroutines.Wait()
		close(ended)
	}()
	timer := time.NewTimer(inst.timeLeft())
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-timer.C:
		return false
	}
}
