package app_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// gaps follows a topic and returns the longest time in which a partition got no record, by partition, when stop is called.
func gaps(t *testing.T, b *broker.Broker, topic string) (stop func() map[int32]time.Duration) {
	var mu sync.Mutex
	last, longest := map[int32]time.Time{}, map[int32]time.Duration{}
	over := make(chan struct{})
	ctx, cancel := withCancel(t)
	go func() {
		defer close(over)
		for r, err := range b.Follow(ctx, topic) {
			if err != nil {
				return
			}
			mu.Lock()
			now := time.Now()
			if before, ok := last[r.Partition]; ok {
				longest[r.Partition] = max(longest[r.Partition], now.Sub(before))
			}
			last[r.Partition] = now
			mu.Unlock()
		}
	}()
	return func() map[int32]time.Duration {
		stopped := time.Now()
		cancel()
		<-over
		for p, before := range last { // it may have stopped altogether
			longest[p] = max(longest[p], stopped.Sub(before))
		}
		return longest
	}
}

// writeSteadily writes a record to each of n partitions every 20 ms until stopped.
func writeSteadily(t *testing.T, b *broker.Broker, topic string, n int) (stop func() (written int)) {
	ctx, cancel := withCancel(t)
	over := make(chan int)
	go func() {
		written := 0
		defer func() { over <- written }()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			var rs []broker.Record
			for p := range n {
				rs = append(rs, broker.Record{Partition: int32(p), Key: keyOf(p, n), Value: []byte("v")})
			}
			if b.Produce(t.Context(), topic, rs...) != nil {
				return
			}
			written += n
		}
	}()
	return func() int {
		cancel()
		return <-over
	}
}

func TestRebalance_MembersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 8
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", n), broker.Topic("out", n))
		first := start(t, upper(t), config(t, b))
		stopFeed := writeSteadily(t, b, "in", n)
		await(t, b, "out", n)
		longest := gaps(t, b, "out")
		keepsTasks := func(staying []string) {
			for p, gap := range longest() {
				if slices.Contains(staying, "0_"+string(rune('0'+p))) {
					assert.Less(t, gap, time.Second, "partition %d, which was staying", p)
				}
			}
		}
		second := start(t, upper(t), config(t, b))
		time.Sleep(20 * time.Second)
		assert.Len(t, first.Tasks(), n/2)
		assert.Len(t, second.Tasks(), n/2)
		keepsTasks(names(first.Tasks()))
		longest = gaps(t, b, "out")
		staying := names(second.Tasks())
		first.stop()
		time.Sleep(20 * time.Second)
		keepsTasks(staying)
		assert.Len(t, second.Tasks(), n)
		require.NoError(t, second.Ready())
		written := stopFeed()
		time.Sleep(time.Second)
		second.stop()
		rs, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		assert.Len(t, rs, written, "nobody was killed, so each record came out once")
		assert.Equal(t, int64(written), committed(t, b, "app", "in"))
	})
}

// Tasks that stay where they are do not pause while others come, leave and crash: no more than 200 ms pass between two results, with a
// record every 20 ms and a commit every 100 ms. In simulated time that is time in which somebody waits.
func TestRebalance_TasksThatStayDoNotPause(t *testing.T) {
	for _, guarantee := range []millstream.Guarantee{millstream.AtLeastOnce, millstream.ExactlyOnce} {
		t.Run(fmt.Sprint(guarantee), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tasksThatStay(t, guarantee) })
		})
	}
}

func tasksThatStay(t *testing.T, guarantee millstream.Guarantee) {
	const n = 3
	b := broker.Start(t, broker.Virtual(), broker.Topic("in", n), broker.Topic("counts", n))
	top := simple(t)
	cfg := func() millstream.Config {
		c := config(t, b)
		c.Guarantee, c.Standbys, c.SessionTimeout = guarantee, 1, 6*time.Second
		return c
	}
	first := start(t, top, cfg())
	stopFeed := writeSteadily(t, b, "in", n)
	await(t, b, "counts", n)
	// during measures while others do something, and the group settles.
	during := func(what string, stays *member, do func()) {
		t.Helper()
		before := names(stays.Tasks())
		longest := gaps(t, b, "counts")
		do()
		time.Sleep(12 * time.Second)
		stayed := 0
		for p, gap := range longest() {
			if id := fmt.Sprint("0_", p); slices.Contains(before, id) && slices.Contains(names(stays.Tasks()), id) {
				stayed++
				assert.LessOrEqual(t, gap, 200*time.Millisecond, "%s: partition %d, which stayed", what, p)
			}
		}
		assert.Positive(t, stayed, what)
	}
	var second *member
	var third *killable
	during("a member joins", first, func() { second = start(t, top, cfg()) })
	during("another one joins", first, func() { third = startKillable(t, top, cfg(), 0) })
	require.Len(t, third.Tasks(), 1)
	during("a member crashes", first, func() {
		third.kill()
		require.ErrorIs(t, <-third.done, crashpoint.Dead)
	})
	require.Len(t, slices.Concat(first.Tasks(), second.Tasks()), n)
	during("a member leaves", first, second.stop)
	require.Len(t, first.Tasks(), n)
	stopFeed()
	time.Sleep(time.Second)
	first.stop()
}

func names(ts []millstream.TaskInfo) []string {
	var out []string
	for _, t := range ts {
		out = append(out, t.ID)
	}
	return out
}

// There are more members than tasks: who has none is ready to take over.
func TestRebalance_MemberWithoutTasksIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		first := start(t, upper(t), config(t, b))
		time.Sleep(10 * time.Second)
		cfg := config(t, b)
		var calls atomic.Int64
		cfg.Events.Assigned = func([]string) { calls.Add(1) }
		second := start(t, upper(t), cfg)
		time.Sleep(30 * time.Second)
		require.NoError(t, second.Ready())
		assert.Equal(t, millstream.Running, second.State())
		assert.Empty(t, second.Tasks())
		assert.EqualValues(t, 1, calls.Load())
		first.stop()
		time.Sleep(10 * time.Second)
		assert.Len(t, second.Tasks(), 1)
		assert.EqualValues(t, 2, calls.Load())
		require.NoError(t, second.Ready())
		second.stop()
	})
}

// Tasks with state move when members come and go; those that stay do not stop.
func TestRebalance_StateMovesWithItsTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
		top, _ := counting(t)
		sum := map[string]int64{}
		var members []*member
		for range 3 {
			members = append(members, start(t, top, config(t, b)))
			writeWords(t, b, r, 500, sum)
			time.Sleep(15 * time.Second)
		}
		total := 0
		for _, m := range members {
			require.NoError(t, m.Ready())
			total += len(m.Tasks())
		}
		assert.Equal(t, 8, total)
		for _, m := range members {
			writeWords(t, b, r, 500, sum)
			m.stop()
		}
		last := start(t, top, config(t, b))
		writeWords(t, b, r, 500, sum)
		time.Sleep(15 * time.Second)
		last.stop()
		assert.Equal(t, sum, latest(t, b, "counts"), "nobody was killed: each record counts once")
		assert.Equal(t, sum, latest(t, b, "app-counts-changelog"))
	})
}
