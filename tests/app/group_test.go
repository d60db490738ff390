package app_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// An App gets no task because the group runs another program under its ApplicationID. It says so, and is not ready, unless others run its
// program too: then it is a version that is being rolled out.
func TestGroup_OtherProgramOfSameApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 2), broker.Topic("counts", 1))
		running := []*member{start(t, upper(t), config(t, b)), start(t, upper(t), config(t, b)), start(t, upper(t), config(t, b))}
		time.Sleep(20 * time.Second)
		var log safeBuffer
		cfg := config(t, b)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		stranger := start(t, simple(t), cfg)
		time.Sleep(20 * time.Second)
		assert.Empty(t, stranger.Tasks())
		require.Error(t, stranger.Ready())
		for _, want := range []string{"another program", `"app"`, "topics in, stores counts", "3 members", "ApplicationID"} {
			assert.Contains(t, stranger.Ready().Error(), want)
		}
		assert.NoError(t, stranger.Live())
		assert.Equal(t, 1, strings.Count(log.String(), "the group runs another program"), log.String())
		assert.Contains(t, log.String(), "level=WARN msg=\"millstream: the group runs another program")
		for _, m := range running {
			assert.NoError(t, m.Ready())
		}

		second := start(t, simple(t), config(t, b)) // one more of the new version: a roll-out
		time.Sleep(20 * time.Second)
		assert.NoError(t, stranger.Ready())
		assert.NoError(t, second.Ready())
		second.stop()
		time.Sleep(20 * time.Second)
		assert.Error(t, stranger.Ready())

		for _, m := range running {
			m.stop()
		}
		time.Sleep(30 * time.Second)
		assert.Len(t, stranger.Tasks(), 2)
		assert.NoError(t, stranger.Ready())
		stranger.stop()
	})
}

// A consumer of another protocol, as a Java application, is in the group: joining waits until it has left, says for whom, and fails only
// after the time that a session of it can last.
func TestGroup_WaitsForMemberOfOtherProtocol(t *testing.T) {
	for name, leaves := range map[string]time.Duration{"it leaves": 30 * time.Second, "it stays": 5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
				java, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...), kgo.Dialer(b.Dialer()), kgo.ConsumerGroup("app"), kgo.ConsumeTopics("in"),
					kgo.ClientID("orders-java"), kgo.DisableClientMetrics())
				require.NoError(t, err)
				time.Sleep(10 * time.Second)
				time.AfterFunc(leaves, java.Close)
				var log safeBuffer
				cfg := config(t, b)
				cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
				m := start(t, upper(t), cfg)
				write(t, b, "in", 0, 1)
				time.Sleep(15 * time.Second)
				require.Equal(t, millstream.Starting, m.State())
				assert.ErrorContains(t, m.Ready(), "orders-java")
				assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
				assert.Contains(t, log.String(), "orders-java")
				if leaves > time.Minute {
					time.Sleep(time.Minute)
					err := <-m.done
					require.ErrorContains(t, err, "orders-java")
					require.ErrorContains(t, err, "waited for 50s")
					time.Sleep(leaves)
					return
				}
				await(t, b, "out", 1)
				assert.NoError(t, m.Ready())
				m.stop()
			})
		})
	}
}
