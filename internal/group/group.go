// Package group keeps an App a member of its consumer group and says which tasks it owns.
//
// One goroutine, that of Run, holds the state and never waits for the network: a goroutine at a time joins and syncs for it, and one
// sends heartbeats on a connection of its own, also while a join waits for the other members. That is what keeps tasks running
// through a rebalance: the coordinator answers a heartbeat in the old generation as long as it knows the member.
//
// Invariants:
//  1. A task is in a published Membership from before Assigned until after Revoke has settled, or until just before Lost.
//  2. Tasks that are revoked settle at the new generation and before the member joins again: nobody gets them earlier.
//  3. A task that stays assigned with the same inputs is neither revoked nor told anything.
//  4. After Lost the member joins again only when the tasks have been dropped, as a new member that owns nothing.
package group

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/topics"
)

// Handler is told what the member gets and has to give up. Its methods are called by the goroutine of Run and must not wait; the
// channels they return may be nil when there is nothing to wait for.
type Handler interface {
	// Assigned says that tasks are the member's from now on. Tasks whose inputs have changed come back here after a Revoke. A member
	// for which there are none is told so once.
	Assigned(tasks []topics.Task)
	// Revoke asks to settle tasks and close them: commit what is processed at the Membership published now, then stop. The channel is
	// closed when that is done or given up; flushing may follow later. Lost may come in between.
	Revoke(tasks []graph.TaskID) (settled <-chan struct{})
	// Lost says that tasks are not the member's any more: others may run them already. Drop them without a commit. The channel is closed
	// when no goroutine works on them.
	Lost(tasks []graph.TaskID) (dropped <-chan struct{})
}

// Config configures a Group.
type Config struct {
	Application string
	// Group and Heartbeats are two membership roles; a heartbeat has to pass while a join waits on the other. Run closes neither.
	Group, Heartbeats kafka.Group
	Planner           *topics.Planner // the Group's alone while Run runs
	Plan              *topics.Plan    // what Planner found at the start
	Handler           Handler

	// Process is the same for all members that share a state directory.
	Process [16]byte
	// Workers weighs how many tasks the member gets beside others. Defaults to 1.
	Workers int
	Rack    string
	// Stored, when set, returns the tasks of which there is state on disk; they are given back to who has it where balance allows.
	Stored func() []graph.TaskID

	// SessionTimeout is how long the coordinator waits for a heartbeat. Defaults to 10s.
	SessionTimeout time.Duration
	// Heartbeat is how often one is sent. Defaults to 3s, and to a third of a shorter SessionTimeout.
	Heartbeat time.Duration
	// Margin is how long before the end of the session Allowed says no: a request that left in time must arrive in time. Defaults to a
	// fifth of SessionTimeout.
	Margin time.Duration
	// RebalanceTimeout is how long others wait for this member to settle and join. Defaults to 1m.
	RebalanceTimeout time.Duration
	// Refresh is how often the leader looks for new topics and partitions. Defaults to 1m.
	Refresh time.Duration
	// Logger gets what is worth knowing. Defaults to none.
	Logger *slog.Logger
}

func (c *Config) fill() {
	or := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	or(&c.SessionTimeout, 10*time.Second)
	or(&c.Heartbeat, min(3*time.Second, c.SessionTimeout/3))
	or(&c.Margin, c.SessionTimeout/5)
	or(&c.RebalanceTimeout, time.Minute)
	or(&c.Refresh, time.Minute)
	c.Workers = max(c.Workers, 1)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// ErrNotMember is returned by Allowed while the App is no member of its group.
var ErrNotMember = errors.New("not a member of the group at present")

// ErrSession is returned by Allowed when the session may have run out.
var ErrSession = errors.New("no heartbeat was answered for so long that the session may have run out")

// Group is an App's membership. The methods but Run may be called by any goroutine and do not wait.
type Group struct {
	c Config

	current  atomic.Pointer[Membership] // never nil
	plan     atomic.Pointer[topics.Plan]
	identity atomic.Pointer[identity] // whom heartbeats speak for; nil: nobody
	last     atomic.Pointer[beat]     // the last one that was answered well
	health   atomic.Pointer[error]
	leader   atomic.Bool
	eager    atomic.Bool // tasks are moving

	stop    chan struct{} // closed by Stop
	stopped atomic.Bool
	ask     chan string // Rejoin
	nudge   chan struct{}
	suspect chan *Membership
	beats   chan beatResult
	l       loop // owned by Run
}

// New returns a Group that has not joined yet.
func New(c Config) *Group {
	c.fill()
	g := &Group{
		c: c, stop: make(chan struct{}), ask: make(chan string, 1), nudge: make(chan struct{}, 1),
		suspect: make(chan *Membership, 1), beats: make(chan beatResult),
	}
	g.current.Store(&Membership{Generation: -1, superseded: make(chan struct{})})
	g.plan.Store(c.Plan)
	return g
}

// Run joins the group and stays in it until Stop, which it returns nil for, an error that no retry cures, or the end of ctx, whose
// error it returns. Only after Stop have all tasks been revoked and settled; in the other cases the caller has to have stopped whatever
// sends for the tasks before it ends ctx. In any case the group is left, so that others take over at once.
func (g *Group) Run(ctx context.Context) error {
	return g.run(ctx)
}

// Stop makes Run revoke all tasks, leave the group and return.
func (g *Group) Stop() {
	if g.stopped.CompareAndSwap(false, true) {
		close(g.stop)
	}
}

// Rejoin asks for a rebalance and says why.
func (g *Group) Rejoin(reason string) {
	select {
	case g.ask <- reason:
	default: // one is asked for already
	}
}

// Membership returns what the App is at present. Lock-free.
func (g *Group) Membership() *Membership { return g.current.Load() }

// Plan returns what the topology runs as, according to the last look at the topics.
func (g *Group) Plan() *topics.Plan { return g.plan.Load() }

// Leader says whether the member leads the group and assigns its tasks.
func (g *Group) Leader() bool { return g.leader.Load() }

// Healthy returns nil, or why the coordinator cannot be talked to at present.
func (g *Group) Healthy() error {
	if err := g.health.Load(); err != nil {
		return *err
	}
	return nil
}

func (g *Group) setHealth(err error) {
	if err == nil {
		g.health.Store(nil)
		return
	}
	g.health.Store(&err)
}

// Allowed returns nil when whatever is sent now is sent by a member for certain: the session, counted from when the last heartbeat that
// was answered was sent, lasts for another Margin. A process that was frozen for longer and thaws finds an error here before it has
// heard from anybody. Lock-free; fit for ProduceConfig.Allowed.
func (g *Group) Allowed() error {
	b := g.last.Load()
	if b == nil || b.member != g.current.Load().Member {
		return ErrNotMember
	}
	limit := g.c.SessionTimeout - g.c.Margin
	now := time.Now()
	// Both clocks: the monotonic one may stand still while a machine sleeps, the wall clock may be set back.
	if now.Sub(b.at) > limit || now.Round(0).Sub(b.at.Round(0)) > limit {
		return ErrSession
	}
	return nil
}
