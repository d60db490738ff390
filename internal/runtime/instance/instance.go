// Package instance is one run of an App: everything that lives from the call of Run to its return.
// It connects to the brokers, makes the topics, joins the group, opens the tasks that the group
// assigns, spreads them over workers, and takes all of that down again.
//
// It knows nothing of the public package above it: that fills in a Config, and hears of what
// happens through an Observer.
package instance

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/group"
	"github.com/millstream-go/millstream/internal/runtime/standby"
	"github.com/millstream-go/millstream/internal/runtime/topics"
	"github.com/millstream-go/millstream/internal/runtime/worker"
)

// Instance is one run of an App.
type Instance struct {
	cfg   Config
	graph *graph.Graph
	hook  crashpoint.Hook
	// ctx outlives the context of Run by the graceful stop. It ends when everything is to be dropped.
	ctx   context.Context
	abort context.CancelCauseFunc

	client         kafka.Client
	admin          kafka.Admin
	offsets        kafka.Offsets
	inputFetcher   kafka.Fetcher
	restoreFetcher kafka.Fetcher
	globalFetcher  kafka.Fetcher  // nil when there are no global stores
	groupClients   [2]kafka.Group // joins and heartbeats do not wait for each other
	closers        []func()       // of what connect has opened; the last one is called first

	stores          *stores
	globals         *globalStores
	deployer        *topics.Deployer
	group           *group.Group
	opener          *worker.Opener
	workers         []*worker.Worker
	partitionCounts *topics.PartitionCounts
	purgeLoop       *topics.PurgeLoop
	drops           *dropCounter
	manager         taskManager
	watchdog        *watchdog
	standbys        *standby.Set
	restores        restoreProgress
	members         members
	inputEnds       inputEnds
	// nextCleanUpRequest is when this member may ask for a rebalance because of files of no use; the goroutine of
	// stores.maintain owns it.
	nextCleanUpRequest time.Time
	abandoned          *abandonedTransactions // nil unless each record is to count exactly once

	taskStates atomic.Pointer[[]taskState]
	stopping   atomic.Bool   // the stop has begun
	ended      atomic.Bool   // all goroutines have ended: nothing can be asked any more
	failed     chan struct{} // closed by Fail
	failOnce   sync.Once
	failure    error // why it failed; read after failed is closed
	crashed    atomic.Bool

	goroutines sync.WaitGroup // they end with ctx
	// stopDeadline is when Run returns at the latest; zero before the stop.
	stopDeadline time.Time
}

// New returns an Instance that has not begun. ctx is the one that Run will get.
func New(ctx context.Context, cfg Config) *Instance {
	inst := &Instance{cfg: cfg, graph: cfg.Graph, hook: crashpoint.From(ctx), failed: make(chan struct{})}
	inst.ctx, inst.abort = context.WithCancelCause(context.WithoutCancel(ctx))
	inst.drops = newDropCounter(cfg.Counters, cfg.Observer.Dropped)
	inst.taskStates.Store(new([]taskState))
	inst.manager.init(inst)
	return inst
}

// Run opens everything and runs it until ctx ends, until something fails, or, with toEnd, until the
// inputs are processed up to where they ended at the start. Then it stops gracefully. A start that
// ctx ends while it waits for brokers is no error.
func (inst *Instance) Run(ctx context.Context, toEnd bool) error {
	if err := inst.open(ctx); err != nil {
		inst.close()
		if ctx.Err() != nil {
			return nil // stopped while it waited for brokers
		}
		return fmt.Errorf("millstream: start %q: %w", inst.cfg.ApplicationID, err)
	}
	inst.cfg.Observer.Opened(inst)
	atEnd := inst.start(ctx, toEnd)
	select {
	case <-ctx.Done():
	case <-atEnd:
	case <-inst.failed:
	}
	inst.stop()
	inst.close()
	select {
	case <-inst.failed: // closing may have failed, too
		if inst.crashed.Load() {
			return crashpoint.Dead
		}
		return fmt.Errorf("millstream: %q stopped: %w", inst.cfg.ApplicationID, inst.failure)
	default:
		return nil
	}
}

// start starts the goroutines. The channel is closed when the inputs are processed to their ends,
// if toEnd asks for that.
func (inst *Instance) start(ctx context.Context, toEnd bool) (atEnd chan struct{}) {
	atEnd = make(chan struct{})
	inst.background(func() { inst.manager.loop(inst.ctx) })
	inst.background(func() { inst.drops.run(inst.ctx) })
	inst.background(func() { inst.logProgress(inst.ctx) })
	inst.background(func() { inst.partitionCounts.Run(inst.ctx) })
	inst.background(func() { inst.purgeLoop.Run(inst.ctx, inst.group.Deployment, inst.runningChangelogs) })
	inst.background(func() { inst.watchdog.run(inst.ctx, inst) })
	inst.nextCleanUpRequest = time.Now().Add(askAfter)
	inst.background(func() { inst.stores.maintain(inst.ctx, inst.cleanUp) })
	inst.background(inst.logUnusedTopics)
	inst.background(func() { inst.standbys.Run(inst.ctx) })
	// Workers catch crash points themselves: Config.Crashed of each is inst.crash.
	for _, w := range inst.workers {
		inst.goroutines.Go(func() {
			if err := w.Run(); err != nil {
				inst.Fail(err)
			}
		})
	}
	for _, f := range inst.globals.followers {
		inst.background(func() { f.Run(inst.ctx) })
	}
	// The group is joined once every global store has reached the end of the start: no task runs
	// before. A member that joined first would be assigned tasks that wait, while other members could
	// have run them.
	inst.manager.groupDone = make(chan struct{})
	inst.goroutines.Go(func() {
		defer close(inst.manager.groupDone)
		if len(inst.globals.followers) > 0 {
			inst.cfg.Observer.Phase(Restoring)
		}
		if !inst.globals.awaitReady(inst.ctx) {
			return
		}
		if err := inst.group.Run(inst.ctx); err != nil && inst.ctx.Err() == nil {
			inst.Fail(err)
		}
	})
	if toEnd {
		inst.background(func() {
			if err := inst.awaitEnds(ctx); err == nil {
				close(atEnd)
			} else if ctx.Err() == nil && inst.ctx.Err() == nil {
				inst.Fail(err)
			}
		})
	}
	return atEnd
}

// background runs f, which may pass crash points, on a goroutine that ends with inst.ctx.
func (inst *Instance) background(f func()) {
	inst.goroutines.Go(func() {
		defer crashpoint.Catch(inst.crash)
		f()
	})
}

// Fail ends the run with err. The first error counts.
func (inst *Instance) Fail(err error) {
	inst.failOnce.Do(func() {
		inst.failure = err
		close(inst.failed)
	})
}

// failing reports whether the run ends because of an error.
func (inst *Instance) failing() bool { return kafka.Closed(inst.failed) }

// crash ends the run as a kill would: nothing is committed or written any more, and the group is
// not left.
func (inst *Instance) crash() {
	inst.crashed.Store(true)
	// Closed before anything else ends, since ending would leave the group: a process that was killed
	// lets its session expire.
	for _, g := range inst.groupClients {
		if g != nil {
			g.Close()
		}
	}
	inst.Fail(crashpoint.Dead)
	inst.abort(crashpoint.Dead)
}
