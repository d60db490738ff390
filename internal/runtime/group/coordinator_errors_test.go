package group

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/topics"
)

// One member of two is answered with an error, once. What follows depends on what the error says of
// its membership.
func TestCoordinatorErrors_OneMemberOfTwo(t *testing.T) {
	const noneLost, bothLost = 0, 2
	type answer struct {
		err  *kerr.Error
		lost int
	}
	transient := []answer{
		{kerr.CoordinatorLoadInProgress, noneLost}, {kerr.CoordinatorNotAvailable, noneLost}, {kerr.NotCoordinator, noneLost},
		{kerr.UnknownServerError, noneLost}, {kerr.IllegalGeneration, noneLost}, {kerr.RebalanceInProgress, noneLost},
		{kerr.UnknownMemberID, bothLost}, {kerr.FencedInstanceID, bothLost},
	}
	for key, answers := range map[kmsg.Key][]answer{
		kmsg.Heartbeat: transient, kmsg.JoinGroup: transient, kmsg.SyncGroup: transient, kmsg.OffsetCommit: transient,
		kmsg.FindCoordinator: transient[:4], kmsg.Metadata: transient[3:4], kmsg.ListGroups: transient[:1],
	} {
		for _, c := range answers {
			t.Run(key.Name()+" "+c.err.Message, func(t *testing.T) {
				simulate(t, func(w *cluster) { answered(w, key, c.err, c.lost) })
			})
		}
	}
}

func answered(w *cluster, key kmsg.Key, err *kerr.Error, lost int) {
	a, b := w.pair()
	id := b.group.Membership().Member
	first := b.group.Membership().Generation
	topLevel := key != kmsg.OffsetCommit && key != kmsg.Metadata
	h := w.fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: err, TopLevel: topLevel, When: func(r kmsg.Request) bool {
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
		b.group.Rejoin("to be answered with an error")
		w.until("another generation", func() bool { return b.group.Membership().Generation > first })
	}
	pass(10 * time.Second)
	if key != kmsg.FindCoordinator && key != kmsg.ListGroups && key != kmsg.Metadata {
		assert.Equal(w.t, 1, h.Hits(), "the error was met")
	}
	h.Remove()
	a.has(2)
	b.has(2)
	assert.Equal(w.t, lost, b.lostTasks)
	if lost == 0 {
		assert.Zero(w.t, b.revoked+a.revoked)
		assert.Less(w.t, b.longest(), time.Second)
		assert.Equal(w.t, id, b.group.Membership().Member)
	}
	assert.Zero(w.t, a.lostTasks)
	assert.Less(w.t, a.longest(), time.Second)
	assert.NoError(w.t, b.group.Healthy())
	a.stop()
	b.stop()
}

func TestCoordinatorErrors_Permanent(t *testing.T) {
	for err, want := range map[*kerr.Error]error{
		kerr.GroupAuthorizationFailed: kafka.ErrNotAuthorized, kerr.InconsistentGroupProtocol: kafka.ErrInconsistentProtocol,
		kerr.InvalidSessionTimeout: kafka.ErrSessionTimeout, kerr.InvalidGroupID: kafka.ErrInvalidGroup,
	} {
		t.Run(err.Message, func(t *testing.T) {
			simulate(t, func(w *cluster) {
				w.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: err, TopLevel: true, Count: -1})
				got := w.start("a").end()
				assert.ErrorIs(t, got, want)
				assert.Equal(t, 1, strings.Count(got.Error(), "join"), "it says once what failed: %v", got)
				assert.Equal(t, 1, strings.Count(got.Error(), app), "it names the group once: %v", got)
			})
		})
	}
}

// A topic that goes while it is read is fatal. What is processed is settled all the same, and then
// the group is left.
func TestCoordinatorErrors_FatalSettlesFirst(t *testing.T) {
	simulate(t, func(w *cluster) {
		require.NoError(t, w.broker.CreateTopic("doomed", 1))
		w.graph = plain("in", "doomed")
		a := w.start("a", func(c *Config) { c.RefreshInterval = 10 * time.Second })
		a.has(5)
		release := make(chan struct{})
		a.mu.Lock()
		a.releaseSettle = release
		a.mu.Unlock()
		require.NoError(t, a.admin.DeleteTopics(w.t.Context(), "doomed"))
		pass(20 * time.Second)
		assert.ErrorContains(t, a.group.Healthy(), `"doomed" was deleted while the App was running`)
		assert.NoError(t, a.group.Allowed(), "still a member while it settles")
		close(release)
		assert.ErrorIs(t, a.end(), topics.ErrInvalid)
		assert.Equal(t, 5, a.revoked)
		assert.ErrorIs(t, a.group.Allowed(), ErrNotMember)
	})
}

// An error that goes on is retried at a decent pace, is seen in Healthy, and ends when it ends.
func TestCoordinatorErrors_Lasting(t *testing.T) {
	simulate(t, func(w *cluster) {
		h := w.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.SyncGroup}, Err: kerr.RebalanceInProgress, TopLevel: true, Count: -1})
		a := w.start("a")
		pass(time.Minute)
		assert.ErrorContains(t, a.group.Healthy(), "sync group app: ")
		assert.Equal(t, 1, strings.Count(a.group.Healthy().Error(), app))
		assert.Less(t, h.Hits(), 60)
		h.Remove()
		a.has(4)
		assert.NoError(t, a.group.Healthy())
		a.stop()
	})
}

func TestCoordinatorErrors_CoordinatorMoves(t *testing.T) {
	simulate(t, func(w *cluster) {
		a, b := w.pair()
		for range 3 {
			before := w.broker.Cluster().CoordinatorFor(app)
			for w.broker.Cluster().CoordinatorFor(app) == before {
				w.broker.Cluster().RehashCoordinators()
			}
			pass(10 * time.Second)
			c := w.start("c")
			c.has(1)
			c.stop()
			a.has(2)
			b.has(2)
			pass(10 * time.Second)
		}
		assert.Zero(t, a.lostTasks+b.lostTasks)
		assert.Less(t, max(a.longest(), b.longest()), time.Second)
		a.stop()
		b.stop()
	})
}

// A commit in a generation that is over is refused, and goes through when it is sent again as the
// membership says then.
func TestCommit_OldGenerationIsFenced(t *testing.T) {
	simulate(t, func(w *cluster) {
		a, b := w.pair()
		old := a.group.Membership()
		b.group.Rejoin("another generation")
		w.until("another generation", func() bool { return a.group.Membership() != old })
		commit := func(m *Membership) error {
			return a.offsets.Commit(context.Background(), app, m.Member, m.Generation,
				map[kafka.TopicPartition]kafka.OffsetMeta{{Topic: "in", Partition: 0}: {Offset: 1}})
		}
		err := commit(old)
		require.ErrorIs(t, err, kafka.ErrIllegalGeneration)
		require.Equal(t, Retry, a.group.AfterCommitError(old, err))
		require.NoError(t, commit(a.group.Membership()))
		a.stop()
		b.stop()
	})
}

func TestCommitAction(t *testing.T) {
	simulate(t, func(w *cluster) {
		a, b := w.pair()
		now := a.group.Membership()
		assert.Equal(t, Wait, a.group.AfterCommitError(now, fmt.Errorf("wrapped: %w", kafka.ErrRebalanceInProgress)))
		assert.Equal(t, Wait, a.group.AfterCommitError(now, kafka.ErrIllegalGeneration))
		assert.Equal(t, Fail, a.group.AfterCommitError(now, kafka.ErrUnavailable))
		assert.Equal(t, Fail, a.group.AfterCommitError(now, errors.New("other")))
		former := &Membership{Member: "another-id", Generation: 1}
		for _, err := range []error{
			kafka.ErrRebalanceInProgress, kafka.ErrIllegalGeneration, kafka.ErrUnknownMember, kafka.ErrFencedInstance,
		} {
			assert.Equal(t, Lost, a.group.AfterCommitError(former, err), err)
		}
		pass(10 * time.Second)
		assert.Zero(t, a.lostTasks, "an answer to a former member says nothing about this one")
		assert.Equal(t, Lost, a.group.AfterCommitError(a.group.Membership(), kafka.ErrUnknownMember))
		a.losesTasks(2)
		a.has(2)
		a.stop()
		b.stop()
	})
}
