package app_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// An App that is stopped while it waits for a global topic's brokers, or reads it, ends at once.
func TestGlobalTable_StopWhileItIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 1))
		writeRows(t, b, 100, 0)
		entered := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		ctx = crashpoint.With(ctx, func(p crashpoint.Point) {
			if p == crashpoint.RestoreHalf {
				close(entered)
				cancel()
			}
		})
		top, _ := globalJoin(t)
		app, err := millstream.New(top, config(t, b))
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- app.Run(ctx) }()
		<-entered
		before := time.Now()
		require.NoError(t, <-done)
		assert.Less(t, time.Since(before), time.Second)
	})
}

// While a global topic's brokers are away before it was read, Ready says what is the matter.
func TestGlobalTable_ReadyNamesTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 1))
		writeRows(t, b, 10, 0)
		b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: 1 << 20})
		top, _ := globalJoin(t)
		m := start(t, top, config(t, b))
		time.Sleep(30 * time.Second)
		err := m.Ready()
		require.ErrorContains(t, err, "restoring")
		require.ErrorContains(t, err, "not the leader")
		assert.Equal(t, millstream.Restoring, m.State())
		assert.Empty(t, m.Tasks(), "no task before its global tables")
		m.stop()
	})
}

// However often and wherever it is killed while it reads its global table, and while it follows: in the end the rows are those of the
// topic.
func TestGlobalTable_SurvivesCrashes(t *testing.T) {
	for _, p := range []crashpoint.Point{
		crashpoint.RestoreHalf, crashpoint.RestoreDone, crashpoint.FlushBegin, crashpoint.FlushHalf, crashpoint.FlushDone, crashpoint.StopSettled,
	} {
		t.Run(p.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 3))
				top, ref := globalJoin(t)
				cfg := config(t, b)
				for round := range 5 {
					writeRows(t, b, 200, round)
					runUntilCrash(t, top, cfg, p, round+1)
				}
				require.NoError(t, b.Produce(t.Context(), "rows", broker.Record{Partition: broker.ByKey, Key: []byte("v5")}))
				m := start(t, top, cfg)
				// The sessions of the dead, and a rebalance that waits for one that died while it joined: a follower
				// reads before its App is in the group.
				time.Sleep(3 * time.Minute)
				require.NoError(t, m.Ready())
				n := 0
				for r, err := range ref.In(m).All() {
					require.NoError(t, err)
					assert.Equal(t, "r"+r.Key[1:]+".4", r.Value)
					n++
				}
				assert.Equal(t, 199, n)
				m.stop()
			})
		})
	}
}

func TestGlobalTable_OutlivesItsBrokers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.DataDir(t.TempDir()), broker.Topic("in", 2), broker.Topic("out", 2), broker.Topic("rows", 3))
		top, ref := globalJoin(t)
		writeRows(t, b, 100, 0)
		m := start(t, top, config(t, b))
		for round := 1; round < 4; round++ {
			require.NoError(t, b.Restart())
			writeRows(t, b, 100, round)
			time.Sleep(time.Minute)
			require.NoError(t, m.Ready())
			v, _, err := ref.In(m).Get("v9")
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprintf("r9.%d", round), v)
		}
		m.stop()
	})
}

// The topic is deleted and made again: an App that runs stops, and the next one has the rows of the new topic and no others.
func TestGlobalTable_TopicIsRecreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 2))
		writeRows(t, b, 100, 0)
		top, ref := globalJoin(t)
		cfg := config(t, b)
		m := start(t, top, cfg)
		time.Sleep(time.Second)
		require.NoError(t, m.Ready())
		administer(t, b, func(a kafka.Admin) error { return a.DeleteTopics(t.Context(), "rows") })
		time.Sleep(time.Second)
		require.NoError(t, b.CreateTopic("rows", 3))
		for i := range 10 { // by a client that has not seen the old topic
			transact(t, b, "rows", kgo.TryCommit, kgo.Record{Key: fmt.Appendf(nil, "v%d", i), Value: []byte("x")})
		}
		select {
		case err := <-m.done:
			require.ErrorContains(t, err, `global store "rows" cannot follow rows[`)
		case <-time.After(10 * time.Minute):
			require.Fail(t, "the App does not notice")
		}
		m = start(t, top, cfg)
		time.Sleep(time.Second)
		n, err := ref.In(m).Len()
		require.NoError(t, err)
		assert.EqualValues(t, 10, n)
		m.stop()
	})
}
