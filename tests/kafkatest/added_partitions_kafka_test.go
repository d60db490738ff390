//go:build kafka

package kafkatest_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// On a real Kafka: an App waits for a consumer of another protocol; partitions are added to its input by Kafka's own tool, and read. The log
// says what a person would see.
func TestKafkaAddedPartitions(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{})
	topics(t, ctx, n)
	consumer, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.ConsumerGroup("added"), kgo.ConsumeTopics("lines"), kgo.ClientID("old-service"))
	require.NoError(t, err)
	defer consumer.Close()
	require.NoError(t, consumer.Ping(ctx))
	eventually(t, "the consumer is a member", func() bool {
		r := kmsg.NewPtrDescribeGroupsRequest()
		r.Groups = []string{"added"}
		answer, err := r.RequestWith(ctx, consumer)
		return err == nil && len(answer.Groups) == 1 && answer.Groups[0].State == "Stable"
	})

	var l log
	cfg := childConfig{Application: "added", Broker: n.Addr, StateDir: t.TempDir()}.app()
	cfg.Logger = slog.New(slog.NewTextHandler(&l, nil))
	m := run(t, cfg)
	eventually(t, "a warning about the other consumer", func() bool { return strings.Contains(l.String(), "old-service") })
	assert.Equal(t, millstream.Starting, m.State())
	assert.ErrorContains(t, m.Ready(), "old-service")
	consumer.Close()
	m.has(tasks)

	_, err = n.Tool(ctx, "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", n.Addr, "--alter", "--topic", "lines", "--partitions", fmt.Sprint(partitions+2))
	require.NoError(t, err)
	producer, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer producer.Close()
	for p := range int32(partitions + 2) {
		require.NoError(t, producer.ProduceSync(ctx, &kgo.Record{Topic: "lines", Partition: p, Value: []byte("word")}).FirstErr())
	}
	before := time.Now()
	eventually(t, "all partitions counted", func() bool { return latest(t, ctx, n, "counts")["word"] == partitions+2 })
	t.Logf("records of partitions that were added were counted after %v", time.Since(before).Round(time.Second))
	m.has(tasks + 2)
	assert.NoError(t, m.Ready())
	m.stop()
	t.Log("what a person sees:\n" + l.String())
}
