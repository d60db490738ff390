package group

import (
	"context"
	"errors"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

// identity is whom heartbeats speak for.
type identity struct {
	member     string
	generation int32
}

// beat is a heartbeat that the coordinator answered as to a member.
type beat struct {
	member string
	at     time.Time // when it was sent
}

type beatResult struct {
	as  *identity
	err error
}

// soonBeat is how soon an unanswered heartbeat is repeated, since the session runs on, and how often one is sent while tasks are
// moving: the next rebalance is near, and a heartbeat is how a member learns of it.
const soonBeat = 250 * time.Millisecond

// heart sends heartbeats until ctx ends.
func (g *Group) heart(ctx context.Context) {
	t := time.NewTimer(g.c.Heartbeat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.nudge:
		case <-t.C:
		}
		t.Reset(g.beat(ctx))
	}
}

// beatNow has a heartbeat sent without waiting for its time.
func (g *Group) beatNow() {
	select {
	case g.nudge <- struct{}{}:
	default:
	}
}

// beat sends one heartbeat, tells the loop what was answered, and returns when the next one is due.
func (g *Group) beat(ctx context.Context) time.Duration {
	as := g.identity.Load()
	if as == nil {
		return g.c.Heartbeat
	}
	sent := time.Now()
	err := g.send(ctx, as)
	// 27 is an answer to a member: the coordinator knows it, and waits for it to join.
	if err == nil || errors.Is(err, kafka.ErrRebalanceInProgress) {
		g.last.Store(&beat{as.member, sent})
	}
	select {
	case g.beats <- beatResult{as, err}:
	case <-ctx.Done():
	}
	if errors.Is(err, kafka.ErrUnavailable) || g.eager.Load() {
		return min(soonBeat, g.c.Heartbeat)
	}
	return g.c.Heartbeat
}

func (g *Group) send(ctx context.Context, as *identity) error {
	ctx, cancel := context.WithTimeout(ctx, g.c.SessionTimeout/3)
	defer cancel()
	// The role may be waiting for a connection that is dead without saying so; only closing it ends that.
	var err error
	aborting(ctx, g.c.Heartbeats, func() {
		err = g.c.Heartbeats.Heartbeat(ctx, g.c.Application, as.member, as.generation)
	})
	if err != nil && ctx.Err() != nil {
		return errors.Join(kafka.ErrUnavailable, err)
	}
	return err
}
