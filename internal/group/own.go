package group

import (
	"fmt"
	"maps"
	"slices"

	"github.com/millstream-go/millstream/internal/assign"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/topics"
)

// adopt makes the assignment of a completed sync ours.
func (g *Group) adopt(o outcome) {
	l := &g.l
	l.generation = o.generation
	if g.eager.Store(o.moving > 0); o.moving > 0 {
		g.beatNow()
	}
	if l.stopping { // nothing new; what is being settled needs the new generation
		g.publish()
		return
	}
	var added []topics.Task
	var revoke []graph.TaskID
	for id, t := range l.owned {
		switch next, ok := o.tasks[id]; {
		case !ok:
			revoke = append(revoke, id)
		case !slices.Equal(t.Inputs, next.Inputs):
			revoke = append(revoke, id)
			l.reopen = append(l.reopen, next)
		}
	}
	for id, t := range o.tasks {
		if _, ok := l.owned[id]; !ok {
			added = append(added, t)
			l.owned[id] = t
		}
	}
	g.publish()
	g.c.Logger.Info("assigned", "group", g.c.Application, "generation", o.generation, "tasks", len(o.tasks), "new", len(added),
		"revoked", len(revoke), "moving", o.moving)
	if len(l.owned) == 0 && !l.told && o.moving == 0 {
		l.told = true
		g.c.Handler.Assigned(nil)
	}
	g.assigned(added)
	g.revoke(revoke)
}

func (g *Group) assigned(tasks []topics.Task) {
	if len(tasks) == 0 {
		return
	}
	g.l.told = true
	slices.SortFunc(tasks, func(a, b topics.Task) int { return compareTasks(a.ID, b.ID) })
	g.c.Handler.Assigned(tasks)
}

// revoke begins to settle tasks.
func (g *Group) revoke(tasks []graph.TaskID) {
	l := &g.l
	if len(tasks) == 0 {
		return
	}
	assign.SortTasks(tasks)
	l.revoking = tasks
	if l.settled = g.c.Handler.Revoke(tasks); l.settled == nil {
		g.afterSettled()
	}
}

// revokeRest revokes what is not being revoked, to stop.
func (g *Group) revokeRest() {
	l := &g.l
	l.reopen = nil
	if l.settled != nil || l.dropped != nil {
		return // goes on when that is done
	}
	g.revoke(slices.Collect(maps.Keys(l.owned)))
}

// afterSettled frees tasks that are settled and closed: only now may the member join again and so let others have them.
func (g *Group) afterSettled() {
	l := &g.l
	for _, id := range l.revoking {
		delete(l.owned, id)
	}
	gone := len(l.revoking) - len(l.reopen)
	again := l.reopen
	l.settled, l.revoking, l.reopen = nil, nil, nil
	for _, t := range again {
		l.owned[t.ID] = t
	}
	g.publish()
	if l.stopping {
		g.revokeRest()
		return
	}
	g.assigned(again)
	if gone > 0 {
		l.wish(fmt.Sprintf("gave up %d tasks", gone))
	}
}

// lose gives up all tasks: the coordinator does not know the member.
func (g *Group) lose(why string) {
	l := &g.l
	g.c.Logger.Warn("lost the membership", "group", g.c.Application, "member", l.member, "tasks", len(l.owned), "why", why)
	tasks := slices.Collect(maps.Keys(l.owned))
	assign.SortTasks(tasks)
	l.settled, l.revoking, l.reopen = nil, nil, nil
	g.resign()
	if l.call != nil && !l.call.refresh {
		l.call.stale = true
		l.call.cancel()
	}
	l.wish("lost the membership")
	if len(tasks) > 0 {
		l.dropped = g.c.Handler.Lost(tasks)
	}
}
