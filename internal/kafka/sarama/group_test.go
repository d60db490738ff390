package sarama

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
)

var joining = kafka.JoinRequest{Group: "g", ProtocolType: "consumer", Protocol: "ours", Metadata: []byte("me"),
	SessionTimeout: 10 * time.Second, RebalanceTimeout: 60 * time.Second, Reason: "test"}

func (w *world) group() kafka.Group {
	g, err := w.client.Group()
	require.NoError(w.t, err)
	return g
}

// member joins and syncs alone.
func (w *world) member(ctx context.Context, g kafka.Group) kafka.JoinResponse {
	j, err := g.Join(ctx, joining)
	require.NoError(w.t, err)
	_, err = g.Sync(ctx, "g", j.MemberID, j.Generation, map[string][]byte{j.MemberID: nil})
	require.NoError(w.t, err)
	return j
}

func TestGroup_TwoMembers(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		a, b := w.group(), w.group()
		defer a.Close()
		defer b.Close()
		first := w.member(ctx, a)
		type joined struct {
			r   kafka.JoinResponse
			err error
		}
		second := make(chan joined, 1)
		go func() {
			r, err := b.Join(ctx, joining)
			second <- joined{r, err}
		}()
		time.Sleep(time.Second)
		require.ErrorIs(t, a.Heartbeat(ctx, "g", first.MemberID, first.Generation), kafka.ErrRebalanceInProgress)
		again := joining
		again.MemberID = first.MemberID
		j, err := a.Join(ctx, again)
		require.NoError(t, err)
		s := <-second
		require.NoError(t, s.err)
		assert.Equal(t, j.Generation, s.r.Generation)
		assert.Equal(t, j.MemberID, s.r.LeaderID)
		assert.Len(t, j.Members, 2)
		assert.Empty(t, s.r.Members, "only the leader is told")
		go func() {
			_, err := a.Sync(ctx, "g", j.MemberID, j.Generation, map[string][]byte{j.MemberID: []byte("A"), s.r.MemberID: []byte("B")})
			assert.NoError(t, err)
		}()
		mine, err := b.Sync(ctx, "g", s.r.MemberID, j.Generation, nil)
		require.NoError(t, err)
		assert.Equal(t, "B", string(mine))
		synctest.Wait()
		require.ErrorIs(t, b.Heartbeat(ctx, "g", s.r.MemberID, j.Generation-1), kafka.ErrIllegalGeneration)
		require.ErrorIs(t, b.Heartbeat(ctx, "g", "nobody", j.Generation), kafka.ErrUnknownMember)
		require.NoError(t, b.Leave(ctx, "g", s.r.MemberID, "bye"))
		require.ErrorIs(t, b.Leave(ctx, "g", s.r.MemberID, "bye"), kafka.ErrUnknownMember)
	})
}

func TestGroup_OtherProtocol(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		g := w.group()
		defer g.Close()
		w.member(ctx, g)
		other := joining
		other.Protocol = "theirs"
		_, err := g.Join(ctx, other)
		require.ErrorIs(t, err, kafka.ErrInconsistentProtocol)
	})
}

func TestGroup_ErrorCodes(t *testing.T) {
	codes := map[*kerr.Error]error{kerr.UnknownMemberID: kafka.ErrUnknownMember, kerr.IllegalGeneration: kafka.ErrIllegalGeneration,
		kerr.RebalanceInProgress: kafka.ErrRebalanceInProgress, kerr.FencedInstanceID: kafka.ErrFencedInstance,
		kerr.GroupAuthorizationFailed: kafka.ErrNotAuthorized}
	calls := map[kmsg.Key]func(context.Context, *world, kafka.Group) error{
		kmsg.JoinGroup: func(ctx context.Context, _ *world, g kafka.Group) error {
			r := joining
			r.MemberID = "m"
			_, err := g.Join(ctx, r)
			return err
		},
		kmsg.SyncGroup: func(ctx context.Context, _ *world, g kafka.Group) error {
			_, err := g.Sync(ctx, "g", "m", 1, nil)
			return err
		},
		kmsg.Heartbeat:  func(ctx context.Context, _ *world, g kafka.Group) error { return g.Heartbeat(ctx, "g", "m", 1) },
		kmsg.LeaveGroup: func(ctx context.Context, _ *world, g kafka.Group) error { return g.Leave(ctx, "g", "m", "") },
		kmsg.OffsetCommit: func(ctx context.Context, w *world, _ kafka.Group) error {
			o, err := w.client.Offsets()
			require.NoError(w.t, err)
			defer o.Close()
			return o.Commit(ctx, "g", "m", 1, map[kafka.TopicPartition]kafka.OffsetMeta{tp(0): {Offset: 1}})
		},
	}
	for key, call := range calls {
		for e, want := range codes {
			t.Run(key.Name()+" "+e.Message, func(t *testing.T) {
				simulate(t, func(ctx context.Context, w *world) {
					g := w.group()
					defer g.Close()
					w.member(ctx, g)
					w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Group: "g", Err: e})
					require.ErrorIs(t, call(ctx, w, g), want)
				})
			})
		}
	}
}

// A coordinator that moves or loads is found again, for each request of a member's life.
func TestGroup_FollowsCoordinator(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.NotCoordinator, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress} {
		for _, key := range []kmsg.Key{kmsg.FindCoordinator, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.LeaveGroup, kmsg.OffsetCommit, kmsg.OffsetFetch} {
			t.Run(key.Name()+" "+e.Message, func(t *testing.T) {
				simulate(t, func(ctx context.Context, w *world) {
					h := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Group: "g", Err: e, Count: 3})
					w.life(ctx)
					assert.Equal(t, 3, h.Hits())
				})
			})
		}
	}
	t.Run("moves", func(t *testing.T) {
		simulate(t, func(ctx context.Context, w *world) {
			for range 5 {
				w.life(ctx)
				w.cluster.RehashCoordinators()
			}
		})
	})
	t.Run("its broker goes", func(t *testing.T) {
		simulate(t, func(ctx context.Context, w *world) {
			w.life(ctx)
			require.NoError(t, w.cluster.RemoveNode(w.cluster.CoordinatorFor("g")))
			w.life(ctx)
		})
	})
}

// life is a member's, from joining to leaving.
func (w *world) life(ctx context.Context) {
	g := w.group()
	defer g.Close()
	o, err := w.client.Offsets()
	require.NoError(w.t, err)
	defer o.Close()
	j := w.member(ctx, g)
	require.NoError(w.t, g.Heartbeat(ctx, "g", j.MemberID, j.Generation))
	at := map[kafka.TopicPartition]kafka.OffsetMeta{tp(0): {Offset: int64(j.Generation)}}
	require.NoError(w.t, o.Commit(ctx, "g", j.MemberID, j.Generation, at))
	got, err := o.Fetch(ctx, "g", []kafka.TopicPartition{tp(0)})
	require.NoError(w.t, err)
	assert.Equal(w.t, at, got)
	require.NoError(w.t, g.Leave(ctx, "g", j.MemberID, ""))
}

func TestGroup_BrokenConnections(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		g := w.group()
		defer g.Close()
		j := w.member(ctx, g)
		w.cluster.ControlKey(int16(kmsg.Heartbeat), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, errors.New("cut"), true })
		require.ErrorIs(t, g.Heartbeat(ctx, "g", j.MemberID, j.Generation), kafka.ErrUnavailable, "it is the caller's to repeat")
		require.NoError(t, g.Heartbeat(ctx, "g", j.MemberID, j.Generation))
		w.cluster.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, errors.New("cut"), true })
		o, err := w.client.Offsets()
		require.NoError(t, err)
		defer o.Close()
		require.NoError(t, o.Commit(ctx, "g", j.MemberID, j.Generation, map[kafka.TopicPartition]kafka.OffsetMeta{tp(0): {Offset: 3}}), "a commit is repeated")
	})
}

// A join waits for other members for up to the rebalance timeout. Abort, Close and the context end
// it at once, and after Abort the role goes on.
func TestGroup_AbortAndCloseEndWaitingCalls(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		a, b := w.group(), w.group()
		defer a.Close()
		w.member(ctx, a)
		join := func(ctx context.Context) chan error {
			c := make(chan error, 1)
			go func() {
				_, err := b.Join(ctx, joining)
				c <- err
			}()
			time.Sleep(time.Second)
			return c
		}
		began := time.Now()
		c := join(ctx)
		b.Abort()
		require.ErrorIs(t, <-c, kafka.ErrUnavailable)
		short, cancel := context.WithCancel(ctx)
		c = join(short)
		cancel()
		require.ErrorIs(t, <-c, context.Canceled)
		c = join(ctx)
		b.Close()
		require.Error(t, <-c)
		assert.Equal(t, 3*time.Second, time.Since(began))
		_, err := b.Join(ctx, joining)
		require.ErrorIs(t, err, kafka.ErrClosed)
	})
}

// A join may take the whole rebalance timeout, longer than other requests.
func TestGroup_JoinOutlastsRequestTimeout(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		a, b := w.group(), w.group()
		defer a.Close()
		defer b.Close()
		long := joining
		long.SessionTimeout = 100 * time.Second
		j, err := a.Join(ctx, long)
		require.NoError(t, err)
		_, err = a.Sync(ctx, "g", j.MemberID, j.Generation, map[string][]byte{j.MemberID: nil})
		require.NoError(t, err)
		began := time.Now()
		j, err = b.Join(ctx, long)
		require.NoError(t, err)
		assert.InDelta(t, 60, time.Since(began).Seconds(), 1)
		assert.Len(t, j.Members, 1, "the one that did not come back is out")
	})
}

func TestGroup_JoinCommitLeave(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		g, err := w.client.Group()
		require.NoError(t, err)
		defer g.Close()
		o, err := w.client.Offsets()
		require.NoError(t, err)
		defer o.Close()
		j, err := g.Join(ctx, kafka.JoinRequest{Group: "g", ProtocolType: "consumer", Protocol: "ours", Metadata: []byte("me"),
			SessionTimeout: 10 * time.Second, RebalanceTimeout: 20 * time.Second})
		require.NoError(t, err)
		assert.Equal(t, j.MemberID, j.LeaderID)
		assert.Equal(t, map[string][]byte{j.MemberID: []byte("me")}, j.Members)
		mine, err := g.Sync(ctx, "g", j.MemberID, j.Generation, map[string][]byte{j.MemberID: []byte("all")})
		require.NoError(t, err)
		assert.Equal(t, "all", string(mine))
		require.NoError(t, g.Heartbeat(ctx, "g", j.MemberID, j.Generation))
		require.NoError(t, o.Commit(ctx, "g", j.MemberID, j.Generation, map[kafka.TopicPartition]kafka.OffsetMeta{tp(1): {Offset: 7, Metadata: "m"}}))
		require.ErrorIs(t, o.Commit(ctx, "g", j.MemberID, j.Generation+1, map[kafka.TopicPartition]kafka.OffsetMeta{tp(1): {Offset: 8}}), kafka.ErrIllegalGeneration)
		require.ErrorIs(t, o.Commit(ctx, "g", "other", j.Generation, map[kafka.TopicPartition]kafka.OffsetMeta{tp(1): {Offset: 8}}), kafka.ErrUnknownMember)
		at, err := o.Fetch(ctx, "g", []kafka.TopicPartition{tp(0), tp(1)})
		require.NoError(t, err)
		assert.Equal(t, map[kafka.TopicPartition]kafka.OffsetMeta{tp(0): {Offset: -1}, tp(1): {Offset: 7, Metadata: "m"}}, at)
		require.NoError(t, g.Leave(ctx, "g", j.MemberID, "done"))
		require.ErrorIs(t, g.Heartbeat(ctx, "g", j.MemberID, j.Generation), kafka.ErrUnknownMember)
		require.NoError(t, w.admin.DeleteGroup(ctx, "g"))
		require.NoError(t, w.admin.DeleteGroup(ctx, "g"))
	})
}
