package group

import (
	"errors"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
)

// Membership is what the App is in its group at one time. It does not change; another one takes its place.
type Membership struct {
	Member     string // empty: none
	Generation int32  // -1: none

	owned      map[graph.TaskID]struct{}
	superseded chan struct{}
}

// Owns says whether the task is the member's: assigned, or still to be settled.
func (m *Membership) Owns(t graph.TaskID) bool {
	_, ok := m.owned[t]
	return ok
}

// Tasks returns how many tasks the member owns.
func (m *Membership) Tasks() int { return len(m.owned) }

// Superseded is closed when another Membership has been published.
func (m *Membership) Superseded() <-chan struct{} { return m.superseded }

// Verdict is what a worker does after a request that it sent as a member.
type Verdict uint8

// The verdicts.
const (
	// Unrelated: the error is not about membership.
	Unrelated Verdict = iota
	// Wait: go on processing; when the membership is superseded, or after a short while, send again with the one published then.
	Wait
	// Again: the group has gone on; send again with the membership published now, for the tasks that it owns.
	Again
	// Lost: the tasks are not the member's any more, and Lost is called for them.
	Lost
)

// Refused says what to do after a commit that was sent as m said was refused with err. Whoever calls it need not tell the Group
// anything else.
func (g *Group) Refused(m *Membership, err error) Verdict {
	current := g.current.Load()
	gone := current.Member != m.Member // only after a loss does a member get another id
	switch {
	case errors.Is(err, kafka.ErrRebalanceInProgress):
		if gone {
			return Lost
		}
		if current != m {
			return Again
		}
		return Wait
	case errors.Is(err, kafka.ErrIllegalGeneration):
		switch {
		case gone:
			return Lost
		case current.Generation != m.Generation:
			return Again
		}
		g.beatNow() // the generation is about to end, or has without us: a heartbeat finds out
		return Wait
	case errors.Is(err, kafka.ErrUnknownMember), errors.Is(err, kafka.ErrFencedInstance):
		if !gone {
			select {
			case g.suspect <- m:
			default:
			}
		}
		return Lost
	}
	return Unrelated
}
