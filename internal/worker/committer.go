package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millstream-go/millstream/internal/kafka"
)

// ErrLost says that the group has given this member's tasks to others, or will: what is not committed is void.
var ErrLost = errors.New("the member was dropped from its group")

// Standing is a member's place in its group at one moment.
type Standing struct {
	Member     string
	Generation int32
	// Tenure grows when the member loses everything it owned: dropped by the coordinator, or its session ran out. Within a tenure
	// what a member owns is given to nobody else before the member has given it up.
	Tenure uint64
}

// Membership is what workers see of the group. Safe for use by several goroutines.
type Membership interface {
	// Standing returns the place as of the last completed Sync, and a channel that is closed when it changes.
	Standing() (Standing, <-chan struct{})
	// Allowed returns nil while the session is certain to last: within the session time-out, less a margin, of the last
	// heartbeat that was answered.
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

// Commit commits offsets that were processed in tenure. It repeats what can be cured, as long as ctx lasts:
//
//	27 rebalance in progress: the coordinator waits for members to join or to sync. Wait; processing goes on.
//	22 illegal generation:    a Sync has gone by, or is under way. Resend with its generation: the tasks are still ours.
//	25, 82 unknown, fenced:   lost.
//	no answer:                resend; the same offsets committed twice are committed once.
//
// It returns ErrLost when the tenure is over.
func (c Committer) Commit(ctx context.Context, tenure uint64, offsets map[kafka.TopicPartition]kafka.OffsetMeta) error {
	for wait := commitBackoff; ; wait = min(2*wait, commitBackoffMax) {
		at, changed := c.Membership.Standing()
		if at.Tenure != tenure {
			return ErrLost
		}
		err := c.Offsets.Commit(ctx, c.Group, at.Member, at.Generation, offsets)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, kafka.ErrUnknownMember), errors.Is(err, kafka.ErrFencedInstance):
			return fmt.Errorf("%w: %w", ErrLost, err)
		case !curable(err):
			return fmt.Errorf("commit offsets: %w", err)
		}
		if err := pause(ctx, wait, changed); err != nil {
			return err
		}
	}
}

func curable(err error) bool {
	return errors.Is(err, kafka.ErrRebalanceInProgress) || errors.Is(err, kafka.ErrIllegalGeneration) || errors.Is(err, kafka.ErrUnavailable)
}

// pause waits for a while, or until the standing changes: then the answer may be another one at once.
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
