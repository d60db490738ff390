package group

import (
	"errors"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// Membership is the App's place in its group at one moment: member id, generation and tasks. It is
// immutable; a new one is published when anything changes.
type Membership struct {
	Member     string // empty: none
	Generation int32  // -1: none

	owned      map[graph.TaskID]struct{}
	superseded chan struct{}
}

// Owns reports whether the task is assigned to the member, or revoked and not settled yet.
func (m *Membership) Owns(t graph.TaskID) bool {
	_, ok := m.owned[t]
	return ok
}

// Tasks returns how many tasks the member owns.
func (m *Membership) Tasks() int { return len(m.owned) }

// Superseded is closed when another Membership has been published.
func (m *Membership) Superseded() <-chan struct{} { return m.superseded }

// refusedCommit is a commit that got UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID.
type refusedCommit struct {
	as  *Membership
	err error
}

// CommitAction is what to do after a commit has failed.
type CommitAction uint8

// The actions.
const (
	// Fail: the error is not about the membership.
	Fail CommitAction = iota
	// Wait: commit again when the membership is superseded, or after a pause. Processing goes on
	// meanwhile.
	Wait
	// Retry: commit again at once, as the membership that is published now.
	Retry
	// Lost: the tasks are not the member's any more. Handler.Lost is called for them.
	Lost
)

// AfterCommitError returns what to do after a commit as member has failed with err. The Group acts on
// the error itself: the caller need not report it.
func (g *Group) AfterCommitError(member *Membership, err error) CommitAction {
	current := g.current.Load()
	replaced := current.Member != member.Member // a member gets another id only after a loss
	switch {
	// REBALANCE_IN_PROGRESS: between the join and the sync of a generation. The tasks are still the
	// member's, so the commit waits for what comes next.
	case errors.Is(err, kafka.ErrRebalanceInProgress):
		if replaced {
			return Lost
		}
		if current != member {
			return Retry
		}
		return Wait
	// ILLEGAL_GENERATION: a newer generation exists. The tasks are the member's in that one too, until
	// they are revoked.
	case errors.Is(err, kafka.ErrIllegalGeneration):
		switch {
		case replaced:
			return Lost
		case current.Generation != member.Generation:
			return Retry
		}
		// The loop does not know a newer generation. A join is under way, or the rebalance ended without
		// this member: a heartbeat tells which.
		g.heartbeatNow()
		return Wait
	// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID: the coordinator has removed the member, and others may
	// run its tasks.
	case errors.Is(err, kafka.ErrUnknownMember), errors.Is(err, kafka.ErrFencedInstance):
		if !replaced {
			select {
			case g.maybeUnknown <- refusedCommit{member, err}:
			default: // another worker has reported it
			}
		}
		return Lost
	}
	return Fail
}
