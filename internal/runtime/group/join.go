package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/assign"
	"github.com/millstream-go/millstream/internal/runtime/topics"
)

// call is a JoinGroup with its SyncGroup, or a refresh of the topics. One call is under way at
// most; only heartbeats are sent beside it.
type call struct {
	refresh  bool // of the topics
	obsolete bool // the membership was lost meanwhile; the outcome is not applied
	cancel   context.CancelFunc
	joined   chan joinResult
	done     chan outcome
}

// joinResult is the answer to JoinGroup.
type joinResult struct {
	response kafka.JoinResponse
	sent     time.Time
}

// outcome is the result of a call.
type outcome struct {
	err          error
	reason       string // for which it was made
	began        time.Time
	member       string // the member id that the coordinator assigned, empty when unknown
	generation   int32
	tasks        map[graph.TaskID]topics.Task
	standbys     []Standby
	unneeded     []graph.TaskID
	leaving      []graph.TaskID // standbys that end when others have caught up
	moving       int            // tasks that other members must release first
	excluded     []assign.Exclusion
	alone        bool               // no other member has this program
	returned     bool               // the assignment may be that of an earlier process with the same instance id
	deployment   *topics.Deployment // of a refresh
	otherMembers string             // members because of which the group refuses this one
}

// joining reports whether a join is under way.
func (c *call) joining() bool { return c != nil && !c.refresh }

func (c *call) whenJoined() <-chan joinResult {
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

// startCall runs f on a goroutine of its own. Cancelling the call closes its connection, where it
// waits.
func (g *Group) startCall(
	ctx context.Context, limit time.Duration, f func(ctx context.Context, c *call) outcome,
) *call {
	ctx, cancel := context.WithTimeout(ctx, limit)
	c := &call{cancel: cancel, joined: make(chan joinResult, 1), done: make(chan outcome, 1)}
	g.state.call = c
	go func() {
		var out outcome
		abortOnDone(ctx, g.cfg.Group, func() { out = f(ctx, c) })
		c.done <- out
	}()
	return c
}

// abortOnDone calls f, and closes the role's connection if ctx ends before f returns.
func abortOnDone(ctx context.Context, role kafka.Group, f func()) {
	aborted := make(chan struct{})
	stopAbort := context.AfterFunc(ctx, func() {
		defer close(aborted)
		role.Abort()
	})
	f()
	// If Abort has begun, wait for it: it must not close the connection of the next call.
	if !stopAbort() {
		<-aborted
	}
}

// startJoin starts a call that joins the group.
func (g *Group) startJoin(ctx context.Context) {
	state := &g.state
	reason := state.rejoinReason
	state.rejoinReason = ""
	state.round++
	g.leaveAbandoned()
	if g.cfg.Unneeded != nil {
		g.cfg.Unneeded(nil) // what the member says that it has must be there when it gets a task because of it
	}
	sub := g.subscription()
	req := kafka.JoinRequest{
		Group: g.cfg.Application, MemberID: state.member, ProtocolType: assign.ProtocolType, Protocol: assign.Protocol,
		Metadata:       sub.Encode(),
		SessionTimeout: g.cfg.SessionTimeout, RebalanceTimeout: g.cfg.RebalanceTimeout, Reason: reason,
	}
	// Longer than a coordinator may take. A member that gives up early and joins again changes the
	// group, and the coordinator begins to wait for all members again.
	limit := 2*g.cfg.RebalanceTimeout + g.cfg.SessionTimeout
	g.startCall(ctx, limit, func(ctx context.Context, c *call) outcome {
		began := time.Now()
		out := g.join(ctx, c, req, sub.Subtopologies)
		out.reason, out.began = reason, began
		return out
	})
}

// subscription returns what the member tells the leader about itself.
func (g *Group) subscription() assign.Subscription {
	state := &g.state
	deployment := g.deployment.Load()
	sub := assign.Subscription{
		Topics: deployment.Subscription(), Process: g.cfg.Process, Workers: g.cfg.Workers, Rack: g.cfg.Rack, Tags: g.cfg.Tags,
		Subtopologies: deployment.Descriptions(),
		Owned:         slices.Collect(maps.Keys(state.owned)), Generation: state.assignedGeneration, Round: state.round,
	}
	for _, t := range state.owned {
		sub.Partitions = append(sub.Partitions, t.Inputs...)
	}
	if g.cfg.Stored != nil {
		sub.Stored = g.cfg.Stored()
	}
	g.describeStandbys(&sub)
	return sub
}

// join sends JoinGroup and SyncGroup. It runs on the call's goroutine and uses nothing of the
// loop's state. subs are the sub-topologies that the request has: the assignment refers to them.
func (g *Group) join(ctx context.Context, c *call, req kafka.JoinRequest, subs []assign.Subtopology) outcome {
	sent := time.Now()
	response, err := g.cfg.Group.Join(ctx, req)
	out := outcome{member: response.MemberID, generation: response.Generation}
	if err != nil {
		out.err = err
		if errors.Is(err, kafka.ErrInconsistentProtocol) {
			out.otherMembers = g.describeMembers(ctx)
		}
		return out
	}
	// The loop publishes the new generation now. The leader's assignment, and the sync, may take long
	// or fail.
	c.joined <- joinResult{response, sent}
	assignments, err := g.assign(ctx, response)
	if err != nil {
		out.err = err
		return out
	}
	b, err := g.cfg.Group.Sync(ctx, g.cfg.Application, response.MemberID, response.Generation, assignments)
	if err != nil {
		out.err = err
		return out
	}
	assignment, err := assign.DecodeAssignment(b, subs)
	if err != nil {
		out.err = err
		return out
	}
	if out.returned = g.mayHaveReturned(req, response); out.returned && !assign.MadeFor(b, subs) {
		assignment = assign.Assignment{}
	}
	out.moving, out.excluded, out.alone = assignment.Moving, assignment.Excluded, assignment.Alone
	if out.tasks, out.err = g.resolveTasks(ctx, assignment); out.err == nil {
		out.standbys, out.unneeded = g.resolveStandbys(assignment), assignment.Unneeded
		out.leaving = assignment.Leaving
	}
	return out
}

// assign returns the assignments of all members, by member id, if this member is the leader.
func (g *Group) assign(ctx context.Context, response kafka.JoinResponse) (map[string][]byte, error) {
	if response.LeaderID != response.MemberID {
		return nil, nil
	}
	members := map[string]assign.Subscription{}
	for id, b := range response.Members {
		sub, err := assign.DecodeSubscription(b)
		// A member of a version whose user data this one cannot read. It gets no task, but the others
		// must go on.
		if err != nil {
			g.cfg.Logger.Warn("millstream: a member's subscription cannot be read", "member", id, "error", err)
		}
		members[id] = sub
	}
	counts, err := g.partitionCounts(ctx, members)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for id, a := range assign.Assign(members, counts, g.assignOptions(ctx, members)) {
		out[id] = a.Encode(members[id])
	}
	return out, nil
}

// partitionCounts returns the partition counts of the topics that the members read. The whole group
// waits for the leader, so the look-up has half a session. If it fails, the counts of the
// deployment are used until the next refresh.
func (g *Group) partitionCounts(ctx context.Context, members map[string]assign.Subscription) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.SessionTimeout/2)
	defer cancel()
	names, all := assign.Wanted(members)
	counts, err := g.cfg.Deployer.Counts(ctx, names, all)
	if err == nil {
		g.restrictCounts(ctx, counts)
		return counts, nil
	}
	counts = map[string]int{}
	for name, info := range g.deployment.Load().Topics {
		counts[name] = info.Partitions
	}
	// A topic of another version of the program, which this deployment does not know: nothing can be
	// assigned without its count.
	for _, name := range names {
		if _, ok := counts[name]; !ok {
			return nil, err
		}
	}
	return counts, nil
}

// restrictCounts removes added partitions from counts that the topology cannot read, as when the
// other topic of a join has fewer. A member that was assigned such a partition would have to stop,
// then the next one, until none is left. Without them the group goes on with the partitions that it
// has.
func (g *Group) restrictCounts(ctx context.Context, counts map[string]int) {
	deployment := g.deployment.Load()
	same := true
	for name, n := range counts {
		if info, ok := deployment.Topics[name]; ok || deployment.Source(name) != nil {
			same = same && info.Partitions == n
		}
	}
	if same {
		return
	}
	next, err := g.cfg.Deployer.Deploy(ctx)
	switch {
	// The topology can read the topics as they are now.
	case err == nil:
		g.deployment.Store(next)
		g.setUnreadPartitions(nil)
	// It cannot: topics of the deployment have the partitions that they had, new topics of a pattern
	// have none.
	case errors.Is(err, topics.ErrPartitions):
		g.setUnreadPartitions(err)
		for name := range counts {
			if info, ok := deployment.Topics[name]; ok {
				counts[name] = info.Partitions
			} else if deployment.Source(name) != nil {
				delete(counts, name)
			}
		}
	}
}

// setUnreadPartitions sets why added partitions are not read; nil: all are read. It logs that at
// each refresh, because the user has to do something.
func (g *Group) setUnreadPartitions(err error) {
	if err == nil {
		g.unreadPartitions.Store(nil)
		return
	}
	g.cfg.Logger.Warn("millstream: partitions were added that cannot be read", "error", err)
	err = fmt.Errorf("partitions were added that cannot be read: %w", err)
	g.unreadPartitions.Store(&err)
}

// resolveTasks returns the tasks of an assignment with their inputs and changelogs.
func (g *Group) resolveTasks(ctx context.Context, assignment assign.Assignment) (map[graph.TaskID]topics.Task, error) {
	out := map[graph.TaskID]topics.Task{}
	refreshed := false
	for _, id := range assignment.Tasks {
		deployment := g.deployment.Load()
		if id.Subtopology >= len(deployment.Subtopologies) {
			return nil, fmt.Errorf("the leader assigned task %s, which this member did not list", id)
		}
		// The leader has seen topics or partitions that this member has not. Deploying again also creates
		// and checks the internal topics for them.
		inputs := assignment.Inputs(deployment.Subtopologies[id.Subtopology].Subtopology, id.Partition)
		if !refreshed && !slices.Equal(inputs, deployment.Task(id).Inputs) {
			refreshed = true
			next, err := g.cfg.Deployer.Deploy(ctx)
			if err != nil {
				return nil, err
			}
			g.deployment.Store(next)
			deployment = next
		}
		t := deployment.Task(id)
		t.Inputs = inputs // what was assigned counts, whatever this member sees: no other member reads it
		out[id] = t
	}
	return out, nil
}

// startRefresh starts a call that looks for new topics and partitions.
func (g *Group) startRefresh(ctx context.Context) {
	c := g.startCall(ctx, g.cfg.SessionTimeout, func(ctx context.Context, _ *call) outcome {
		deployment, err := g.cfg.Deployer.Deploy(ctx)
		return outcome{deployment: deployment, err: err}
	})
	c.refresh = true
}

// handleRefresh handles the end of a refresh. A non-nil error is fatal.
func (g *Group) handleRefresh(out outcome) error {
	switch {
	// New topics or partitions are assigned in a rebalance.
	case out.err == nil:
		if !sameDeployment(g.deployment.Load(), out.deployment) {
			g.state.requestRejoin(reasonTopics)
		}
		g.deployment.Store(out.deployment)
		g.setUnreadPartitions(nil)
	// Partitions were added that the topology cannot read: the group goes on without them.
	case errors.Is(out.err, topics.ErrPartitions):
		g.setUnreadPartitions(out.err)
	// An input topic was deleted, or has settings with which the topology cannot run.
	case permanent(out.err):
		return fmt.Errorf("describe the topics of %q: %w", g.cfg.Application, out.err)
	// A broker that restarts is no reason for a warning. The client itself warns when no broker answers.
	case errors.Is(out.err, kafka.ErrNoAnswer):
		g.cfg.Logger.Debug("millstream: describing the topics failed", "error", out.err)
	// Another error passes, perhaps. The next refresh tries again.
	case !errors.Is(out.err, context.Canceled):
		g.cfg.Logger.Warn("millstream: describing the topics failed", "error", out.err)
	}
	return nil
}

// sameDeployment reports whether two deployments have the same tasks, inputs and partition counts.
func sameDeployment(a, b *topics.Deployment) bool {
	return slices.EqualFunc(a.Subtopologies, b.Subtopologies, func(x, y topics.Subtopology) bool {
		return x.TaskCount == y.TaskCount && slices.Equal(x.Inputs, y.Inputs)
	}) && maps.EqualFunc(a.Topics, b.Topics, func(x, y kafka.TopicInfo) bool { return x.Partitions == y.Partitions })
}
