package group

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/assign"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/topics"
)

// call is a join with its sync, or a look at the topics: the one thing that is under way on the network besides heartbeats.
type call struct {
	refresh bool
	stale   bool // what it is about is over; its outcome counts no more
	cancel  context.CancelFunc
	joined  chan joined
	done    chan outcome
}

type joined struct {
	response kafka.JoinResponse
	sent     time.Time
}

// outcome is what came of a call.
type outcome struct {
	err        error
	reason     string // why it was made
	member     string // the id under which the coordinator knows us, empty when unknown
	generation int32
	tasks      map[graph.TaskID]topics.Task
	moving     int
	plan       *topics.Plan // of a refresh
}

func (c *call) joining() bool { return c != nil && !c.refresh }

func (c *call) whenJoined() <-chan joined {
	if c == nil {
		return nil
	}
	return c.joined
}

func (c *call) whenDone() <-chan outcome {
	if c == nil {
		return nil
	}
	return c.done
}

// start runs f on a goroutine of its own. Cancelling closes the connection when the call holds it, since it waits there.
func (g *Group) start(ctx context.Context, limit time.Duration, f func(ctx context.Context, c *call) outcome) *call {
	ctx, cancel := context.WithTimeout(ctx, limit)
	c := &call{cancel: cancel, joined: make(chan joined, 1), done: make(chan outcome, 1)}
	g.l.call = c
	go func() {
		var o outcome
		aborting(ctx, g.c.Group, func() { o = f(ctx, c) })
		c.done <- o
	}()
	return c
}

// aborting calls f and closes the role's connection when ctx ends before f does. The role is as good as new when it returns: no Abort is
// still to come.
func aborting(ctx context.Context, role kafka.Group, f func()) {
	aborted := make(chan struct{})
	quiet := context.AfterFunc(ctx, func() {
		defer close(aborted)
		role.Abort()
	})
	f()
	if !quiet() {
		<-aborted
	}
}

func (g *Group) startJoin(ctx context.Context) {
	l := &g.l
	reason := l.want
	l.want = ""
	l.round++
	req := kafka.JoinRequest{
		Group: g.c.Application, MemberID: l.member, ProtocolType: assign.ProtocolType, Protocol: assign.Protocol,
		Metadata: g.subscription().Encode(), SessionTimeout: g.c.SessionTimeout, RebalanceTimeout: g.c.RebalanceTimeout, Reason: reason,
	}
	// Well beyond what a coordinator may take: giving up early and joining again is a change to the group, which begins to wait anew.
	g.start(ctx, 2*g.c.RebalanceTimeout+g.c.SessionTimeout, func(ctx context.Context, c *call) outcome {
		o := g.join(ctx, c, req)
		o.reason = reason
		return o
	})
}

func (g *Group) subscription() assign.Subscription {
	l := &g.l
	p := g.plan.Load()
	s := assign.Subscription{
		Topics: p.Subscription(), Process: g.c.Process, Workers: g.c.Workers, Rack: g.c.Rack, Subs: p.Descriptions(),
		Owned: slices.Collect(maps.Keys(l.owned)), Generation: l.generation, Round: l.round,
	}
	for _, t := range l.owned {
		s.Partitions = append(s.Partitions, t.Inputs...)
	}
	if g.c.Stored != nil {
		s.Stored = g.c.Stored()
	}
	return s
}

// join does one round with the coordinator. It runs beside the loop and touches nothing of it.
func (g *Group) join(ctx context.Context, c *call, req kafka.JoinRequest) outcome {
	sent := time.Now()
	r, err := g.c.Group.Join(ctx, req)
	o := outcome{member: r.MemberID, generation: r.Generation}
	if err != nil {
		o.err = err
		return o
	}
	c.joined <- joined{r, sent}
	assignments, err := g.assign(ctx, r)
	if err != nil {
		o.err = err
		return o
	}
	b, err := g.c.Group.Sync(ctx, g.c.Application, r.MemberID, r.Generation, assignments)
	if err != nil {
		o.err = err
		return o
	}
	a, err := assign.DecodeAssignment(b)
	if err != nil {
		o.err = err
		return o
	}
	o.moving = a.Moving
	o.tasks, o.err = g.tasks(ctx, a)
	return o
}

// assign makes the assignments when the member is the leader.
func (g *Group) assign(ctx context.Context, r kafka.JoinResponse) (map[string][]byte, error) {
	if r.LeaderID != r.MemberID {
		return nil, nil
	}
	members := map[string]assign.Subscription{}
	for id, b := range r.Members {
		s, err := assign.DecodeSubscription(b)
		if err != nil { // it gets nothing, and the others go on
			g.c.Logger.Warn("a member's subscription cannot be read", "group", g.c.Application, "member", id, "error", err)
		}
		members[id] = s
	}
	counts, err := g.counts(ctx, members)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for id, a := range assign.Assign(members, counts) {
		out[id] = a.Encode()
	}
	return out, nil
}

// counts looks at the topics, briefly: the group waits, and what the plan knows will do until the next refresh.
func (g *Group) counts(ctx context.Context, members map[string]assign.Subscription) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, g.c.SessionTimeout/2)
	defer cancel()
	names, all := assign.Wanted(members)
	counts, err := g.c.Planner.Counts(ctx, names, all)
	if err == nil {
		return counts, nil
	}
	counts = map[string]int{}
	for name, i := range g.plan.Load().Topics {
		counts[name] = i.Partitions
	}
	for _, name := range names {
		if _, ok := counts[name]; !ok {
			return nil, err
		}
	}
	return counts, nil
}

// tasks returns what an assignment means here. The leader may have seen topics or partitions that this member has not; then it looks
// itself, which also makes and checks the internal topics they need.
func (g *Group) tasks(ctx context.Context, a assign.Assignment) (map[graph.TaskID]topics.Task, error) {
	out := map[graph.TaskID]topics.Task{}
	looked := false
	for _, id := range a.Tasks {
		plan := g.plan.Load()
		if id.Sub >= len(plan.Subs) {
			return nil, fmt.Errorf("the leader assigned task %s, which this member did not list", id)
		}
		inputs := a.Inputs(plan.Subs[id.Sub].Sub, id.Partition)
		if !looked && !slices.Equal(inputs, plan.Task(id).Inputs) {
			looked = true
			next, err := g.c.Planner.Plan(ctx)
			if err != nil {
				return nil, err
			}
			g.plan.Store(next)
			plan = next
		}
		t := plan.Task(id)
		t.Inputs = inputs
		out[id] = t
	}
	return out, nil
}

// startRefresh looks for new topics and partitions.
func (g *Group) startRefresh(ctx context.Context) {
	c := g.start(ctx, g.c.SessionTimeout, func(ctx context.Context, _ *call) outcome {
		plan, err := g.c.Planner.Plan(ctx)
		return outcome{plan: plan, err: err}
	})
	c.refresh = true
}

func (g *Group) refreshed(o outcome) error {
	switch {
	case o.err == nil:
		if !samePlan(g.plan.Load(), o.plan) {
			g.l.wish("topics have changed")
		}
		g.plan.Store(o.plan)
	case permanent(o.err):
		return fmt.Errorf("look at the topics of %q: %w", g.c.Application, o.err)
	case !errors.Is(o.err, context.Canceled):
		g.c.Logger.Warn("looking at topics failed", "group", g.c.Application, "error", o.err)
	}
	return nil
}

func samePlan(a, b *topics.Plan) bool {
	return slices.EqualFunc(a.Subs, b.Subs, func(x, y topics.Sub) bool {
		return x.Tasks == y.Tasks && slices.Equal(x.Inputs, y.Inputs)
	}) && maps.EqualFunc(a.Topics, b.Topics, func(x, y kafka.TopicInfo) bool { return x.Partitions == y.Partitions })
}

func compareTasks(a, b graph.TaskID) int {
	return cmp.Or(cmp.Compare(a.Sub, b.Sub), cmp.Compare(a.Partition, b.Partition))
}
