package group

import (
	"context"
	"errors"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

// identity is the member id and generation with which heartbeats are sent.
type identity struct {
	member     string
	generation int32
}

// heartbeat is a heartbeat whose answer proves that the coordinator knows the member.
type heartbeat struct {
	member string
	sent   time.Time
}

// heartbeatResult is the answer to a heartbeat.
type heartbeatResult struct {
	as  *identity
	err error
}

// fastInterval is the time until an unanswered heartbeat is repeated, because the session runs on.
// It is also the time between heartbeats while tasks move: the next rebalance is near then, and a
// member learns of it from a heartbeat.
const fastInterval = 250 * time.Millisecond

// runHeartbeats sends heartbeats until ctx ends.
func (g *Group) runHeartbeats(ctx context.Context) {
	timer := time.NewTimer(g.cfg.HeartbeatInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.heartbeatWanted:
		case <-timer.C:
		}
		timer.Reset(g.sendHeartbeat(ctx))
	}
}

// heartbeatNow has a heartbeat sent at once.
func (g *Group) heartbeatNow() {
	select {
	case g.heartbeatWanted <- struct{}{}:
	default:
	}
}

// sendHeartbeat sends one heartbeat, passes the answer to the loop, and returns the time until the
// next one.
func (g *Group) sendHeartbeat(ctx context.Context) time.Duration {
	as := g.identity.Load()
	if as == nil {
		g.sendLeaves(ctx)
		return g.cfg.HeartbeatInterval
	}
	sent := time.Now()
	err := g.requestHeartbeat(ctx, g.cfg.SessionTimeout/3, func(ctx context.Context) error {
		return g.cfg.Heartbeats.Heartbeat(ctx, g.cfg.Application, as.member, as.generation)
	})
	// REBALANCE_IN_PROGRESS is an answer to a member as well: the coordinator knows it, and waits for
	// it to join.
	if err == nil || errors.Is(err, kafka.ErrRebalanceInProgress) {
		g.lastHeartbeat.Store(&heartbeat{as.member, sent})
	}
	select {
	case g.heartbeatResults <- heartbeatResult{as, err}:
	case <-ctx.Done():
	}
	if !errors.Is(err, kafka.ErrUnavailable) {
		g.sendLeaves(ctx)
	}
	if errors.Is(err, kafka.ErrUnavailable) || g.fastHeartbeats.Load() {
		return min(fastInterval, g.cfg.HeartbeatInterval)
	}
	return g.cfg.HeartbeatInterval
}

// requestHeartbeat sends one request on the connection of the heartbeats and waits for its answer until the limit:
// then there is time for another attempt within the session.
func (g *Group) requestHeartbeat(ctx context.Context, limit time.Duration, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// The connection may be dead without an error, as after a cable was pulled. Only closing it ends
	// the request.
	var err error
	abortOnDone(ctx, g.cfg.Heartbeats, func() { err = request(ctx) })
	if err != nil && ctx.Err() != nil {
		return errors.Join(kafka.ErrUnavailable, err)
	}
	return err
}
