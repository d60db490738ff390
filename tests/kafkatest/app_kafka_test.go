//go:build kafka

package kafkatest_test

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rcrowley/go-metrics"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// Apps join and leave while records come: each counts once, nobody waits for a session to run out, and Kafka's own tool shows who
// does what.
func TestKafkaRebalance(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{})
	topics(t, ctx, n)
	config := childConfig{Application: "members", Broker: n.Addr}.app()
	config.StateDir = t.TempDir()
	config.SessionTimeout = 2 * time.Minute // nothing else takes as long, however busy the machine is
	f := feed(t, n, 1)
	a := run(t, config)
	a.has(tasks)
	other := config
	other.StateDir = t.TempDir()
	b := run(t, other)
	a.has(tasks / 2)
	b.has(tasks / 2)

	owned, _ := group(t, ctx, n, "members")
	want := [][]string{sorted(a.reads("members")), sorted(b.reads("members"))}
	assert.ElementsMatch(t, want, slices.Collect(maps.Values(sortedEach(owned))), "Kafka's tool shows the real assignment")
	out, err := n.Tool(ctx, "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--bootstrap-server", n.Addr,
		"--describe", "--group", "members", "--members", "--verbose")
	require.NoError(t, err)
	t.Logf("the tool says:\n%s", out)
	for consumer := range owned {
		assert.Contains(t, out, consumer)
	}

	before := time.Now()
	a.stop()
	b.has(tasks)
	t.Logf("all tasks moved within %v", time.Since(before))
	assert.Less(t, time.Since(before), config.SessionTimeout, "who leaves says so")
	require.NoError(t, b.Ready())
	f.more(t, 500)
	counted, total := f.end(t)
	b.stop()
	toEnd(t, ctx, other)
	assert.Equal(t, counted, latest(t, ctx, n, "counts"), "of %d records", total)
	assert.Equal(t, counted, latest(t, ctx, n, "members-words-changelog"))
	owned, lag := group(t, ctx, n, "members")
	assert.Zero(t, lag)
	assert.Equal(t, []string{"-"}, slices.Collect(maps.Keys(owned)), "nobody is left in the group")

	assert.False(t, metrics.UseNilMetrics, "the library has not touched what all clients of a process share")
	metrics.DefaultRegistry.Each(func(name string, _ any) { assert.Fail(t, "a metric of the whole process", name) })
}

func sorted(s []string) []string { slices.Sort(s); return s }

func sortedEach(m map[string][]string) map[string][]string {
	for _, s := range m {
		slices.Sort(s)
	}
	return m
}

// A process is killed with -9 and comes back to the state that it left, and the broker crashes and is restarted, all under load: every input
// counts, and the output is the table.
func TestKafkaRestore_AfterCrashes(t *testing.T) { crashes(t, millstream.AtLeastOnce) }

// With exactly once it counts once, in the table and in the updates of it.
func TestKafkaExactlyOnce_AfterCrashes(t *testing.T) { crashes(t, millstream.ExactlyOnce) }

func crashes(t *testing.T, g millstream.Guarantee) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{})
	topics(t, ctx, n)
	c := childConfig{Application: "crashes", Broker: n.Addr, StateDir: t.TempDir(), Guarantee: g}
	config := childConfig{Application: "crashes", Broker: n.Addr, StateDir: t.TempDir(), Guarantee: g}.app()
	var l log
	config.Logger = slog.New(slog.NewTextHandler(&l, nil))
	f := feed(t, n, 2)
	a := run(t, config)
	a.has(tasks)
	for round := range 2 {
		victim := spawn(t, c)
		a.has(tasks / 2)
		f.more(t, 2000)
		require.NoError(t, victim.Process.Kill())
		require.Error(t, victim.Wait())
		before := time.Now()
		a.has(tasks)
		t.Logf("kill %d: all tasks taken over after %v", round, time.Since(before))
	}
	for round := range 2 {
		n.Kill()
		require.NoError(t, n.Restart(ctx))
		before := time.Now()
		f.more(t, 2000)
		eventually(t, "ready again", func() bool { return a.Ready() == nil })
		require.NoError(t, a.Live())
		t.Logf("broker restart %d: ready again after %v", round, time.Since(before))
	}
	counted, total := f.end(t)
	// What was read of the repartition topic is deleted now and then, also after a time in which the broker was away.
	eventually(t, "the repartition topic begins where it was read to", func() bool {
		out, err := n.Tool(ctx, "org.apache.kafka.tools.GetOffsetShell", "--bootstrap-server", n.Addr, "--topic", "crashes-words-repartition", "--time", "-2")
		require.NoError(t, err)
		return !strings.Contains(out, ":0\n")
	})
	a.stop()
	assert.NotContains(t, l.String(), "leaving the group failed", "the connections of before the restarts are no hindrance")
	config.StateDir = t.TempDir()
	last := run(t, config)
	last.has(tasks)
	assert.Positive(t, last.Stats().Restored, "on an empty disk")
	last.stop()
	got, updates := committed(t, ctx, n, "counts")
	assert.Equal(t, got, latest(t, ctx, n, "crashes-words-changelog"), "output and table")
	if g == millstream.ExactlyOnce {
		assert.Equal(t, counted, got)
		assert.Equal(t, total, updates)
	}
	var sum int64
	for w, want := range counted {
		sum += got[w]
		assert.GreaterOrEqual(t, got[w], want, "lost: %s", w)
		assert.LessOrEqual(t, got[w], 2*want, "counted more often than it was delivered: %s", w)
	}
	assert.Len(t, got, len(counted))
	t.Logf("%d records, counted %d times", total, sum)
	_, lag := group(t, ctx, n, "crashes")
	assert.Zero(t, lag)
}

// What Kafka says of the internal topics, whoever created them.
func TestKafkaInternalTopics(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{Properties: map[string]string{"num.partitions": "7", "log.retention.ms": "60000"}})
	topics(t, ctx, n)
	config := childConfig{Application: "topics", Broker: n.Addr, StateDir: t.TempDir()}.app()
	config.TopicConfig = map[string]string{"segment.ms": "7200000"}
	f := feed(t, n, 3)
	f.more(t, 1000)
	f.end(t)
	for range 2 { // the second time they are there, and are checked
		toEnd(t, ctx, config)
	}
	for topic, want := range map[string][]string{
		"topics-words-repartition": {"PartitionCount: 4", "ReplicationFactor: 1", "cleanup.policy=delete", "retention.ms=-1", "segment.bytes=52428800", "message.timestamp.type=CreateTime", "segment.ms=7200000"},
		"topics-words-changelog":   {"PartitionCount: 4", "ReplicationFactor: 1", "cleanup.policy=compact", "message.timestamp.type=CreateTime", "segment.ms=7200000"},
	} {
		out, err := n.Tool(ctx, "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", n.Addr, "--describe", "--topic", topic)
		require.NoError(t, err)
		for _, w := range want {
			assert.Contains(t, out, w)
		}
	}
}
