package app_test

import (
	"sync"
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

func TestEvents_AreCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		cfg := config(t, b)
		write(t, b, "in", 0, 500)
		runToEnd(t, simple(t), cfg)
		cfg.StateDir = t.TempDir()
		var mu sync.Mutex
		var assigned []string
		commits := 0
		restored := map[int32][]millstream.RestoreInfo{}
		whole := make(chan int32, 2) // the one record may be through before the other partition is restored
		cfg.Events = millstream.Events{
			Assigned: func(tasks []string) { mu.Lock(); defer mu.Unlock(); assigned = tasks },
			Commit:   func(millstream.CommitInfo) { mu.Lock(); defer mu.Unlock(); commits++ },
			Restore: func(r millstream.RestoreInfo) {
				mu.Lock()
				defer mu.Unlock()
				restored[r.Partition] = append(restored[r.Partition], r)
				if r.Done == r.End {
					whole <- r.Partition
				}
			},
		}
		m := start(t, simple(t), cfg)
		write(t, b, "in", 500, 1)
		await(t, b, "counts", 501)
		assert.ElementsMatch(t, []int32{0, 1}, []int32{<-whole, <-whole})
		m.stop()
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, []string{"0_0", "0_1"}, assigned)
		assert.Positive(t, commits)
		records := int64(0)
		for p, rs := range restored {
			first, last := rs[0], rs[len(rs)-1]
			assert.Zero(t, first.Done, "partition %d", p)
			assert.Equal(t, last.End, last.Done, "partition %d", p)
			assert.True(t, last.Full)
			assert.Equal(t, "counts", last.Store)
			records += last.Records
		}
		assert.EqualValues(t, 500, records)
		assert.EqualValues(t, 500, m.Stats().Restored)
	})
}

// Events.Assigned is called when tasks are only taken away, by a rebalance or because the membership was lost, but not at the stop.
func TestEventsAssigned_IsCalledWhenTasksAreRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 2))
		var first, second assignments
		cfg, other := config(t, b), config(t, b)
		cfg.Events, other.Events = first.events(), second.events()
		m := start(t, upper(t), cfg)
		time.Sleep(10 * time.Second)
		assert.Equal(t, []string{"0_0 0_1"}, first.take())

		n := start(t, upper(t), other)
		time.Sleep(20 * time.Second)
		assert.Equal(t, []string{"0_0"}, first.take())
		assert.Equal(t, []string{"0_1"}, second.take())

		n.stop()
		time.Sleep(20 * time.Second)
		assert.Equal(t, []string{"0_0 0_1"}, first.take())
		assert.Empty(t, second.take(), "a stop is no rebalance")

		unknown := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, Count: 1})
		require.NoError(t, unknown.Wait(t.Context(), 1))
		time.Sleep(20 * time.Second)
		assert.Equal(t, []string{"", "0_0 0_1"}, first.take())
		m.stop()
	})
}
