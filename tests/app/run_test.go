package app_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestRun_PassThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("out", 4))
		m := start(t, upper(t), config(t, b))
		write(t, b, "in", 0, 1000)
		got := values(await(t, b, "out", 1000))
		assert.Len(t, got, 1000)
		assert.Equal(t, "V7", got["k7"])
		m.stop()
		assert.Equal(t, millstream.Stopped, m.State())
		assert.Equal(t, int64(1000), m.Stats().RecordsIn)
		assert.Equal(t, int64(1000), committed(t, b, "app", "in"))
		all, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		assert.Len(t, all, 1000)
	})
}

func TestRun_GracefulStopCommitsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 2))
		cfg := config(t, b)
		cfg.CommitInterval = time.Hour
		for round := range 3 {
			m := start(t, upper(t), cfg)
			write(t, b, "in", 100*round, 100)
			await(t, b, "out", 100*(round+1))
			before := time.Now()
			m.stop()
			assert.Less(t, time.Since(before), time.Second, "a stop is prompt")
			assert.Equal(t, int64(100*(round+1)), committed(t, b, "app", "in"), "a stop is complete")
		}
		all, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		assert.Len(t, all, 300)
	})
}

func TestRun_StopsWhileWaitingForBrokers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual())
		cfg := config(t, b)
		b.Cluster().Close()
		m := start(t, upper(t), cfg)
		time.Sleep(time.Minute)
		assert.Equal(t, millstream.Starting, m.State())
		require.ErrorContains(t, m.Ready(), "broker", "it says what it waits for")
		m.stop()
	})
}

// Two Apps of one process share nothing: neither names nor settings nor state.
func TestRun_TwoAppsInOneProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		cfg := config(t, b)
		write(t, b, "in", 0, 50)
		var apps []*member
		for _, id := range []string{"app", "app2"} {
			cfg.ApplicationID = id // in the same state directory
			apps = append(apps, start(t, simple(t), cfg))
		}
		await(t, b, "counts", 100)
		for _, a := range apps {
			a.stop()
			assert.EqualValues(t, 50, a.Stats().RecordsIn)
		}
		want := latest(t, b, "app-counts-changelog")
		assert.Len(t, want, 50)
		assert.Equal(t, want, latest(t, b, "app2-counts-changelog"))
	})
}

// The same on real sockets and in real time.
func TestRun_OnTCP(t *testing.T) {
	b := broker.Start(t, broker.Brokers(3), broker.Topic("in", 4), broker.Topic("out", 4))
	m := start(t, upper(t), config(t, b))
	write(t, b, "in", 0, 1000)
	assert.Len(t, values(await(t, b, "out", 1000)), 1000)
	before := time.Now()
	m.stop()
	assert.Less(t, time.Since(before), 10*time.Second)
	assert.Equal(t, int64(1000), committed(t, b, "app", "in"))
}
