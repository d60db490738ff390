package group

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/topics"
)

// loop is the state of Run. Owned by its goroutine.
type loop struct {
	member     string
	generation int32 // in which owned was assigned, -1: none
	current    int32 // the generation that the coordinator is in, as far as we know
	owned      map[graph.TaskID]topics.Task

	revoking []graph.TaskID // of owned
	reopen   []topics.Task  // revoked for other inputs only, and assigned again then
	settled  <-chan struct{}
	dropped  <-chan struct{}

	call  *call  // what is under way on the network
	want  string // why to join; empty: no wish
	round uint64
	retry *time.Timer // not yet: the last call failed
	pause time.Duration

	told     bool // the handler knows which tasks the member has, be it none
	stopping bool
	fatal    error // why it stops, if not because it was asked to
}

const (
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
	leaveTime  = 5 * time.Second
)

func (g *Group) run(ctx context.Context) error {
	g.l = loop{generation: -1, owned: map[graph.TaskID]topics.Task{}, want: "start", pause: firstPause}
	beating, quiet := context.WithCancel(ctx)
	still := make(chan struct{})
	go func() {
		defer close(still)
		g.heart(beating)
	}()
	err := g.turn(ctx)
	g.hangUp()
	quiet()
	<-still
	member := g.l.member
	g.resign() // before the coordinator lets others take over
	g.leave(member, err)
	return err
}

// turn handles events until there is a reason to end.
func (g *Group) turn(ctx context.Context) error {
	l := &g.l
	refresh := time.NewTicker(g.c.Refresh)
	defer refresh.Stop()
	stop := g.stop
	var limit <-chan time.Time // of settling after a fatal error
	for {
		if l.stopping && len(l.owned) == 0 && l.settled == nil && l.dropped == nil {
			return l.fatal
		}
		g.advance(ctx)
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stop:
			stop = nil
			l.stopping = true
			g.revokeRest()
		case <-l.settled:
			g.afterSettled()
		case <-l.dropped:
			l.dropped = nil
		case b := <-g.beats:
			g.heard(b)
		case m := <-g.suspect:
			if m.Member == l.member && m.Member != "" {
				g.lose("a commit was answered with: unknown member")
			}
		case reason := <-g.ask:
			l.wish(reason)
		case <-l.timer():
			l.retry = nil
		case j := <-l.call.whenJoined():
			g.joined(j)
		case o := <-l.call.whenDone():
			err = g.finished(o)
		case <-refresh.C:
			if l.idle() && g.leader.Load() {
				g.startRefresh(ctx)
			}
		case <-limit:
			return l.fatal
		}
		if err != nil && l.fatal == nil { // what is processed can be settled all the same
			l.fatal, l.stopping, limit = err, true, time.After(g.c.RebalanceTimeout)
			g.setHealth(err)
			g.revokeRest()
		}
	}
}

func (l *loop) timer() <-chan time.Time {
	if l.retry == nil {
		return nil
	}
	return l.retry.C
}

// idle says that nothing is under way that a new call would have to wait for.
func (l *loop) idle() bool {
	return l.call == nil && l.settled == nil && l.dropped == nil && l.retry == nil && !l.stopping
}

// wish notes that a rebalance is wanted. Each wish is a new round, also when one is under way: that one may have been answered before
// what the wish is about.
func (l *loop) wish(reason string) {
	if l.want == "" {
		l.want = reason
	}
}

// advance starts to join when that is wanted and nothing stands in the way (invariants 2 and 4).
func (g *Group) advance(ctx context.Context) {
	if g.l.want != "" && g.l.idle() {
		g.startJoin(ctx)
	}
}

// heard acts on the answer to a heartbeat.
func (g *Group) heard(b beatResult) {
	l := &g.l
	if b.as != g.identity.Load() {
		return // of a generation that is over
	}
	switch {
	case b.err == nil:
		if l.call == nil && l.retry == nil && l.fatal == nil {
			g.setHealth(nil)
		}
	case errors.Is(b.err, kafka.ErrRebalanceInProgress):
		if !l.call.joining() {
			l.wish("the group rebalances")
		}
	case errors.Is(b.err, kafka.ErrIllegalGeneration):
		if !l.call.joining() {
			l.wish("the group has gone on to another generation")
		}
	case errors.Is(b.err, kafka.ErrUnknownMember), errors.Is(b.err, kafka.ErrFencedInstance):
		g.lose("a heartbeat was answered with: " + b.err.Error())
	default:
		g.setHealth(fmt.Errorf("heartbeat: %w", b.err))
	}
}

// joined notes that the coordinator has ended the join: heartbeats and commits go on in the new generation from here, before the leader
// has assigned anything. The member owns in it what it claimed when it joined: the leader gives that to nobody else. Should the sync
// fail, the next join may take as long as others need to hear of it, and commits must not be refused that long.
func (g *Group) joined(j joined) {
	l := &g.l
	if l.call.stale {
		return
	}
	l.member = j.response.MemberID
	g.leader.Store(j.response.LeaderID == j.response.MemberID)
	if b := g.last.Load(); b == nil || b.member != l.member || b.at.Before(j.sent) {
		g.last.Store(&beat{l.member, j.sent})
	}
	g.identity.Store(&identity{l.member, j.response.Generation})
	g.beatNow()
	if l.current = j.response.Generation; l.generation >= 0 {
		g.publish()
	}
}

// finished takes the outcome of a call.
func (g *Group) finished(o outcome) error {
	l := &g.l
	c := l.call
	select {
	case j := <-c.joined: // both were ready
		g.joined(j)
	default:
	}
	l.call = nil
	c.cancel()
	if c.refresh {
		return g.refreshed(o)
	}
	if c.stale { // lost meanwhile; whatever the coordinator calls us now, we own nothing
		if o.member != "" {
			l.member = o.member
		}
		l.wish("lost the membership")
		return nil
	}
	if o.err != nil {
		return g.refused(o)
	}
	l.pause = firstPause
	g.setHealth(nil)
	g.adopt(o)
	return nil
}

// refused says what follows from a join or sync that failed.
func (g *Group) refused(o outcome) error {
	l := &g.l
	l.wish(o.reason)
	switch {
	case errors.Is(o.err, kafka.ErrUnknownMember), errors.Is(o.err, kafka.ErrFencedInstance):
		g.lose("joining was answered with: " + o.err.Error())
		g.backOff()
		return nil
	case errors.Is(o.err, kafka.ErrRebalanceInProgress) && l.pause == firstPause:
		l.pause *= 2
		return nil // at once: the others wait
	case permanent(o.err):
		return fmt.Errorf("join group %q: %w", g.c.Application, o.err)
	}
	if o.member != "" && l.member == "" {
		l.member = o.member // the coordinator knows us by it: the next join need not leave a ghost behind
	}
	if g.Healthy() == nil {
		g.c.Logger.Warn("joining the group failed and is tried again", "group", g.c.Application, "error", o.err)
	}
	g.setHealth(fmt.Errorf("join: %w", o.err))
	g.backOff()
	return nil
}

func (g *Group) backOff() {
	g.l.retry = time.NewTimer(g.l.pause)
	g.l.pause = min(2*g.l.pause, lastPause)
}

func permanent(err error) bool {
	return errors.Is(err, kafka.ErrNotAuthorized) || errors.Is(err, kafka.ErrInconsistentProtocol) ||
		errors.Is(err, kafka.ErrInvalidGroup) || errors.Is(err, topics.ErrInvalid)
}

// publish makes the state of the loop the Membership of all.
func (g *Group) publish() {
	l := &g.l
	m := &Membership{Generation: -1, superseded: make(chan struct{}), owned: map[graph.TaskID]struct{}{}}
	if l.generation >= 0 {
		m.Member, m.Generation = l.member, l.current
	}
	for id := range l.owned {
		m.owned[id] = struct{}{}
	}
	close(g.current.Swap(m).superseded)
}

// hangUp ends what is under way on the network and waits for it.
func (g *Group) hangUp() {
	l := &g.l
	if l.call == nil {
		return
	}
	l.call.cancel()
	if o := <-l.call.done; o.member != "" && l.member == "" {
		l.member = o.member
	}
	l.call = nil
}

// resign makes the App no member in the eyes of its own goroutines.
func (g *Group) resign() {
	l := &g.l
	l.member, l.generation = "", -1
	clear(l.owned)
	g.identity.Store(nil)
	g.last.Store(nil)
	g.leader.Store(false)
	g.publish()
}

// leave tells the coordinator, so that others need not wait for the session to run out.
func (g *Group) leave(member string, why error) {
	if member == "" {
		return
	}
	reason := "stopped"
	if why != nil {
		reason = "failed"
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	aborting(ctx, g.c.Group, func() {
		err := g.c.Group.Leave(ctx, g.c.Application, member, reason)
		if errors.Is(err, kafka.ErrUnavailable) {
			// The connection may date from the last join, and its broker from before a restart.
			err = g.c.Group.Leave(ctx, g.c.Application, member, reason)
		}
		if err != nil && !errors.Is(err, kafka.ErrUnknownMember) { // nobody waits for who is not known
			g.c.Logger.Warn("leaving the group failed", "group", g.c.Application, "error", err)
		}
	})
}
