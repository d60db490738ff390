//go:build kafka

package kafkatest_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/join"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/tests/kafkatest"
	"github.com/millstream-go/millstream/window"
)

// makeTopic creates a topic of one partition with settings given as name and value.
func makeTopic(t *testing.T, cl *kgo.Client, name string, settings ...string) {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	x := kmsg.NewCreateTopicsRequestTopic()
	x.Topic, x.NumPartitions, x.ReplicationFactor = name, 1, 1
	for i := 0; i < len(settings); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = settings[i], &settings[i+1]
		x.Configs = append(x.Configs, c)
	}
	req.Topics, req.TimeoutMillis = append(req.Topics, x), 10000
	resp, err := req.RequestWith(t.Context(), cl)
	require.NoError(t, err)
	require.Zero(t, resp.Topics[0].ErrorCode, "create %s", name)
}

// runOnce runs a program to the end of its input on a disk of its own.
func runOnce(t *testing.T, addr, application string, program func(b *stream.Builder)) {
	t.Helper()
	b := stream.NewBuilder()
	program(b)
	top, err := b.Build()
	require.NoError(t, err)
	app, err := millstream.New(top, millstream.Config{
		ApplicationID: application, Brokers: []string{addr}, StateDir: t.TempDir(), Workers: 1,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, app.RunToEnd(ctx))
}

func texts(b *stream.Builder, topic string) stream.KStream[string, string] {
	return stream.From(b, stream.NewTopic(topic, serde.String, serde.String))
}

// TestKafkaInternalTopics_AcceptAnyTime: a broker of today refuses times that are more than an hour ahead, unless its topic says otherwise.
// Those that an earlier version has made do not.
func TestKafkaInternalTopics_AcceptAnyTime(t *testing.T) {
	addr := kafkatest.Start(t, kafkatest.Options{}).Addr
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	defer cl.Close()
	makeTopic(t, cl, "in", "message.timestamp.after.max.ms", "9223372036854775807")
	makeTopic(t, cl, "old-s-changelog", "cleanup.policy", "compact,delete", "retention.ms", "172800000")
	makeTopic(t, cl, "old-r-repartition", "retention.ms", "-1")
	at := time.Now().AddDate(100, 0, 0)
	require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: "in", Key: []byte("k"), Value: []byte("v"), Timestamp: at}).FirstErr())
	for _, application := range []string{"new", "old"} {
		var got []time.Time
		runOnce(t, addr, application, func(b *stream.Builder) {
			days := table.CountWindows(stream.GroupByKey(stream.Repartition(texts(b, "in"), "r")), window.Tumbling(24*time.Hour), "s")
			stream.ForEach(table.ToStream(days), func(r stream.Record[window.Key[string], int64]) { got = append(got, r.Time) })
		})
		require.Len(t, got, 1)
		assert.WithinDuration(t, at, got[0], time.Millisecond)
	}
}

// TestKafkaChangelogRetention_OldRecordsStay: the stores of records of last year are restored with all they had, though the broker would delete and
// compact what is older than their retention.
func TestKafkaChangelogRetention_OldRecordsStay(t *testing.T) {
	addr := kafkatest.Start(t, kafkatest.Options{Properties: map[string]string{
		"log.cleaner.backoff.ms": "500", "log.cleaner.min.cleanable.ratio": "0", "log.retention.check.interval.ms": "1000",
		"log.initial.task.delay.ms": "500", "log.segment.delete.delay.ms": "100",
	}}).Addr
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	defer cl.Close()
	day := time.Now().AddDate(-1, 0, 0).Truncate(24 * time.Hour)
	put := func(topic string, after time.Duration) {
		r := &kgo.Record{Topic: topic, Key: []byte("k"), Value: fmt.Append(nil, after), Timestamp: day.Add(after)}
		require.NoError(t, cl.ProduceSync(t.Context(), r).FirstErr())
	}
	rolls := store.TopicConfig("segment.ms", "1000") // what is in the last segment is neither deleted nor compacted
	last := ""
	see := func(s stream.KStream[string, string]) {
		stream.ForEach(s, func(r stream.Record[string, string]) { last = r.Value })
	}
	kinds := []struct {
		name, want string
		program    func(b *stream.Builder)
	}{
		{"windows", "5", func(b *stream.Builder) {
			n := table.CountWindows(stream.GroupByKey(texts(b, "in")), window.Tumbling(24*time.Hour).Grace(24*time.Hour), "s", rolls)
			see(stream.Map(table.ToStream(n), func(k window.Key[string], n int64) (string, string) { return k.Key, fmt.Sprint(n) }))
		}},
		{"sessions", "5", func(b *stream.Builder) {
			n := table.CountWindows(stream.GroupByKey(texts(b, "in")), window.Sessions(24*time.Hour), "s", rolls)
			see(stream.Map(table.ToStream(n), func(k window.Key[string], n int64) (string, string) { return k.Key, fmt.Sprint(n) }))
		}},
		{"join", "2m0s 1m30s", func(b *stream.Builder) {
			see(join.StreamStream(texts(b, "in"), texts(b, "other"), window.Within(time.Minute/2), "s", func(l, r string) string { return l + " " + r }, rolls))
		}},
		{"versions", "1m0s", func(b *stream.Builder) {
			v := table.From(b, stream.NewTopic("in", serde.String, serde.String), "s", store.Versions(time.Hour), rolls)
			see(join.StreamTable(texts(b, "other"), v, "j", func(_, v string) string { return v }))
		}},
	}
	makeTopic(t, cl, "in", "retention.ms", "-1")
	makeTopic(t, cl, "other", "retention.ms", "-1")
	for i := range 3 {
		put("in", time.Duration(i)*time.Minute)
	}
	for _, k := range kinds {
		runOnce(t, addr, k.name, k.program)
	}
	time.Sleep(2 * time.Second) // the segments are a second old, by the clock of the broker,
	put("in", 3*time.Minute)
	for _, k := range kinds {
		runOnce(t, addr, k.name, k.program) // and the next record begins a new one
	}
	time.Sleep(8 * time.Second) // the broker looks every second for what it may delete or compact
	put("other", 90*time.Second)
	put("in", 4*time.Minute)
	for _, k := range kinds {
		last = ""
		runOnce(t, addr, k.name, k.program)
		assert.Equal(t, k.want, last, k.name)
	}
}
