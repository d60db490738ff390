package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/group"
)

// ErrMembershipLost means that the group has removed the member: other members run its tasks, or
// will. Nothing that is uncommitted counts any more.
var ErrMembershipLost = errors.New("the member was dropped from its group")

// Membership is what workers use of the group; *group.Group implements it. Safe for use by several
// goroutines.
type Membership interface {
	// Membership returns the member id, the generation and the tasks of the App at present.
	Membership() *group.Membership
	// AfterCommitError returns what to do after a commit as m failed with err.
	AfterCommitError(m *group.Membership, err error) group.CommitAction
	// Allowed returns nil while the session certainly lasts.
	Allowed() error
}

// Committer commits offsets as a group member. Safe for use by several goroutines.
type Committer struct {
	Offsets    kafka.Offsets
	Group      string
	Membership Membership
}

const (
	commitBackoff    = 20 * time.Millisecond
	commitBackoffMax = time.Second
)

// Commit commits offsets of tasks that were assigned to member. It repeats a request that can still
// succeed, as long as ctx lasts. It returns ErrMembershipLost when the group has removed the
// member.
func (c Committer) Commit(ctx context.Context, member string, offsets map[kafka.TopicPartition]kafka.OffsetMeta) error {
	return c.commit(ctx, member, offsets, c.Offsets.Commit)
}

// commitFunc is kafka.Offsets.Commit, or kafka.Transactor.CommitOffsets.
type commitFunc func(
	ctx context.Context, group, memberID string, generation int32, offsets map[kafka.TopicPartition]kafka.OffsetMeta,
) error

func (c Committer) commit(
	ctx context.Context, member string, offsets map[kafka.TopicPartition]kafka.OffsetMeta, commit commitFunc,
) error {
	for wait := commitBackoff; ; wait = min(2*wait, commitBackoffMax) {
		// Read again for each attempt: a rebalance may have ended meanwhile, and only the current
		// generation is accepted.
		membership := c.Membership.Membership()
		if membership.Member != member { // a member gets another id only after a loss
			return ErrMembershipLost
		}
		err := commit(ctx, c.Group, membership.Member, membership.Generation, offsets)
		if err == nil {
			return nil
		}
		if errors.Is(err, kafka.ErrClosed) {
			return fmt.Errorf("commit offsets: %w", err)
		}
		switch action := c.Membership.AfterCommitError(membership, err); {
		// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, or any error of a member that has been replaced: the
		// tasks are lost.
		case action == group.Lost:
			return fmt.Errorf("%w: %w", ErrMembershipLost, err)
		// ILLEGAL_GENERATION or REBALANCE_IN_PROGRESS, and a newer membership is published: at once, with
		// that.
		case action == group.Retry:
			continue
		// Not about membership and not the network, such as GROUP_AUTHORIZATION_FAILED: a retry cannot
		// help.
		case action == group.Fail && !errors.Is(err, kafka.ErrUnavailable):
			return fmt.Errorf("commit offsets: %w", err)
		}
		// What remains: the group rebalances (Wait), or no answer came. In the latter case the offsets
		// may have been accepted; the same offsets committed twice are committed once.
		if err := kafka.SleepOr(ctx, wait, membership.Superseded()); err != nil {
			return err
		}
	}
}
