package group

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/assign"
)

// describeStandbys adds to a subscription what the leader needs to place standbys, and to move tasks.
func (g *Group) describeStandbys(sub *assign.Subscription) {
	if g.cfg.Changelogs == nil {
		return
	}
	sub.Standby = true
	if g.cfg.Standbys != nil {
		sub.Standbys = g.cfg.Standbys()
		for _, id := range sub.Standbys {
			if slices.Contains(g.state.leaving, id) {
				sub.Leaving = append(sub.Leaving, id)
			}
		}
	}
	if g.cfg.Positions != nil {
		sub.Positions = g.cfg.Positions()
	}
}

// assignOptions returns what the leader knows of the changelogs. The whole group waits for it, so the look-up has a
// quarter of a session. What it does not find out is not known, which is not the same as no lag.
func (g *Group) assignOptions(ctx context.Context, members map[string]assign.Subscription) assign.Options {
	o := assign.Options{
		Standbys: g.cfg.WantedStandbys, StandbyTags: g.cfg.StandbyTags, AcceptableLag: g.cfg.AcceptableLag,
	}
	if g.cfg.Changelogs == nil {
		return o
	}
	names := map[string]bool{}
	for _, m := range members {
		for _, s := range m.Subtopologies {
			if len(s.Topics)+len(s.Patterns) == 0 { // a global one
				continue
			}
			for _, store := range s.Stores {
				names[store] = true
			}
		}
	}
	if len(names) == 0 {
		return o
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.SessionTimeout/4)
	defer cancel()
	logs, err := g.cfg.Changelogs(ctx, slices.Sorted(maps.Keys(names)))
	if err != nil {
		log := g.cfg.Logger.Warn
		if errors.Is(err, kafka.ErrNoAnswer) || ctx.Err() != nil {
			log = g.cfg.Logger.Debug // the client itself warns when no broker answers
		}
		log("millstream: the ends of changelogs cannot be looked up: tasks with state stay where they are", "error", err)
		logs = map[string][]assign.LogBounds{}
		for name := range names {
			logs[name] = nil
		}
	}
	g.lagUnknown.Store(err != nil)
	o.Changelogs = logs
	return o
}

// resolveStandbys returns the standbys of an assignment. One of a sub-topology that this member did not list is left
// out: unlike a task, nobody waits for it.
func (g *Group) resolveStandbys(assignment assign.Assignment) []Standby {
	deployment := g.deployment.Load()
	var out []Standby
	for _, id := range assignment.Standbys {
		if id.Subtopology < len(deployment.Subtopologies) {
			_, warmUp := slices.BinarySearchFunc(assignment.WarmUps, id, graph.TaskID.Compare)
			_, replaces := slices.BinarySearchFunc(assignment.Replacing, id, graph.TaskID.Compare)
			out = append(out, Standby{
				Task: deployment.Task(id), WarmUp: warmUp, Replaces: replaces, AcceptableLag: assignment.AcceptableLag,
			})
		}
	}
	return out
}
