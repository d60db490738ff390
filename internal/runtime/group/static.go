package group

import (
	"errors"
	"fmt"

	"github.com/millstream-go/millstream/internal/kafka"
)

// A static member (KIP-345) has an id that outlives its process. It does not leave its group: until its session times
// out nobody else gets its tasks. A process that joins with the id of one before it gets a new member id and, while the
// group is stable, the assignment of the one before, without a rebalance and without the leader hearing of it. That is
// used at once, but not for long: what the new process has, another program perhaps, is in its subscription, and the
// leader may have been the process before, which nobody knows to be the leader now. So the member joins once more,
// under its new id. That is a rebalance in which no task moves.

// static reports whether the member has an instance id.
func (g *Group) static() bool { return g.cfg.InstanceID != "" }

// mayHaveReturned reports whether the assignment that follows a join may be that of an earlier process. A leader has
// made it itself.
func (g *Group) mayHaveReturned(req kafka.JoinRequest, response kafka.JoinResponse) bool {
	return g.static() && req.MemberID == "" && response.LeaderID != response.MemberID
}

// memberRefused is called when the coordinator does not know the member any more. The tasks are dropped, and the App
// joins as a new member; but not if another process has the same instance id: each would take the place of the other,
// without end. Then the error is fatal.
func (g *Group) memberRefused(why string, err error) error {
	g.loseMembership(why)
	if !g.static() || !errors.Is(err, kafka.ErrFencedInstance) {
		return nil
	}
	return fmt.Errorf("another process has joined the group with the same Config.InstanceID, %q, and has the tasks of "+
		"this one; each process needs an id of its own (%w)", g.cfg.InstanceID, err)
}
