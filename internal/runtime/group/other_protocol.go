package group

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

// A group with members of another protocol refuses this member (INCONSISTENT_GROUP_PROTOCOL). They
// may be about to leave: a Java application that is being replaced, or one that was killed and
// whose session has not ended. So the App tries to join for as long as such a session can last.
const (
	// javaSessionTimeout is the default session timeout of Java's clients. A coordinator does not tell
	// a member's own.
	javaSessionTimeout = 45 * time.Second
	otherProtocolGrace = 5 * time.Second
)

func (g *Group) otherProtocolLimit() time.Duration {
	return max(g.cfg.SessionTimeout, javaSessionTimeout) + otherProtocolGrace
}

// describeMembers describes the members of the group, for the error message.
func (g *Group) describeMembers(ctx context.Context) string {
	if g.cfg.Members == nil {
		return "its members"
	}
	members, err := g.cfg.Members(ctx)
	if err != nil {
		return fmt.Sprintf("members that cannot be described (%v)", err)
	}
	// There are some, since the coordinator refused this member because of them. The request lists
	// only members of the older protocol.
	if len(members) == 0 {
		return "members of a newer group protocol"
	}
	slices.SortFunc(members, func(a, b kafka.GroupMember) int { return strings.Compare(a.ID, b.ID) })
	var names []string
	for _, m := range members[:min(len(members), 5)] {
		names = append(names, fmt.Sprintf("client %q at %s (member %s)", m.ClientID, m.Host, m.ID))
	}
	if more := len(members) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// waitForOtherProtocol schedules another join while members of another protocol are in the group.
// After the time that their sessions can last it returns an error, which is fatal.
func (g *Group) waitForOtherProtocol(out outcome) error {
	state := &g.state
	limit := g.otherProtocolLimit()
	err := fmt.Errorf("%w: it has %s; stop them, or give this program another ApplicationID", out.err, out.otherMembers)
	switch {
	case state.otherProtocolSince.IsZero():
		state.otherProtocolSince = time.Now()
		g.cfg.Logger.Warn("millstream: the group has members of another protocol; waiting until they leave, or their "+
			"sessions end",
			"members", out.otherMembers, "limit", limit)
	case time.Since(state.otherProtocolSince) > limit:
		return fmt.Errorf("%w (waited for %v)", err, limit)
	}
	g.setHealth(err)
	g.backOff()
	return nil
}
