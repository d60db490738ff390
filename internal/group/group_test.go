package group

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
)

func TestOneMemberRunsEverythingAndLeaves(t *testing.T) {
	simulate(t, func(w *world) {
		p := w.start("a")
		assert.ErrorIs(t, p.g.Allowed(), ErrNotMember)
		p.has(4)
		assert.NoError(t, p.g.Allowed())
		assert.True(t, p.g.Leader())
		assert.NoError(t, p.g.Healthy())
		pass(time.Minute)
		assert.Less(t, p.longest(), time.Second)
		p.stop()
		assert.Equal(t, 4, p.revoked)
		assert.Zero(t, p.lost)
		assert.ErrorIs(t, p.g.Allowed(), ErrNotMember)
		assert.Equal(t, int32(-1), p.g.Membership().Generation)

		q := w.start("b") // waits for nobody: the group was left
		assert.Less(t, q.has(4), time.Second)
		q.stop()
	})
}

func TestJoinTakesNoMoreThanItsShareAndStopsNothingElse(t *testing.T) {
	simulate(t, func(w *world) {
		a := w.start("a")
		a.has(4)
		pass(10 * time.Second)
		b := w.start("b")
		took := b.has(2)
		a.has(2)
		assert.Less(t, took, 5*time.Second, "a learns of it with its next heartbeat")
		pass(20 * time.Second)
		assert.Equal(t, 2, a.revoked)
		assert.Zero(t, a.lost+b.lost+b.revoked)
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

// While one member is dead and not yet given up, a rebalance that another one starts waits for it. The tasks that stay run on.
func TestDeathPausesNobody(t *testing.T) {
	simulate(t, func(w *world) {
		a, b := w.pair()
		pass(10 * time.Second)
		a.longest()
		b.kill()
		c := w.start("c") // joins while b is still a member
		c.has(2)
		a.has(2)
		pass(5 * time.Second)
		assert.Less(t, a.longest(), time.Second)
		assert.Zero(t, a.revoked+a.lost)
		a.stop()
		c.has(4)
		c.stop()
	})
}

func TestKilledMemberIsReplacedAfterItsSession(t *testing.T) {
	simulate(t, func(w *world) {
		a, b := w.pair()
		b.kill()
		took := a.has(4)
		assert.Less(t, took, 15*time.Second)
		assert.Zero(t, a.revoked)
		a.stop()
	})
}

// A process whose connections stand still for longer than its session sends nothing when they move again, learns that it is out,
// drops its tasks and comes back as a new member.
func TestZombie(t *testing.T) {
	simulate(t, func(w *world) {
		a, b := w.pair()
		thaw := b.net.freeze()
		pass(8*time.Second + 100*time.Millisecond)
		assert.ErrorIs(t, b.g.Allowed(), ErrSession, "before the coordinator gives it up")
		assert.Equal(t, 2, a.count())
		a.has(4)
		pass(20 * time.Second)
		assert.Error(t, b.g.Healthy())
		thaw()
		b.loses(2)
		b.has(2)
		a.has(2)
		assert.NoError(t, b.g.Allowed())
		a.stop()
		b.stop()
	})
}

func TestShortFreezeLosesNothing(t *testing.T) {
	simulate(t, func(w *world) {
		a, b := w.pair()
		thaw := b.net.freeze()
		pass(5 * time.Second)
		thaw()
		pass(10 * time.Second)
		assert.NoError(t, b.g.Allowed())
		assert.Zero(t, b.lost+b.revoked+a.lost+a.revoked)
		a.stop()
		b.stop()
	})
}

// A member that takes long to settle holds up who waits for its tasks, and nobody else.
func TestSlowSettlement(t *testing.T) {
	simulate(t, func(w *world) {
		a := w.start("a")
		a.has(4)
		a.mu.Lock()
		hold := make(chan struct{})
		a.hold = hold
		a.mu.Unlock()
		b := w.start("b")
		pass(30 * time.Second)
		assert.Zero(t, b.count(), "a has not settled")
		assert.Less(t, a.longest(), time.Second, "and works on meanwhile")
		close(hold)
		b.has(2)
		assert.Zero(t, a.lost+b.lost)
		a.stop()
		b.stop()
	})
}

// A graceful stop in the middle of a rebalance settles at whichever generation is current.
func TestStopWhileOthersRebalance(t *testing.T) {
	simulate(t, func(w *world) {
		a, b := w.pair()
		b.mu.Lock()
		hold := make(chan struct{})
		b.hold = hold
		b.mu.Unlock()
		c := w.start("c")
		pass(4 * time.Second)
		c.stop()
		a.stop()
		assert.Zero(t, a.lost)
		close(hold)
		b.has(4)
		b.stop()
	})
}

func TestStopBeforeTheFirstJoinHasEnded(t *testing.T) {
	simulate(t, func(w *world) {
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

func TestRejoinOfAFollowerRebalances(t *testing.T) {
	simulate(t, func(w *world) {
		a, b := w.pair()
		pass(10 * time.Second)
		follower := a
		if a.g.Leader() {
			follower = b
		}
		require.False(t, follower.g.Leader())
		before := follower.g.Membership()
		follower.g.Rejoin("a test wants it")
		w.until("another generation", func() bool { return follower.g.Membership().Generation > before.Generation })
		select {
		case <-before.Superseded():
		default:
			assert.Fail(t, "the former membership is not superseded")
		}
		pass(10 * time.Second)
		assert.Zero(t, a.revoked+b.revoked+a.lost+b.lost)
		a.stop()
		b.stop()
	})
}

func TestLeaderFindsNewTopicsAndPartitions(t *testing.T) {
	simulateGraph(t, matching("in.*"), func(w *world) {
		a, b := w.pair()
		require.NoError(t, w.b.CreateTopic("in-2", 6))
		w.until("six tasks", func() bool { return a.count()+b.count() == 6 })
		pass(2 * time.Minute)
		assert.Equal(t, 3, a.count())
		for _, p := range []*process{a, b} {
			assert.Len(t, p.g.Plan().Subs[0].Inputs, 2)
			assert.NotNil(t, p.g.Plan().Source("in-2"))
		}
		assert.Positive(t, a.revoked, "its tasks were opened again with another input")
		a.stop()
		b.stop()
	})
}

// Producers and commits ask these for each request: they take no lock and no memory.
func TestAskingIsFree(t *testing.T) {
	simulate(t, func(w *world) {
		a := w.start("a")
		a.has(4)
		task := graph.TaskID{Partition: 2}
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			if a.g.Allowed() != nil || !a.g.Membership().Owns(task) {
				panic("not a member")
			}
		}))
		a.stop()
	})
}
