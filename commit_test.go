package millstream_test

import (
	"fmt"
	"sync"
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
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// What a refused commit means: those that can be cured are repeated while records are processed; a lost membership is joined
// again; what nothing cures stops the App.
func TestCommitErrors(t *testing.T) {
	for _, c := range []struct {
		err  *kerr.Error
		lost bool
		stop bool
	}{
		{err: kerr.RebalanceInProgress},
		{err: kerr.IllegalGeneration},
		{err: kerr.CoordinatorNotAvailable},
		{err: kerr.NotCoordinator},
		{err: kerr.CoordinatorLoadInProgress},
		{err: kerr.RequestTimedOut},
		{err: kerr.UnknownMemberID, lost: true},
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
				assert.Equal(t, c.lost, assigned.Load() > 1)
				m.stop()
				got := latest(t, b, "app-counts-changelog")
				assert.Len(t, got, 20)
				for k, n := range got {
					// What a lost epoch wrote to the changelog cannot be taken back: it may count again with each of three losses.
					assert.LessOrEqual(t, n, map[bool]int64{true: 4, false: 1}[c.lost], k)
				}
			})
		})
	}
}

// Commits go on while one is in flight: a slow coordinator does not hold processing up.
func TestProcessingGoesOnDuringACommit(t *testing.T) {
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

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		cfg := config(t, b)
		write(t, b, "in", 0, 500)
		toEnd(t, simple(t), cfg)
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

func TestAFunctionThatNeverReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		builder := stream.NewBuilder()
		over := make(chan struct{})
		stream.To(stream.MapValues(stream.From(builder, in), func(v string) string { <-over; return v }), out)
		cfg := config(t, b)
		cfg.MaxProcessingTime, cfg.StopTimeout = time.Minute, 5*time.Second
		write(t, b, "in", 0, 1)
		m := start(t, build(t, builder), cfg)
		time.Sleep(30 * time.Second)
		require.NoError(t, m.Live())
		err := <-m.done
		require.ErrorContains(t, err, "longer than Config.MaxProcessingTime")
		require.Error(t, m.Live())
		assert.Empty(t, b.Cluster().GroupInfo("app").Members, "others may take the tasks")
		assert.Zero(t, committed(t, b, "app", "in"))
		close(over)
	})
}

// More state than memory: stores give memory back by writing to disk, and everything goes on.
func TestSmallMemoryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("last", 2))
		builder := stream.NewBuilder()
		rows := table.ToTable(stream.From(builder, in), "rows")
		stream.To(table.ToStream(rows), stream.NewTopic("last", serde.String, serde.String))
		cfg := config(t, b)
		cfg.MemoryBudget = 1 << 20
		const n = 10_000
		long := make([]byte, 500)
		for first := 0; first < n; first += 1000 {
			var rs []broker.Record
			for i := first; i < first+1000; i++ {
				rs = append(rs, broker.Record{Partition: broker.ByKey, Key: fmt.Appendf(nil, "k%d", i), Value: long})
			}
			require.NoError(t, b.Produce(t.Context(), "in", rs...))
		}
		top := build(t, builder)
		toEnd(t, top, cfg)
		assert.EqualValues(t, n, committed(t, b, "app", "in"))
		m := start(t, top, cfg)
		time.Sleep(5 * time.Second)
		require.NoError(t, m.Ready())
		assert.Zero(t, m.Stats().Restored, "everything was on disk")
		count, err := rows.Store().In(m).Len()
		require.NoError(t, err)
		assert.EqualValues(t, n, count)
		m.stop()
	})
}

func TestRunToEndWithSeveralMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
		write(t, b, "in", 0, 2000)
		top, _ := counting(t)
		done := make(chan error, 3)
		for range 3 {
			app, err := millstream.New(top, config(t, b))
			require.NoError(t, err)
			go func() { done <- app.RunToEnd(noSync(t.Context())) }()
		}
		for range 3 {
			require.NoError(t, <-done)
			assert.Len(t, latest(t, b, "counts"), 2000, "nobody ends before all partitions are done")
		}
	})
}

// Nobody can tell whether a batch was written: its tasks begin again where they have committed, and the App goes on.
func TestUncertainWriteBeginsAgain(t *testing.T) {
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
