package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/group"
	"github.com/millstream-go/millstream/internal/kafka"
)

// ErrLost says that the group has given this member's tasks to others, or will: what is not committed is void.
var ErrLost = errors.New("the member was dropped from its group")

// Membership is what workers see of the group; *group.Group implements it. Safe for use by several goroutines.
type Membership interface {
	// Membership returns what the App is in its group at present.
	Membership() *group.Membership
	// Refused says what to do after a commit as m was refused.
	Refused(m *group.Membership, err error) group.Verdict
	// Allowed returns nil while the session is certain to last.
	Allowed() error
}

// Committer commits offsets as a member. Safe for use by several goroutines.
type Committer struct {
	Offsets    kafka.Offsets
	Group      string
	Membership Membership
}

const (
	commitBackoff    = 20 * time.Millisecond
	commitBackoffMax = time.Second
)

// Commit commits offsets that were processed as member. It repeats what can be cured, as long as ctx lasts: while the group
// rebalances and when it has gone on to another generation, in which the tasks are still the member's; and when no answer came, for
// the same offsets committed twice are committed once. It returns ErrLost when the member is none any more.
func (c Committer) Commit(ctx context.Context, member string, offsets map[kafka.TopicPartition]kafka.OffsetMeta) error {
	for wait := commitBackoff; ; wait = min(2*wait, commitBackoffMax) {
		m := c.Membership.Membership()
		if m.Member != member {
			return ErrLost
		}
		err := c.Offsets.Commit(ctx, c.Group, m.Member, m.Generation, offsets)
		if err == nil {
			return nil
		}
		switch v := c.Membership.Refused(m, err); {
		case v == group.Lost:
			return fmt.Errorf("%w: %w", ErrLost, err)
		case v == group.Again:
			continue
		case v == group.Unrelated && !errors.Is(err, kafka.ErrUnavailable):
			return fmt.Errorf("commit offsets: %w", err)
		}
		if err := pause(ctx, wait, m.Superseded()); err != nil {
			return err
		}
	}
}

// pause waits for a while, or until something has changed, so that the answer may be another one at once.
func pause(ctx context.Context, d time.Duration, changed <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
