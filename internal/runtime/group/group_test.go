package group

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
)

func TestGroup_OneMemberRunsAllAndLeaves(t *testing.T) {
	simulate(t, func(w *cluster) {
		p := w.start("a")
		assert.ErrorIs(t, p.group.Allowed(), ErrNotMember)
		p.has(4)
		assert.NoError(t, p.group.Allowed())
		assert.True(t, p.group.Leader())
		assert.NoError(t, p.group.Healthy())
		pass(time.Minute)
		assert.Less(t, p.longest(), time.Second)
		p.stop()
		assert.Equal(t, 4, p.revoked)
		assert.Zero(t, p.lostTasks)
		assert.ErrorIs(t, p.group.Allowed(), ErrNotMember)
		assert.Equal(t, int32(-1), p.group.Membership().Generation)

		q := w.start("b") // waits for nobody: the group was left
		assert.Less(t, q.has(4), time.Second)
		q.stop()
	})
}

func TestRebalance_JoinStopsOnlyItsShare(t *testing.T) {
	simulate(t, func(w *cluster) {
		a := w.start("a")
		a.has(4)
		pass(10 * time.Second)
		b := w.start("b")
		took := b.has(2)
		a.has(2)
		assert.Less(t, took, 5*time.Second, "a learns of it with its next heartbeat")
		pass(20 * time.Second)
		assert.Equal(t, 2, a.revoked)
		assert.Zero(t, a.lostTasks+b.lostTasks+b.revoked)
		assert.Less(t, a.longest(), time.Second)

		c := w.start("c")
		c.has(1)
		pass(20 * time.Second)
		assert.Equal(t, 4, a.count()+b.count()+c.count())
		assert.Less(t, a.longest(), time.Second)
		assert.Less(t, b.longest(), time.Second)

		before := b.revoked
		a.stop() // its tasks go to the others, who keep theirs
		w.until("b and c have all tasks", func() bool { return b.count()+c.count() == 4 })
		pass(10 * time.Second)
		assert.Equal(t, before, b.revoked)
		assert.Less(t, b.longest(), time.Second)
		b.stop()
		c.has(4)
		c.stop()
	})
}

// While one member is dead and not yet given up, a rebalance that another one starts waits for it.
// The tasks that stay run on.
func TestRebalance_DeathPausesNobody(t *testing.T) {
	simulate(t, func(w *cluster) {
		a, b := w.pair()
		pass(10 * time.Second)
		a.longest()
		b.kill()
		c := w.start("c") // joins while b is still a member
		c.has(2)
		a.has(2)
		pass(5 * time.Second)
		assert.Less(t, a.longest(), time.Second)
		assert.Zero(t, a.revoked+a.lostTasks)
		a.stop()
		c.has(4)
		c.stop()
	})
}

func TestSession_KilledMemberIsReplaced(t *testing.T) {
	simulate(t, func(w *cluster) {
		a, b := w.pair()
		b.kill()
		took := a.has(4)
		assert.Less(t, took, 15*time.Second)
		assert.Zero(t, a.revoked)
		a.stop()
	})
}

// A process whose connections stand still for longer than its session sends nothing when they move
// again, learns that it is out, drops its tasks and comes back as a new member.
func TestSession_ZombieIsFenced(t *testing.T) {
	simulate(t, func(w *cluster) {
		a, b := w.pair()
		thaw := b.net.freeze()
		pass(8*time.Second + 100*time.Millisecond)
		assert.ErrorIs(t, b.group.Allowed(), ErrSession, "before the coordinator gives it up")
		assert.Equal(t, 2, a.count())
		a.has(4)
		pass(20 * time.Second)
		assert.Error(t, b.group.Healthy())
		thaw()
		b.losesTasks(2)
		b.has(2)
		a.has(2)
		assert.NoError(t, b.group.Allowed())
		a.stop()
		b.stop()
	})
}

func TestSession_SurvivesShortFreeze(t *testing.T) {
	simulate(t, func(w *cluster) {
		a, b := w.pair()
		thaw := b.net.freeze()
		pass(5 * time.Second)
		thaw()
		pass(10 * time.Second)
		assert.NoError(t, b.group.Allowed())
		assert.Zero(t, b.lostTasks+b.revoked+a.lostTasks+a.revoked)
		a.stop()
		b.stop()
	})
}

// A member that takes long to settle delays the members that wait for its tasks, and nobody else.
func TestRevoke_SlowSettlement(t *testing.T) {
	simulate(t, func(w *cluster) {
		a := w.start("a")
		a.has(4)
		a.mu.Lock()
		release := make(chan struct{})
		a.releaseSettle = release
		a.mu.Unlock()
		b := w.start("b")
		pass(30 * time.Second)
		assert.Zero(t, b.count(), "a has not settled")
		assert.Less(t, a.longest(), time.Second, "and works on meanwhile")
		close(release)
		b.has(2)
		assert.Zero(t, a.lostTasks+b.lostTasks)
		a.stop()
		b.stop()
	})
}

// A graceful stop in the middle of a rebalance settles at whichever generation is current.
func TestStop_WhileOthersRebalance(t *testing.T) {
	simulate(t, func(w *cluster) {
		a, b := w.pair()
		b.mu.Lock()
		release := make(chan struct{})
		b.releaseSettle = release
		b.mu.Unlock()
		c := w.start("c")
		pass(4 * time.Second)
		c.stop()
		a.stop()
		assert.Zero(t, a.lostTasks)
		close(release)
		b.has(4)
		b.stop()
	})
}

func TestStop_BeforeFirstJoinEnds(t *testing.T) {
	simulate(t, func(w *cluster) {
		a := w.start("a")
		a.has(4)
		pass(4 * time.Second)
		b := w.start("b")
		pass(100 * time.Millisecond) // waits for a's next heartbeat
		require.Zero(t, b.count())
		b.stop()
		pass(20 * time.Second)
		assert.Equal(t, 4, a.count())
		assert.Less(t, a.longest(), time.Second, "no ghost of b is waited for")
		a.stop()
	})
}

func TestRejoin_ByFollower(t *testing.T) {
	simulate(t, func(w *cluster) {
		a, b := w.pair()
		pass(10 * time.Second)
		follower := a
		if a.group.Leader() {
			follower = b
		}
		require.False(t, follower.group.Leader())
		before := follower.group.Membership()
		follower.group.Rejoin("a test wants it")
		w.until("another generation", func() bool { return follower.group.Membership().Generation > before.Generation })
		select {
		case <-before.Superseded():
		default:
			assert.Fail(t, "the former membership is not superseded")
		}
		pass(10 * time.Second)
		assert.Zero(t, a.revoked+b.revoked+a.lostTasks+b.lostTasks)
		a.stop()
		b.stop()
	})
}

func TestRefresh_LeaderFindsNewTopicsAndPartitions(t *testing.T) {
	simulateGraph(t, matching("in.*"), func(w *cluster) {
		a, b := w.pair()
		require.NoError(t, w.broker.CreateTopic("in-2", 6))
		w.until("six tasks", func() bool { return a.count()+b.count() == 6 })
		pass(2 * time.Minute)
		assert.Equal(t, 3, a.count())
		for _, p := range []*process{a, b} {
			assert.Len(t, p.group.Deployment().Subtopologies[0].Inputs, 2)
			assert.NotNil(t, p.group.Deployment().Source("in-2"))
		}
		assert.Positive(t, a.revoked, "its tasks were opened again with another input")
		a.stop()
		b.stop()
	})
}

// Producers and commits ask these for each request: they take no lock and no memory.
func TestMembership_ReadsAllocateNothing(t *testing.T) {
	simulate(t, func(w *cluster) {
		a := w.start("a")
		a.has(4)
		task := graph.TaskID{Partition: 2}
		synctest.Wait() // what other goroutines allocate is counted too
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			if a.group.Allowed() != nil || !a.group.Membership().Owns(task) {
				panic("not a member")
			}
		}))
		a.stop()
	})
}
