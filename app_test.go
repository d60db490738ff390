package millstream_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/internal/partition"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	in  = stream.NewTopic("in", serde.String, serde.String)
	out = stream.NewTopic("out", serde.String, serde.String)
)

// upper is a topology without state.
func upper(t *testing.T) *topology.Topology {
	b := stream.NewBuilder()
	stream.To(stream.MapValues(stream.From(b, in), strings.ToUpper), out)
	return build(t, b)
}

func build(t *testing.T, b *stream.Builder) *topology.Topology {
	t.Helper()
	top, err := b.Build()
	require.NoError(t, err)
	return top
}

// config is that of an App beside b.
func config(t *testing.T, b *broker.Broker) millstream.Config {
	return millstream.Config{
		ApplicationID: "app", Brokers: b.Brokers(), Dialer: b.Dialer(), StateDir: t.TempDir(), Workers: 2, Logger: logger(t),
	}
}

func logger(t *testing.T) *slog.Logger {
	if os.Getenv("MILLSTREAM_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// member is an App that runs.
type member struct {
	*millstream.App
	t      *testing.T
	cancel context.CancelFunc
	done   chan error
}

func start(t *testing.T, top *topology.Topology, cfg millstream.Config) *member {
	t.Helper()
	app, err := millstream.New(top, cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	m := &member{App: app, t: t, cancel: cancel, done: make(chan error, 1)}
	go func() {
		err := app.Run(ctx)
		if err != nil {
			t.Log("Run:", err)
		}
		m.done <- err
	}()
	return m
}

// stop stops it gracefully.
func (m *member) stop() {
	m.t.Helper()
	m.cancel()
	require.NoError(m.t, <-m.done)
}

// write writes n records with keys of the form k7 and values of the form v7, from the number first.
func write(t *testing.T, b *broker.Broker, topic string, first, n int) {
	t.Helper()
	var rs []broker.Record
	for i := first; i < first+n; i++ {
		rs = append(rs, broker.Record{Partition: broker.ByKey, Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i)})
	}
	require.NoError(t, b.Produce(t.Context(), topic, rs...))
}

// await follows a topic until it has n records.
func await(t *testing.T, b *broker.Broker, topic string, n int) []broker.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var rs []broker.Record
	for r, err := range b.Follow(ctx, topic) {
		require.NoError(t, err, "after %d records of %q", len(rs), topic)
		if rs = append(rs, r); len(rs) == n {
			return rs
		}
	}
	require.Fail(t, "records are missing", "%q has %d, not %d", topic, len(rs), n)
	return nil
}

func values(rs []broker.Record) map[string]string {
	out := map[string]string{}
	for _, r := range rs {
		out[string(r.Key)] = string(r.Value)
	}
	return out
}

func TestPassThrough(t *testing.T) {
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

// committed returns the sum of the committed offsets of a topic.
func committed(t *testing.T, b *broker.Broker, group, topic string) int64 {
	t.Helper()
	info := b.Cluster().GroupInfo(group)
	require.NotNil(t, info)
	var sum int64
	for _, c := range info.Commits[topic] {
		sum += c.Offset
	}
	return sum
}

func TestGracefulStopCommitsAll(t *testing.T) {
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

func TestRunToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 3), broker.Topic("out", 3))
		write(t, b, "in", 0, 500)
		builder := stream.NewBuilder()
		s := stream.SelectKey(stream.From(builder, in), func(_, v string) string { return v })
		stream.To(stream.MapValues(stream.Repartition(s, "by-value"), strings.ToUpper), out)
		app, err := millstream.New(build(t, builder), config(t, b))
		require.NoError(t, err)
		require.NoError(t, app.RunToEnd(t.Context()))
		all, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		assert.Len(t, all, 500)
	})
}

type ctx = context.Context

func withCancel(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// keyOf returns a key of partition p among n by Kafka's default partitioner.
func keyOf(p, n int) []byte {
	for i := 0; ; i++ {
		if key := fmt.Appendf(nil, "p%d", i); int(partition.ForKey(key, n)) == p {
			return key
		}
	}
}

// The same on real sockets and in real time.
func TestOnTCP(t *testing.T) {
	b := broker.Start(t, broker.Brokers(3), broker.Topic("in", 4), broker.Topic("out", 4))
	m := start(t, upper(t), config(t, b))
	write(t, b, "in", 0, 1000)
	assert.Len(t, values(await(t, b, "out", 1000)), 1000)
	before := time.Now()
	m.stop()
	assert.Less(t, time.Since(before), 10*time.Second)
	assert.Equal(t, int64(1000), committed(t, b, "app", "in"))
}

// stopAfter lets it work for a while before.
func (m *member) stopAfter(d time.Duration) {
	m.t.Helper()
	time.Sleep(d)
	m.stop()
}
