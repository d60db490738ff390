package group

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

// abandonedIDs are the member ids that this member had and does not use any more, but a coordinator may still have. A
// rebalance waits for a member that does not join until its session ends, or for the whole RebalanceTimeout, so they
// leave the group while the member joins under its new id.
//
// That a coordinator does not know an id is not the last word. One that has just started may have dropped all members
// and not written that; the next one reads the generation before, and has them again:
//
//	broker restarts -> the sessions end before it serves -> "unknown member" -> its partition gets another leader
//	epoch, and the coordinator loads again -> the members of the old generation are back, and nobody joins for them
//
// So an id leaves once more with each heartbeat until an answer says that it was removed, or until a generation that
// the member has synced does not have it.
type abandonedIDs struct {
	mu   sync.Mutex // for the list only; the loop adds, the goroutine of the heartbeats removes
	list []abandonedID
}

type abandonedID struct {
	member string
	until  time.Time // by then a coordinator has removed it by itself
	synced bool      // the member has synced since: if the id is not known now, it does not come back
}

func (a *abandonedIDs) add(members []string, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range members {
		a.list = append(a.list, abandonedID{member: m, until: until})
	}
}

// synced is called when the member is in a generation that is complete.
func (a *abandonedIDs) synced() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.list {
		a.list[i].synced = true
	}
}

// pending returns the ids that are to leave now.
func (a *abandonedIDs) pending() []abandonedID {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.list = slices.DeleteFunc(a.list, func(id abandonedID) bool { return now.After(id.until) })
	return slices.Clone(a.list)
}

func (a *abandonedIDs) remove(member string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = slices.DeleteFunc(a.list, func(id abandonedID) bool { return id.member == member })
}

// abandon gives up a member id. A static member's is not left: its place in the group is that of its instance id, and
// another process may have it.
func (g *Group) abandon(member string) {
	state := &g.state
	if member != "" && !g.static() && !slices.Contains(state.abandoned, member) {
		state.abandoned = append(state.abandoned, member)
	}
}

// leaveAbandoned has the ids that were given up leave the group, beside the join that follows. Not earlier: from the
// moment that the coordinator knows, others run their tasks, which must have been dropped here.
func (g *Group) leaveAbandoned() {
	state := &g.state
	if len(state.abandoned) == 0 {
		return
	}
	g.abandoned.add(state.abandoned, time.Now().Add(g.cfg.RebalanceTimeout+g.cfg.SessionTimeout))
	state.abandoned = nil
	g.heartbeatNow()
}

// sendLeaves sends a LeaveGroup for each abandoned id. It is called by the goroutine of the heartbeats, whose
// connection is free while a join waits.
func (g *Group) sendLeaves(ctx context.Context) {
	for _, id := range g.abandoned.pending() {
		err := g.requestHeartbeat(ctx, g.cfg.SessionTimeout/6, func(ctx context.Context) error {
			return g.cfg.Heartbeats.Leave(ctx, g.cfg.Application, id.member, "it goes on under another member id")
		})
		if err == nil || id.synced && errors.Is(err, kafka.ErrUnknownMember) {
			g.abandoned.remove(id.member)
		}
		// The heartbeat that follows must not wait for more of them.
		if errors.Is(err, kafka.ErrUnavailable) {
			return
		}
	}
}
