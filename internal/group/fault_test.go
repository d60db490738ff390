package group

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/topics"
)

// One member of two is answered with an error, once. What follows depends on what the error says of its membership.
func TestErrors(t *testing.T) {
	const kept, lost = 0, 2
	type answer struct {
		err  *kerr.Error
		lost int
	}
	transient := []answer{
		{kerr.CoordinatorLoadInProgress, kept}, {kerr.CoordinatorNotAvailable, kept}, {kerr.NotCoordinator, kept},
		{kerr.UnknownServerError, kept}, {kerr.IllegalGeneration, kept}, {kerr.RebalanceInProgress, kept},
		{kerr.UnknownMemberID, lost}, {kerr.FencedInstanceID, lost},
	}
	for key, answers := range map[kmsg.Key][]answer{
		kmsg.Heartbeat: transient, kmsg.JoinGroup: transient, kmsg.SyncGroup: transient, kmsg.OffsetCommit: transient,
		kmsg.FindCoordinator: transient[:4], kmsg.Metadata: transient[3:4], kmsg.ListGroups: transient[:1],
	} {
		for _, c := range answers {
			t.Run(key.Name()+" "+c.err.Message, func(t *testing.T) {
				simulate(t, func(w *world) { answered(w, key, c.err, c.lost) })
			})
		}
	}
}

func answered(w *world, key kmsg.Key, err *kerr.Error, lost int) {
	a, b := w.pair()
	id := b.g.Membership().Member
	first := b.g.Membership().Generation
	h := w.fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: err, TopLevel: key != kmsg.OffsetCommit && key != kmsg.Metadata, When: func(r kmsg.Request) bool {
		switch r := r.(type) {
		case *kmsg.HeartbeatRequest:
			return r.MemberID == id
		case *kmsg.JoinGroupRequest:
			return r.MemberID == id
		case *kmsg.SyncGroupRequest:
			return r.MemberID == id
		case *kmsg.OffsetCommitRequest:
			return r.MemberID == id
		}
		return true
	}})
	if key == kmsg.JoinGroup || key == kmsg.SyncGroup || key == kmsg.FindCoordinator {
		b.g.Rejoin("to be answered with an error")
		w.until("another generation", func() bool { return b.g.Membership().Generation > first })
	}
	pass(10 * time.Second)
	if key != kmsg.FindCoordinator && key != kmsg.ListGroups && key != kmsg.Metadata {
		assert.Equal(w.t, 1, h.Hits(), "the error was met")
	}
	h.Remove()
	a.has(2)
	b.has(2)
	assert.Equal(w.t, lost, b.lost)
	if lost == 0 {
		assert.Zero(w.t, b.revoked+a.revoked)
		assert.Less(w.t, b.longest(), time.Second)
		assert.Equal(w.t, id, b.g.Membership().Member)
	}
	assert.Zero(w.t, a.lost)
	assert.Less(w.t, a.longest(), time.Second)
	assert.NoError(w.t, b.g.Healthy())
	a.stop()
	b.stop()
}

func TestErrorsThatNoRetryCures(t *testing.T) {
	for err, want := range map[*kerr.Error]error{
		kerr.GroupAuthorizationFailed: kafka.ErrNotAuthorized, kerr.InconsistentGroupProtocol: kafka.ErrInconsistentProtocol,
		kerr.InvalidSessionTimeout: kafka.ErrInvalidGroup,
	} {
		t.Run(err.Message, func(t *testing.T) {
			simulate(t, func(w *world) {
				w.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: err, TopLevel: true, Count: -1})
				assert.ErrorIs(t, w.start("a").end(), want)
			})
		})
	}
}

// A topic that goes while it is read is fatal. What is processed is settled all the same, and then the group is left.
func TestFatalErrorSettlesFirst(t *testing.T) {
	simulate(t, func(w *world) {
		require.NoError(t, w.b.CreateTopic("doomed", 1))
		w.g = plain("in", "doomed")
		a := w.start("a", func(c *Config) { c.Refresh = 10 * time.Second })
		a.has(5)
		hold := make(chan struct{})
		a.mu.Lock()
		a.hold = hold
		a.mu.Unlock()
		require.NoError(t, a.admin.DeleteTopics(w.t.Context(), "doomed"))
		pass(20 * time.Second)
		assert.ErrorContains(t, a.g.Healthy(), `"doomed" does not exist`)
		assert.NoError(t, a.g.Allowed(), "still a member while it settles")
		close(hold)
		assert.ErrorIs(t, a.end(), topics.ErrInvalid)
		assert.Equal(t, 5, a.revoked)
		assert.ErrorIs(t, a.g.Allowed(), ErrNotMember)
	})
}

// An error that goes on is retried at a decent pace, is seen in Healthy, and ends when it ends.
func TestErrorsThatGoOn(t *testing.T) {
	simulate(t, func(w *world) {
		h := w.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SyncGroup}, Err: kerr.RebalanceInProgress, TopLevel: true, Count: -1})
		a := w.start("a")
		pass(time.Minute)
		assert.Error(t, a.g.Healthy())
		assert.Less(t, h.Hits(), 60)
		h.Remove()
		a.has(4)
		assert.NoError(t, a.g.Healthy())
		a.stop()
	})
}

func TestCoordinatorMoves(t *testing.T) {
	simulate(t, func(w *world) {
		a, b := w.pair()
		for range 3 {
			before := w.b.Cluster().CoordinatorFor(app)
			for w.b.Cluster().CoordinatorFor(app) == before {
				w.b.Cluster().RehashCoordinators()
			}
			pass(10 * time.Second)
			c := w.start("c")
			c.has(1)
			c.stop()
			a.has(2)
			b.has(2)
			pass(10 * time.Second)
		}
		assert.Zero(t, a.lost+b.lost)
		assert.Less(t, max(a.longest(), b.longest()), time.Second)
		a.stop()
		b.stop()
	})
}

// A commit in a generation that is over is refused, and goes through when it is sent again as the membership says then.
func TestOldGenerationIsFenced(t *testing.T) {
	simulate(t, func(w *world) {
		a, b := w.pair()
		old := a.g.Membership()
		b.g.Rejoin("another generation")
		w.until("another generation", func() bool { return a.g.Membership() != old })
		commit := func(m *Membership) error {
			return a.offsets.Commit(context.Background(), app, m.Member, m.Generation,
				map[kafka.TopicPartition]kafka.OffsetMeta{{Topic: "in", Partition: 0}: {Offset: 1}})
		}
		err := commit(old)
		require.ErrorIs(t, err, kafka.ErrIllegalGeneration)
		require.Equal(t, Again, a.g.Refused(old, err))
		require.NoError(t, commit(a.g.Membership()))
		a.stop()
		b.stop()
	})
}

func TestVerdicts(t *testing.T) {
	simulate(t, func(w *world) {
		a, b := w.pair()
		now := a.g.Membership()
		assert.Equal(t, Wait, a.g.Refused(now, fmt.Errorf("wrapped: %w", kafka.ErrRebalanceInProgress)))
		assert.Equal(t, Wait, a.g.Refused(now, kafka.ErrIllegalGeneration))
		assert.Equal(t, Unrelated, a.g.Refused(now, kafka.ErrUnavailable))
		assert.Equal(t, Unrelated, a.g.Refused(now, errors.New("other")))
		former := &Membership{Member: "another-id", Generation: 1}
		for _, err := range []error{kafka.ErrRebalanceInProgress, kafka.ErrIllegalGeneration, kafka.ErrUnknownMember, kafka.ErrFencedInstance} {
			assert.Equal(t, Lost, a.g.Refused(former, err), err)
		}
		pass(10 * time.Second)
		assert.Zero(t, a.lost, "an answer to a former member says nothing about this one")
		assert.Equal(t, Lost, a.g.Refused(a.g.Membership(), kafka.ErrUnknownMember))
		a.loses(2)
		a.has(2)
		a.stop()
		b.stop()
	})
}
