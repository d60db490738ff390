//go:build kafka

package kafkatest_test

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// A process is killed with -9 and does not come back. Who takes its tasks over waits for its session, but not for the time-out of its
// transaction, as a member does that does not end transactions: one with at least once.
func TestKafkaExactlyOnce_DeadProcess(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{})
	topics(t, ctx, n)
	f := feed(t, n, 4)
	took := map[millstream.Guarantee]time.Duration{}
	for _, g := range []millstream.Guarantee{millstream.ExactlyOnce, millstream.AtLeastOnce} {
		c := childConfig{Application: "dead-" + strings.ReplaceAll(g.String(), " ", "-"), Broker: n.Addr, StateDir: t.TempDir(), Guarantee: millstream.ExactlyOnce}
		config := c.app()
		config.StateDir, config.Guarantee = t.TempDir(), g
		var l log
		config.Logger = slog.New(slog.NewTextHandler(&l, nil))
		a := run(t, config)
		a.has(tasks)
		victim := spawn(t, c)
		a.has(tasks / 2)
		f.more(t, 2000)
		killInTransaction(t, ctx, n, victim, c)
		before := time.Now()
		a.has(tasks)
		took[g] = time.Since(before)
		a.stop()
		ended := strings.Count(l.String(), "aborted the transaction of a process that has died")
		t.Logf("%v: all tasks taken over %v after the kill, %d transactions ended", g, took[g], ended)
		assert.Equal(t, g == millstream.ExactlyOnce, ended > 0)
	}
	f.end(t)
	assert.Less(t, took[millstream.ExactlyOnce], took[millstream.AtLeastOnce])
}

// killInTransaction kills a process at a moment at which it has a transaction open, which it has only some of the time: it is
// frozen until the broker says that it has one.
func killInTransaction(t *testing.T, ctx context.Context, n *kafkatest.Node, victim *exec.Cmd, c childConfig) {
	t.Helper()
	id, err := statedir.ProcessID(filepath.Join(c.StateDir, c.Application))
	require.NoError(t, err)
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Addr))
	require.NoError(t, err)
	defer client.Close()
	open := func() bool {
		open, err := kafkatest.HasOpenTransaction(ctx, client, fmt.Sprintf("%s-%x-", c.Application, id))
		require.NoError(t, err)
		return open
	}
	eventually(t, "a transaction of the process", func() bool {
		require.NoError(t, victim.Process.Signal(syscall.SIGSTOP))
		if open() {
			// The request that ends it may have been on its way.
			time.Sleep(100 * time.Millisecond)
			if open() {
				return true
			}
		}
		require.NoError(t, victim.Process.Signal(syscall.SIGCONT))
		return false
	})
	require.NoError(t, victim.Process.Kill())
	require.Error(t, victim.Wait())
}
