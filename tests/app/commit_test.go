package app_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// What a refused commit means: those that can be cured are repeated while records are processed; a lost membership is joined
// again; what nothing cures stops the App.
func TestCommit_RefusedByCoordinator(t *testing.T) {
	for _, c := range []struct {
		err        *kerr.Error
		joinsAgain bool
		stop       bool
	}{
		{err: kerr.RebalanceInProgress},
		{err: kerr.IllegalGeneration},
		{err: kerr.CoordinatorNotAvailable},
		{err: kerr.NotCoordinator},
		{err: kerr.CoordinatorLoadInProgress},
		{err: kerr.RequestTimedOut},
		{err: kerr.UnknownMemberID, joinsAgain: true},
		{err: kerr.GroupAuthorizationFailed, stop: true},
	} {
		t.Run(c.err.Message, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
				cfg := config(t, b)
				var assigned atomic.Int64
				cfg.Events.Assigned = func([]string) { assigned.Add(1) }
				m := start(t, simple(t), cfg)
				write(t, b, "in", 0, 10)
				time.Sleep(time.Second)
				require.EqualValues(t, 10, committed(t, b, "app", "in"))
				b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: c.err, Count: 3})
				write(t, b, "in", 10, 10)
				if c.stop {
					require.ErrorContains(t, <-m.done, "commit offsets")
					assert.EqualValues(t, 10, committed(t, b, "app", "in"))
					return
				}
				time.Sleep(30 * time.Second)
				assert.EqualValues(t, 20, committed(t, b, "app", "in"))
				require.NoError(t, m.Ready())
				assert.Equal(t, c.joinsAgain, assigned.Load() > 1)
				m.stop()
				got := latest(t, b, "app-counts-changelog")
				assert.Len(t, got, 20)
				for k, n := range got {
					// What a lost epoch wrote to the changelog cannot be taken back: it may count again with each of three losses.
					assert.LessOrEqual(t, n, map[bool]int64{true: 4, false: 1}[c.joinsAgain], k)
				}
			})
		})
	}
}

// Commits go on while one is in flight: a slow coordinator does not hold processing up.
func TestCommit_ProcessingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		m := start(t, upper(t), config(t, b))
		write(t, b, "in", 0, 1)
		await(t, b, "out", 1)
		time.Sleep(time.Second)
		slow := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.RebalanceInProgress, Count: -1})
		write(t, b, "in", 1, 1)
		require.NoError(t, slow.Wait(t.Context(), 1))
		before := time.Now()
		write(t, b, "in", 2, 100)
		await(t, b, "out", 102)
		assert.Less(t, time.Since(before), 100*time.Millisecond)
		assert.EqualValues(t, 1, committed(t, b, "app", "in"))
		slow.Remove()
		m.stop()
		assert.EqualValues(t, 102, committed(t, b, "app", "in"))
	})
}

// Nobody can tell whether a batch was written: its tasks begin again where they have committed, and the App goes on.
func TestCommit_UncertainWriteBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		cfg := config(t, b)
		var restored atomic.Int64
		cfg.Events.Restore = func(r millstream.RestoreInfo) { restored.Add(1) }
		m := start(t, simple(t), cfg)
		write(t, b, "in", 0, 10)
		time.Sleep(time.Second)
		require.EqualValues(t, 10, committed(t, b, "app", "in"))
		b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "counts", Err: kerr.RequestTimedOut},
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "counts", Err: kerr.OutOfOrderSequenceNumber})
		write(t, b, "in", 10, 10)
		time.Sleep(10 * time.Second)
		require.NoError(t, m.Ready())
		assert.Greater(t, restored.Load(), int64(1), "it has begun again")
		assert.EqualValues(t, 20, committed(t, b, "app", "in"))
		write(t, b, "in", 20, 10)
		m.stopAfter(time.Second)
		assert.EqualValues(t, 30, committed(t, b, "app", "in"))
		got := latest(t, b, "app-counts-changelog")
		assert.Len(t, got, 30)
		for k, n := range got {
			assert.LessOrEqual(t, n, int64(2), k)
		}
	})
}
