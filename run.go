package millstream

import (
	"context"
	"time"

	"github.com/millstream-go/millstream/internal/runtime/instance"
	"github.com/millstream-go/millstream/internal/runtime/task"
)

// run is Run and RunToEnd.
func (a *App) run(ctx context.Context, toEnd bool) error {
	if !a.started.CompareAndSwap(false, true) {
		return ErrRunning
	}
	a.setState(Starting)
	inst := instance.New(ctx, a.instanceConfig())
	err := inst.Run(ctx, toEnd)
	if inst.Ended() { // otherwise a function of the user may still be running in it, and Live says which
		a.instance.Store(nil)
	}
	if err != nil {
		a.setFailure(err)
		a.setState(Failed)
		return err
	}
	a.setState(Stopped)
	return nil
}

// current returns the instance of a run under way, nil when there is none.
func (a *App) current() *instance.Instance {
	if inst := a.instance.Load(); inst != nil && !inst.Ended() {
		return inst
	}
	return nil
}

func (a *App) instanceConfig() instance.Config {
	c := a.cfg
	return instance.Config{
		Graph: a.graph, ApplicationID: c.ApplicationID, Brokers: c.Brokers,
		StateDir: c.StateDir, Workers: c.Workers, ExactlyOnce: c.Guarantee == ExactlyOnce, CommitInterval: c.CommitInterval,
		SessionTimeout: c.SessionTimeout, HeartbeatInterval: c.HeartbeatInterval, RebalanceTimeout: c.RebalanceTimeout,
		MaxProcessingTime: c.MaxProcessingTime, StopTimeout: c.StopTimeout,
		MemoryBudget: c.MemoryBudget, Standbys: c.Standbys, AcceptableLag: c.AcceptableLag, MaxTaskIdle: c.MaxTaskIdle,
		ReplicationFactor: c.ReplicationFactor, TopicConfig: c.TopicConfig,
		ClientID: c.ClientID, InstanceID: c.InstanceID, Rack: c.Rack, Tags: c.Tags, StandbyTags: c.StandbyTags,
		Compression: c.Compression, TLS: c.TLS, SASL: c.SASL.client, Dialer: c.Dialer,
		Logger:     c.Logger,
		Policies:   task.Policies{Decode: c.OnDecodeError, Process: c.OnProcessError, Produce: c.OnProduceError},
		TaskErrors: c.OnTaskError,
		Observer:   a.observer(), Counters: a.counters, Pauses: &a.pauses,
	}
}

// observer has a run call the App and its Events.
func (a *App) observer() instance.Observer {
	events := a.cfg.Events
	o := instance.Observer{
		Phase:        a.setPhase,
		StartBlocked: a.setWaiting,
		Connected:    func(reachable func() error) { a.reachable.Store(&reachable) },
		Opened:       a.opened,
		StuckEvent:   func(now time.Time, limit time.Duration) error { return a.eventCalls.stuck(now, limit) },
		UserCall:     a.eventCalls.begin,
		Failure:      events.Failure,
		Assigned:     events.Assigned,
	}
	// Functions that the user has not set stay nil, which the instance compares with: a wrapper
	// around nil is not nil.
	if f := events.Restore; f != nil {
		o.Restore = func(r instance.RestoreInfo) { f(RestoreInfo(r)) }
	}
	if f := events.Dropped; f != nil {
		o.Dropped = func(d instance.DropInfo) { f(DropInfo(d)) }
	}
	if f := events.Damaged; f != nil {
		o.Damaged = func(d instance.DamageInfo) { f(DamageInfo(d)) }
	}
	if f := events.Standby; f != nil {
		o.Standby = func(u instance.StandbyUpdate) { f(standbyUpdate(u)) }
	}
	if f := events.Commit; f != nil {
		o.Commit = func(c instance.CommitInfo) { f(CommitInfo(c)) }
	}
	if f := events.Rebalance; f != nil {
		o.Rebalance = func(r instance.RebalanceInfo) { f(RebalanceInfo(r)) }
	}
	if f := events.TaskRestart; f != nil {
		o.Restart = func(r instance.TaskRestartInfo) { f(TaskRestartInfo(r)) }
	}
	return o
}

func (a *App) opened(inst *instance.Instance) {
	a.instance.Store(inst)
	if err := a.eventPanic.Load(); err != nil { // when it panicked there was no instance to fail
		inst.Fail(*err)
	}
}

var stateOf = [...]State{instance.Restoring: Restoring, instance.Running: Running, instance.Stopping: Stopping}

// setPhase goes to the state of a phase, and reports whether the App is in it then.
func (a *App) setPhase(phase instance.Phase) bool {
	a.setState(stateOf[phase])
	return a.State() == stateOf[phase]
}
