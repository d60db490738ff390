// Package group makes an App a member of its consumer group, and keeps track of the tasks that are
// assigned to it.
//
// The goroutine of Run has the state and never waits for the network. A second goroutine joins and
// syncs for it, one call at a time. A third sends heartbeats on a connection of its own, also while
// a join waits for the other members. Therefore tasks run on during a rebalance: the coordinator
// answers heartbeats in the old generation as long as it knows the member, which proves the
// session.
//
// Invariants:
//
//  1. A task is in a published Membership from before Assigned until after Revoke has settled, or until just
//     before Lost.
//  2. Revoked tasks settle in the new generation, before the member joins again. No other member gets them
//     earlier.
//  3. A task that stays assigned with the same inputs is not revoked and not reported.
//  4. After Lost the App joins again only when the tasks have been dropped, as a new member without tasks.
package group

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/assign"
	"github.com/millstream-go/millstream/internal/runtime/topics"
)

// Handler handles changes of the assignment. The goroutine of Run calls its methods, which must not
// wait. A returned channel may be nil when there is nothing to wait for.
type Handler interface {
	// Assigned is called with tasks that are the member's from now on. Tasks with changed inputs come
	// here again after Revoke. A member for which there is no task gets one call without tasks.
	Assigned(tasks []topics.Task)
	// Revoke asks the handler to settle and close tasks: to commit what is processed, as the
	// Membership published now. The channel is closed when that is done or has failed; flushes may
	// follow later. Lost may be called in between.
	Revoke(tasks []graph.TaskID) (settled <-chan struct{})
	// Standbys is called after each assignment, behind Assigned, with all standbys that the member is to have then. A
	// standby of a task that is assigned here as well does not begin before the task has ended.
	Standbys(standbys []Standby)
	// Lost is called with tasks that others may run already. The handler drops them without a commit.
	// The channel is closed when no goroutine works on them.
	Lost(tasks []graph.TaskID) (dropped <-chan struct{})
}

// Standby is a task of whose stores the member is to have a copy.
type Standby struct {
	Task topics.Task
	// WarmUp: the task is to move here. Replaces: another member has a standby until this one has caught up. When the lag
	// of its stores is at most AcceptableLag, in offsets, the member asks for a rebalance, in both cases.
	WarmUp, Replaces bool
	AcceptableLag    int64
}

// Config configures a Group.
type Config struct {
	Application string
	// Group and Heartbeats are two roles with a connection each, because a heartbeat must pass while a
	// join waits. Run closes neither.
	Group, Heartbeats kafka.Group
	Deployer          *topics.Deployer   // used by nobody else while Run runs
	Deployment        *topics.Deployment // as Deployer returned it at the start
	Handler           Handler

	// Process is the same for all members that use one state directory.
	Process [16]byte
	// InstanceID is that of the clients of Group and Heartbeats, if the member is static: it does not leave the group, and
	// another process with the same id is an error. Empty: it is not.
	InstanceID string
	// Workers is the weight of the member in the balance of tasks. Defaults to 1.
	Workers int
	// Rack and Tags say where the member runs, for the leader.
	Rack string
	Tags map[string]string
	// Stored returns the tasks with state on disk. The member gets them again where balance allows.
	// Nil: none.
	Stored func() []graph.TaskID
	// Standbys returns the tasks of which the member has standbys, and Positions where the changelogs stand for stores
	// that no running task has. Nil: none.
	Standbys  func() []graph.TaskID
	Positions func() []assign.Position
	// Unneeded is called with stored tasks of which others have the state, after each assignment, and with none before
	// each join. Nil: nobody wants to know.
	Unneeded func([]graph.TaskID)
	// Changelogs looks up where the changelogs of stores begin and end, by store: see assign.Options. Nil: tasks move
	// however far behind the stores of their new member are, and there are no standbys.
	Changelogs func(ctx context.Context, stores []string) (map[string][]assign.LogBounds, error)
	// WantedStandbys is how many standbys each task with state is to have, and AcceptableLag how many offsets a member
	// may be behind that a task moves to. Those of the leader count.
	WantedStandbys int
	AcceptableLag  int64
	// StandbyTags are the keys of tags in which a task and its standbys are to differ. Those of the leader count.
	StandbyTags []string
	// Rebalanced is called after each assignment, before Handler's methods. Nil: nobody wants to know.
	Rebalanced func(Rebalance)
	// Members looks up the members of the group, for error messages. Nil: they are not described.
	Members func(ctx context.Context) ([]kafka.GroupMember, error)

	// SessionTimeout is how long the coordinator waits for a heartbeat. Defaults to 10s.
	SessionTimeout time.Duration
	// HeartbeatInterval is the time between two heartbeats. Defaults to 3s, and to a third of a
	// shorter SessionTimeout.
	HeartbeatInterval time.Duration
	// SessionMargin is how long before the end of the session Allowed returns an error: a request that
	// is sent in time must also arrive in time. Defaults to a fifth of SessionTimeout.
	SessionMargin time.Duration
	// RebalanceTimeout is how long other members wait for this one to settle and join. Defaults to 1m.
	RebalanceTimeout time.Duration
	// RefreshInterval is the time between two refreshes of topics and partitions by the leader.
	// Defaults to 1m.
	RefreshInterval time.Duration
	// Logger is for the log. By default nothing is logged.
	Logger *slog.Logger
}

func (c *Config) setDefaults() {
	orDefault := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	orDefault(&c.SessionTimeout, 10*time.Second)
	orDefault(&c.HeartbeatInterval, min(3*time.Second, c.SessionTimeout/3))
	orDefault(&c.SessionMargin, c.SessionTimeout/5)
	orDefault(&c.RebalanceTimeout, time.Minute)
	orDefault(&c.RefreshInterval, time.Minute)
	c.Workers = max(c.Workers, 1)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// ErrNotMember is returned by Allowed while the App is no member of its group.
var ErrNotMember = errors.New("not a member of the group at present")

// ErrSession is returned by Allowed when the session may have ended.
var ErrSession = errors.New("no heartbeat was answered for so long that the session may have timed out")

// Group is an App's membership in its consumer group. All methods except Run may be called from any
// goroutine and do not wait.
type Group struct {
	cfg Config

	current          atomic.Pointer[Membership] // never nil
	deployment       atomic.Pointer[topics.Deployment]
	identity         atomic.Pointer[identity]  // the member that heartbeats are sent for; nil: none are sent
	lastHeartbeat    atomic.Pointer[heartbeat] // the last one that proved the session
	health           atomic.Pointer[error]
	excluded         atomic.Pointer[error] // why the member gets no task
	unreadPartitions atomic.Pointer[error] // why added partitions are not read; only the leader knows
	leader           atomic.Bool
	fastHeartbeats   atomic.Bool // tasks are moving between members
	lagUnknown       atomic.Bool // the leader could not look up how far members are behind

	stop             chan struct{} // closed by Stop
	stopDeadline     time.Time     // for leaving; written before stop is closed
	stopped          atomic.Bool
	rejoins          chan string   // reasons of Rejoin
	heartbeatWanted  chan struct{} // a heartbeat is to be sent at once
	maybeUnknown     chan refusedCommit
	heartbeatResults chan heartbeatResult
	abandoned        abandonedIDs
	state            loopState // used by the goroutine of Run only
}

// New returns a Group that has not joined yet.
func New(cfg Config) *Group {
	cfg.setDefaults()
	g := &Group{
		cfg: cfg, stop: make(chan struct{}), rejoins: make(chan string, 1), heartbeatWanted: make(chan struct{}, 1),
		maybeUnknown: make(chan refusedCommit, 1), heartbeatResults: make(chan heartbeatResult),
	}
	g.current.Store(&Membership{Generation: -1, superseded: make(chan struct{})})
	g.deployment.Store(cfg.Deployment)
	return g
}

// Run joins the group and stays a member. It returns nil after Stop, ctx's error when ctx ends, and
// any error that no retry cures. All tasks are revoked and settled before it returns, unless ctx
// ends: before ending ctx, the caller must stop whatever sends for the tasks. Run leaves the group
// in each case, so that others run the tasks at once, unless the member is static.
func (g *Group) Run(ctx context.Context) error {
	return g.run(ctx)
}

// Stop makes Run revoke all tasks, leave the group, unless the member is static, and return.
// LeaveGroup is attempted until the deadline at most; the zero time sets none.
func (g *Group) Stop(deadline time.Time) {
	if g.stopped.CompareAndSwap(false, true) {
		g.stopDeadline = deadline
		close(g.stop)
	}
}

// Rejoin requests a rebalance. The coordinator logs the reason.
func (g *Group) Rejoin(reason string) {
	select {
	case g.rejoins <- reason:
	default: // a rebalance is requested already
	}
}

// Membership returns the present membership. Lock-free.
func (g *Group) Membership() *Membership { return g.current.Load() }

// Deployment returns the deployment of the topology as of the last refresh.
func (g *Group) Deployment() *topics.Deployment { return g.deployment.Load() }

// Leader reports whether the member is the group's leader, which assigns the tasks.
func (g *Group) Leader() bool { return g.leader.Load() }

// Healthy returns an error while the coordinator does not answer, while added partitions are not
// read, and while the group excludes this program.
func (g *Group) Healthy() error {
	var errs []error
	for _, p := range []*atomic.Pointer[error]{&g.health, &g.unreadPartitions, &g.excluded} {
		if err := p.Load(); err != nil {
			errs = append(errs, *err)
		}
	}
	return errors.Join(errs...)
}

func (g *Group) setHealth(err error) {
	if err == nil {
		g.health.Store(nil)
		return
	}
	g.health.Store(&err)
}

// Allowed returns nil when the App is certainly still a member: its session lasts for another
// SessionMargin at least. The session is counted from when the last answered heartbeat was sent,
// not from its answer. A process that was frozen for longer than its session gets an error here as
// soon as it thaws, before it hears from the coordinator. Lock-free, for ProduceConfig.Allowed.
func (g *Group) Allowed() error {
	last := g.lastHeartbeat.Load()
	if last == nil || last.member != g.current.Load().Member {
		return ErrNotMember
	}
	limit := g.cfg.SessionTimeout - g.cfg.SessionMargin
	now := time.Now()
	// Both clocks: the monotonic clock may stop while a machine sleeps, and the wall clock may be set
	// back.
	if now.Sub(last.sent) > limit || now.Round(0).Sub(last.sent.Round(0)) > limit {
		return ErrSession
	}
	return nil
}
