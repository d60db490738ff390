package group

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/runtime/assign"
	"github.com/millstream-go/millstream/internal/runtime/topics"
)

// applyAssignment applies the assignment of a completed sync: it revokes tasks that are no longer
// the member's and reports new ones.
func (g *Group) applyAssignment(out outcome) {
	state := &g.state
	state.assignedGeneration = out.generation
	g.abandoned.synced()
	// Other members must still release tasks that will move. Their next join is near, and a member
	// learns of it from a heartbeat.
	if g.fastHeartbeats.Store(out.moving > 0); out.moving > 0 {
		g.heartbeatNow()
	}
	// No new tasks when stopping. The tasks that are being settled need the new generation for their
	// commit.
	if state.stopping {
		g.publish()
		return
	}
	g.noteExcluded(out)
	var added []topics.Task
	var revoke []graph.TaskID
	for id, t := range state.owned {
		switch next, ok := out.tasks[id]; {
		// The task goes to another member.
		case !ok:
			revoke = append(revoke, id)
		// The task stays, with other inputs, as when a topic was added. It is closed and opened again.
		case !slices.Equal(t.Inputs, next.Inputs):
			revoke = append(revoke, id)
			state.reassign = append(state.reassign, next)
		}
	}
	for id, t := range out.tasks {
		if _, ok := state.owned[id]; !ok {
			added = append(added, t)
			state.owned[id] = t
		}
	}
	// Before the handler is called: workers commit as what is published (invariant 1).
	g.publish()
	g.cfg.Logger.Info("millstream: assigned", "generation", out.generation, "tasks", len(out.tasks), "new", len(added),
		"revoked", len(revoke), "moving", out.moving)
	if g.cfg.Rebalanced != nil {
		g.cfg.Rebalanced(Rebalance{
			Generation: out.generation, Reason: out.reason, Took: time.Since(out.began), Tasks: len(out.tasks), New: added,
			Revoked: len(revoke),
		})
	}
	// More members than tasks: without this call the App would seem to be starting for ever.
	if len(state.owned) == 0 && !state.reported && out.moving == 0 && !out.returned {
		state.reported = true
		g.cfg.Handler.Assigned(nil)
	}
	g.notifyAssigned(added)
	state.leaving = out.leaving
	g.cfg.Handler.Standbys(out.standbys)
	if g.cfg.Unneeded != nil {
		g.cfg.Unneeded(out.unneeded)
	}
	g.revoke(revoke)
}

// noteExcluded logs when the group runs another program instead of this one. That is normal while a
// new version is rolled out, and passes. But a program of which no other member runs any part, and
// which gets no task, has another program's ApplicationID by mistake: then Healthy returns an
// error.
func (g *Group) noteExcluded(out outcome) {
	state := &g.state
	text := g.describeExcluded(out.excluded)
	if changed := text != state.loggedExcluded; changed && text != "" {
		log := g.cfg.Logger.Info
		if out.alone {
			log = g.cfg.Logger.Warn
		}
		log("millstream: the group runs another program with the same ApplicationID", "tasks", len(out.tasks),
			"not_run", text)
	}
	state.loggedExcluded = text
	if text == "" || !out.alone || len(out.tasks) > 0 {
		g.excluded.Store(nil)
		return
	}
	err := fmt.Errorf("no task: the group %q runs another program, and no other member has this one: %s; "+
		"give this program another ApplicationID, or stop the other one", g.cfg.Application, text)
	g.excluded.Store(&err)
}

// describeExcluded describes the subtopologies that the group does not run, for the user.
func (g *Group) describeExcluded(exclusions []assign.Exclusion) string {
	subs := g.deployment.Load().Subtopologies
	var parts []string
	for _, exclusion := range exclusions {
		if exclusion.Sub >= len(subs) {
			continue
		}
		parts = append(parts, fmt.Sprintf("sub-topology %d (%s) is not run, since %d members run one with %s", exclusion.Sub,
			describeSub(subs[exclusion.Sub].Subtopology), exclusion.Members, describeSub(exclusion.Instead)))
	}
	return strings.Join(parts, "; ")
}

func describeSub(s assign.Subtopology) string {
	text := "topics " + strings.Join(append(slices.Clone(s.Topics), s.Patterns...), ", ")
	if len(s.Stores) > 0 {
		text += ", stores " + strings.Join(s.Stores, ", ")
	}
	return text
}

func (g *Group) notifyAssigned(tasks []topics.Task) {
	if len(tasks) == 0 {
		return
	}
	g.state.reported = true
	slices.SortFunc(tasks, func(a, b topics.Task) int { return a.ID.Compare(b.ID) })
	g.cfg.Handler.Assigned(tasks)
}

// revoke asks the handler to settle and close tasks.
func (g *Group) revoke(tasks []graph.TaskID) {
	state := &g.state
	if len(tasks) == 0 {
		return
	}
	assign.SortTasks(tasks)
	state.revoking = tasks
	if state.settled = g.cfg.Handler.Revoke(tasks); state.settled == nil {
		g.handleSettled()
	}
}

// revokeAll revokes all tasks, in order to stop. While a revocation is under way it does nothing:
// handleSettled calls it again.
func (g *Group) revokeAll() {
	state := &g.state
	state.reassign = nil
	if state.settled != nil || state.dropped != nil {
		return
	}
	g.revoke(slices.Collect(maps.Keys(state.owned)))
}

// handleSettled is called when revoked tasks are settled and closed. Only now may the member join
// again, and the coordinator give them to others (invariant 2).
func (g *Group) handleSettled() {
	state := &g.state
	for _, id := range state.revoking {
		delete(state.owned, id)
	}
	removed := len(state.revoking) - len(state.reassign)
	reassigned := state.reassign
	state.settled, state.revoking, state.reassign = nil, nil, nil
	for _, t := range reassigned {
		state.owned[t.ID] = t
	}
	g.publish()
	if state.stopping {
		g.revokeAll()
		return
	}
	g.notifyAssigned(reassigned)
	// The next generation assigns the removed tasks: the others see from this member's subscription
	// that they are free.
	if removed > 0 {
		state.requestRejoin(reasonReleased)
	}
}

// loseMembership drops all tasks, because the coordinator does not know the member any more. The
// App joins again as a new member once the handler has dropped them (invariant 4).
func (g *Group) loseMembership(why string) {
	state := &g.state
	g.cfg.Logger.Warn("millstream: the group no longer has this member", "member", state.member, "tasks", len(state.owned),
		"reason", why)
	tasks := slices.Collect(maps.Keys(state.owned))
	assign.SortTasks(tasks)
	state.settled, state.revoking, state.reassign = nil, nil, nil
	g.abandon(state.member)
	g.clearMembership() // before Lost, so that no worker commits or sends as the old member
	// A join under way was sent as the old member. Its outcome must not be applied.
	if state.call != nil && !state.call.refresh {
		state.call.obsolete = true
		state.call.cancel()
	}
	state.requestRejoin(reasonLost)
	if len(tasks) > 0 {
		state.dropped = g.cfg.Handler.Lost(tasks)
	}
}
