package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/topics"
)

// loopState is the state of Run. Only its goroutine uses it.
type loopState struct {
	member             string
	abandoned          []string // ids that leave the group when the next join begins
	assignedGeneration int32    // in which owned was assigned, -1: none
	currentGeneration  int32    // of the last join that ended
	owned              map[graph.TaskID]topics.Task

	revoking []graph.TaskID  // tasks of owned that are being settled
	reassign []topics.Task   // tasks of revoking that are assigned again, with other inputs
	settled  <-chan struct{} // closed when revoking are settled; nil: no revocation is under way
	dropped  <-chan struct{} // closed when the tasks of a lost membership are dropped; nil: none are being dropped

	call         *call       // the request under way; nil: none
	rejoinReason string      // why to join; empty: no join is wanted
	round        uint64      // counts joins
	retryTimer   *time.Timer // until it fires no call is started, because the last one failed; nil: no pause
	backoff      time.Duration

	otherProtocolSince time.Time // since when members of another protocol refuse this one; zero: they do not

	leaving []graph.TaskID // standbys that the member has only until others have caught up

	loggedExcluded string // the last log text about subtopologies that are not run
	reported       bool   // the handler knows the member's tasks, or that it has none
	stopping       bool
	fatal          error // the error for which it stops; nil: Stop was called
}

const (
	minBackoff   = 100 * time.Millisecond
	maxBackoff   = 2 * time.Second
	leaveTimeout = 5 * time.Second
)

func (g *Group) run(ctx context.Context) error {
	g.state = loopState{
		assignedGeneration: -1, owned: map[graph.TaskID]topics.Task{}, rejoinReason: reasonStart, backoff: minBackoff,
	}
	heartbeatCtx, stopHeartbeats := context.WithCancel(ctx)
	heartbeatsDone := make(chan struct{})
	go func() {
		defer close(heartbeatsDone)
		g.runHeartbeats(heartbeatCtx)
	}()
	err := g.handleEvents(ctx)
	g.cancelCall()
	stopHeartbeats()
	<-heartbeatsDone
	members := g.leavers()
	// Before leaving: from the moment the coordinator knows, others run the tasks, and nothing may be
	// sent for them here.
	g.clearMembership()
	g.leave(members, err)
	return err
}

// handleEvents handles events until Run has a reason to end.
func (g *Group) handleEvents(ctx context.Context) error {
	state := &g.state
	refresh := time.NewTicker(g.cfg.RefreshInterval)
	defer refresh.Stop()
	stop := g.stop
	var settleLimit <-chan time.Time // ends the settling after a fatal error
	for {
		if state.stopping && len(state.owned) == 0 && state.settled == nil && state.dropped == nil {
			return state.fatal
		}
		g.joinIfWanted(ctx)
		var err error
		select {
		// The caller has stopped whatever sends for the tasks. The group is left without settling.
		case <-ctx.Done():
			return ctx.Err()
		// Stop was called. All tasks are settled first; the member stays in the group until then.
		case <-stop:
			stop = nil // closed for ever: it would be chosen again and again
			state.stopping = true
			g.revokeAll()
		// Revoked tasks are settled and closed. Others may get them with the next join.
		case <-state.settled:
			g.handleSettled()
		// The tasks of a lost membership are dropped. Only now may the App join again (invariant 4).
		case <-state.dropped:
			state.dropped = nil
		// A heartbeat was answered, or failed: REBALANCE_IN_PROGRESS and ILLEGAL_GENERATION lead to a join,
		// UNKNOWN_MEMBER_ID and FENCED_INSTANCE_ID to a loss.
		case result := <-g.heartbeatResults:
			err = g.handleHeartbeat(result)
		// A worker's commit got UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID. It counts only for the present
		// member id: the answer to a commit of an earlier one may arrive late.
		case refused := <-g.maybeUnknown:
			if refused.as.Member == state.member && state.member != "" {
				err = g.memberRefused(fmt.Sprintf("a commit was refused: %v", refused.err), refused.err)
			}
		// Rejoin was called.
		case reason := <-g.rejoins:
			state.requestRejoin(reason)
		// The pause after a failed join is over: joinIfWanted may try again.
		case <-state.retryDue():
			state.retryTimer = nil
		// JoinGroup was answered. Commits and heartbeats use the new generation from here on, before
		// SyncGroup.
		case joined := <-state.call.whenJoined():
			g.handleJoined(joined)
		// SyncGroup was answered, or a request failed, or the topics were refreshed.
		case outcome := <-state.call.whenDone():
			err = g.handleOutcome(outcome)
		// Only the leader looks for new topics and partitions: it alone assigns them.
		case <-refresh.C:
			if state.idle() && g.leader.Load() {
				g.startRefresh(ctx)
				if g.lagUnknown.Swap(false) {
					state.requestRejoin(reasonLag)
				}
			}
		// After a fatal error the handler had as long to settle as in a rebalance.
		case <-settleLimit:
			return state.fatal
		}
		// An error that no retry cures. The processed records can still be committed, so the tasks are
		// settled before the group is left: leaving at once let others start them while workers were
		// still sending.
		if err != nil && state.fatal == nil {
			state.fatal, state.stopping, settleLimit = err, true, time.After(g.cfg.RebalanceTimeout)
			g.setHealth(err)
			g.revokeAll()
		}
	}
}

func (l *loopState) retryDue() <-chan time.Time {
	if l.retryTimer == nil {
		return nil
	}
	return l.retryTimer.C
}

// idle reports whether a call may start. It may not before revoked tasks are settled (invariant 2)
// and lost ones are dropped (invariant 4).
func (l *loopState) idle() bool {
	return l.call == nil && l.settled == nil && l.dropped == nil && l.retryTimer == nil && !l.stopping
}

// requestRejoin asks for a join. One that is under way does not count: it may have been answered
// before the event for which this one is requested.
func (l *loopState) requestRejoin(reason string) {
	if l.rejoinReason == "" {
		l.rejoinReason = reason
	}
}

// joinIfWanted starts a join if one is requested and no other event must come first.
func (g *Group) joinIfWanted(ctx context.Context) {
	if g.state.rejoinReason != "" && g.state.idle() {
		g.startJoin(ctx)
	}
}

// handleHeartbeat acts on the answer to a heartbeat. A non-nil error is fatal.
func (g *Group) handleHeartbeat(result heartbeatResult) error {
	state := &g.state
	if result.as != g.identity.Load() {
		return nil // the heartbeat was sent in an earlier generation
	}
	switch {
	// No error: healthy, unless a join or a fatal error has set another reason.
	case result.err == nil:
		if state.call == nil && state.retryTimer == nil && state.fatal == nil {
			g.setHealth(nil)
		}
	// REBALANCE_IN_PROGRESS: the coordinator waits for this member to join. When it is joining
	// already, the answer was sent before the join arrived.
	case errors.Is(result.err, kafka.ErrRebalanceInProgress):
		if !state.call.joining() {
			state.requestRejoin(reasonGroup)
		}
	// ILLEGAL_GENERATION: a rebalance ended without this member. Its next join brings it back.
	case errors.Is(result.err, kafka.ErrIllegalGeneration):
		if !state.call.joining() {
			state.requestRejoin(reasonGeneration)
		}
	// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID: the session has ended, or another process has taken the
	// place. Others run the tasks, or will.
	case errors.Is(result.err, kafka.ErrUnknownMember), errors.Is(result.err, kafka.ErrFencedInstance):
		return g.memberRefused(result.err.Error(), result.err)
	// No answer, or one that says nothing about the membership, as while the coordinator moves.
	// Heartbeats are repeated; Allowed stops the sending when that lasts as long as a session.
	default:
		g.setHealth(result.err)
	}
	return nil
}

// handleJoined is called when JoinGroup is answered. Heartbeats and commits use the new generation
// from here on, before the leader has assigned anything. That is safe, because the leader gives
// what a member claimed in its join to nobody else in this generation. With the generation
// published only after SyncGroup, this happened:
//
//	SyncGroup fails -> commits in the old generation are refused until the next join ends -> that takes as long as the
//	others need to hear of it
func (g *Group) handleJoined(join joinResult) {
	state := &g.state
	if state.call.obsolete {
		return
	}
	state.member = join.response.MemberID
	// Only the leader knows whether partitions cannot be read. What an earlier leader found is cleared.
	if leader := join.response.LeaderID == join.response.MemberID; !g.leader.Swap(leader) || !leader {
		g.unreadPartitions.Store(nil)
	}
	// A join that was answered proves the session as a heartbeat does, from when it was sent.
	if last := g.lastHeartbeat.Load(); last == nil || last.member != state.member || last.sent.Before(join.sent) {
		g.lastHeartbeat.Store(&heartbeat{state.member, join.sent})
	}
	g.identity.Store(&identity{state.member, join.response.Generation})
	g.heartbeatNow()
	if state.currentGeneration = join.response.Generation; state.assignedGeneration >= 0 {
		g.publish()
	}
}

// handleOutcome handles the end of a call. A non-nil error is fatal.
func (g *Group) handleOutcome(out outcome) error {
	state := &g.state
	finished := state.call
	// Both channels were ready and the select chose this one: the join comes first all the same.
	select {
	case join := <-finished.joined:
		g.handleJoined(join)
	default:
	}
	state.call = nil
	finished.cancel()
	if finished.refresh {
		return g.handleRefresh(out)
	}
	// The membership was lost while the call was under way. The assignment is not applied, and the id that the
	// coordinator gave this App, if it did, is left: otherwise it would wait for a member that nobody is.
	if finished.obsolete {
		g.abandon(out.member)
		state.requestRejoin(reasonLost)
		return nil
	}
	if out.err != nil {
		return g.handleJoinError(out)
	}
	state.backoff = minBackoff
	if !state.otherProtocolSince.IsZero() {
		g.cfg.Logger.Info("millstream: the members of another protocol have left the group",
			"waited", time.Since(state.otherProtocolSince).Round(time.Second))
		state.otherProtocolSince = time.Time{}
	}
	g.setHealth(nil)
	g.applyAssignment(out)
	if out.returned {
		state.requestRejoin(reasonReturned)
	}
	return nil
}

// handleJoinError decides what to do after JoinGroup or SyncGroup has failed. A non-nil error is
// fatal.
func (g *Group) handleJoinError(out outcome) error {
	state := &g.state
	state.requestRejoin(out.reason)
	// If the coordinator knows this App under an id already, the next join uses it, or it leaves the group with it. With
	// another id the coordinator would wait for both members.
	refused := errors.Is(out.err, kafka.ErrUnknownMember) || errors.Is(out.err, kafka.ErrFencedInstance)
	if state.member == "" && !refused {
		state.member = out.member
	}
	switch {
	// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID: the session ended. All tasks are dropped, and the App
	// joins as a new member.
	case refused:
		g.abandon(out.member)
		// The id was given for this join alone, by a coordinator that has been replaced since. Nothing is lost.
		if state.member == "" && !g.static() {
			g.cfg.Logger.Debug("millstream: joining the group failed, and is retried", "error", out.err)
			g.setHealth(out.err)
			g.backOff()
			return nil
		}
		if err := g.memberRefused(out.err.Error(), out.err); err != nil {
			return err
		}
		g.backOff()
		return nil
	// REBALANCE_IN_PROGRESS from SyncGroup: another join began before this one was complete. All
	// members wait for this one, so it joins at once; only if that fails again, with a pause.
	case errors.Is(out.err, kafka.ErrRebalanceInProgress) && state.backoff == minBackoff:
		state.backoff *= 2
		return nil
	// INCONSISTENT_GROUP_PROTOCOL: clients of another kind are in the group.
	case errors.Is(out.err, kafka.ErrInconsistentProtocol):
		return g.waitForOtherProtocol(out)
	// INVALID_SESSION_TIMEOUT: the bounds are the brokers' settings, which a client is not told.
	case errors.Is(out.err, kafka.ErrSessionTimeout):
		return fmt.Errorf("Config.SessionTimeout is %v, which the brokers do not accept: set one between their settings "+
			"group.min.session.timeout.ms (6s by default) and group.max.session.timeout.ms (30m by default): %w",
			g.cfg.SessionTimeout, out.err)
	// GROUP_AUTHORIZATION_FAILED, INVALID_GROUP_ID, or topics that do not fit the topology: no retry
	// cures these.
	case permanent(out.err):
		return out.err
	}
	// All other errors pass: no answer, the coordinator moves or loads, ILLEGAL_GENERATION.
	// A broker that restarts is no reason for a warning. The client itself warns when no broker answers.
	if errors.Is(out.err, kafka.ErrNoAnswer) {
		g.cfg.Logger.Debug("millstream: joining the group failed, and is retried", "error", out.err)
	} else if g.health.Load() == nil {
		g.cfg.Logger.Warn("millstream: joining the group failed, and is retried", "error", out.err)
	}
	g.setHealth(out.err)
	g.backOff()
	return nil
}

func (g *Group) backOff() {
	g.state.retryTimer = time.NewTimer(g.state.backoff)
	g.state.backoff = min(2*g.state.backoff, maxBackoff)
}

// permanent reports whether no retry can cure an error of joining or deploying.
func permanent(err error) bool {
	return errors.Is(err, kafka.ErrNotAuthorized) || errors.Is(err, kafka.ErrInvalidGroup) ||
		errors.Is(err, topics.ErrInvalid)
}

// publish makes the state of the loop visible to other goroutines, as a new Membership.
func (g *Group) publish() {
	state := &g.state
	membership := &Membership{Generation: -1, superseded: make(chan struct{}), owned: map[graph.TaskID]struct{}{}}
	if state.assignedGeneration >= 0 {
		membership.Member, membership.Generation = state.member, state.currentGeneration
	}
	for id := range state.owned {
		membership.owned[id] = struct{}{}
	}
	close(g.current.Swap(membership).superseded)
}

// cancelCall cancels the call under way and waits for its end. A join may have been answered with a
// member id meanwhile; the group must be left with it.
func (g *Group) cancelCall() {
	state := &g.state
	if state.call == nil {
		return
	}
	state.call.cancel()
	if out := <-state.call.done; out.member != "" && state.member == "" {
		state.member = out.member
	}
	state.call = nil
}

// clearMembership publishes that the App is no member, so that its goroutines send nothing more.
func (g *Group) clearMembership() {
	state := &g.state
	state.member, state.assignedGeneration = "", -1
	clear(state.owned)
	g.identity.Store(nil)
	g.lastHeartbeat.Store(nil)
	g.leader.Store(false)
	g.publish()
}

// leaveDeadline returns until when LeaveGroup is attempted.
func (g *Group) leaveDeadline() time.Time {
	by := time.Now().Add(leaveTimeout)
	select {
	case <-g.stop:
		if !g.stopDeadline.IsZero() && g.stopDeadline.Before(by) {
			return g.stopDeadline
		}
	default:
	}
	return by
}

// leavers returns the member ids that a coordinator may have.
func (g *Group) leavers() []string {
	members := slices.Clone(g.state.abandoned)
	for _, id := range g.abandoned.pending() {
		members = append(members, id.member)
	}
	if g.state.member != "" {
		members = append(members, g.state.member)
	}
	return members
}

// leave sends LeaveGroup for each of the ids, so that others need not wait for the end of the session. For a static
// member they are to wait: it may come back.
func (g *Group) leave(members []string, why error) {
	if len(members) == 0 || g.static() {
		return
	}
	reason := "stopped"
	if why != nil {
		reason = "failed"
	}
	ctx, cancel := context.WithDeadline(context.Background(), g.leaveDeadline())
	defer cancel()
	abortOnDone(ctx, g.cfg.Group, func() {
		for _, member := range members {
			err := g.cfg.Group.Leave(ctx, g.cfg.Application, member, reason)
			// The connection was last used by a join, perhaps long ago, and the broker may have restarted
			// since. Without a second attempt, on a new connection, the others waited for the session to end.
			if errors.Is(err, kafka.ErrUnavailable) {
				err = g.cfg.Group.Leave(ctx, g.cfg.Application, member, reason)
			}
			// UNKNOWN_MEMBER_ID: the coordinator has removed the member already, and nobody waits for it.
			if err != nil && !errors.Is(err, kafka.ErrUnknownMember) {
				g.cfg.Logger.Warn("millstream: leaving the group failed", "error", err)
				return
			}
		}
	})
}
