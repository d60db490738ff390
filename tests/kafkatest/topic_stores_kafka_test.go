//go:build kafka

package kafkatest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// A global table and one that is restored from its topic: what is committed of transactions is in them, a restart finds them on disk, another
// machine reads all, and a global topic that is made again stops the App and is read from its start.
func TestKafkaTopicStores(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	n := kafkatest.Start(t, kafkatest.Options{})
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.TransactionalID("writer"))
	require.NoError(t, err)
	defer c.Close()
	compact(t, ctx, c, "names", 7)
	compact(t, ctx, c, "limits", 3)
	b := stream.NewBuilder()
	names := table.Global(b, stream.NewTopic("names", serde.String, serde.String), "names").Store()
	limits := table.From(b, stream.NewTopic("limits", serde.String, serde.String), "limits", store.SourceIsChangelog()).Store()
	top, err := b.Build()
	require.NoError(t, err)
	config := childConfig{Application: "kept", Broker: n.Addr, StateDir: t.TempDir()}.app()
	start := func() *member {
		app, err := millstream.New(top, config)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		m := &member{app, t, cancel, make(chan error, 1)}
		go func() { m.done <- app.Run(ctx) }()
		return m
	}
	holds := func(m *member, ref store.KeyValueRef[string, string], rows int, value string) {
		t.Helper()
		eventually(t, fmt.Sprint(rows, " rows with ", value), func() bool {
			v, _, err := ref.In(m).Get("k7")
			have, err2 := ref.In(m).Len()
			return err == nil && err2 == nil && v == value && have == int64(rows) && m.Ready() == nil
		})
	}
	const rows = 2000
	for _, topic := range []string{"names", "limits"} {
		fill(t, ctx, c, topic, rows, "1", kgo.TryCommit)
		fill(t, ctx, c, topic, rows+10, "aborted", kgo.TryAbort)
	}
	for round, restored := range []int64{rows, 0, 2 * rows} { // at first the table is made, not restored
		if round == 2 {
			config.StateDir = t.TempDir()
		}
		m := start()
		holds(m, names, rows, "1")
		holds(m, limits, rows, "1")
		m.stop()
		assert.Equal(t, restored, m.Stats().Restored, "round %d", round)
	}

	m := start()
	holds(m, names, rows, "1")
	remove := kmsg.NewPtrDeleteTopicsRequest()
	named := kmsg.NewDeleteTopicsRequestTopic()
	named.Topic = kmsg.StringPtr("names")
	remove.Topics, remove.TopicNames = append(remove.Topics, named), []string{"names"}
	_, err = remove.RequestWith(ctx, c)
	require.NoError(t, err)
	require.ErrorContains(t, <-m.done, `global store "names" cannot follow`)
	compact(t, ctx, c, "names", 2)
	again, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.TransactionalID("writer"))
	require.NoError(t, err)
	defer again.Close()
	fill(t, ctx, again, "names", 10, "2", kgo.TryCommit)
	m = start()
	holds(m, names, 10, "2")
	holds(m, limits, rows, "1")
	m.stop()
}

// fill writes n rows in a transaction.
func fill(t *testing.T, ctx context.Context, c *kgo.Client, topic string, n int, value string, end kgo.TransactionEndTry) {
	t.Helper()
	require.NoError(t, c.BeginTransaction())
	var rs []*kgo.Record
	for i := range n {
		rs = append(rs, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "k%d", i), Value: []byte(value)})
	}
	require.NoError(t, c.ProduceSync(ctx, rs...).FirstErr())
	require.NoError(t, c.EndTransaction(ctx, end))
}

// compact creates a topic that is compacted, as soon as one of that name that was deleted is gone.
func compact(t *testing.T, ctx context.Context, c *kgo.Client, name string, partitions int32) {
	t.Helper()
	policy := kmsg.NewCreateTopicsRequestTopicConfig()
	policy.Name, policy.Value = "cleanup.policy", kmsg.StringPtr("compact")
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	topic.Configs = append(topic.Configs, policy)
	r := kmsg.NewPtrCreateTopicsRequest()
	r.Topics = append(r.Topics, topic)
	eventually(t, "topic "+name, func() bool {
		answer, err := r.RequestWith(ctx, c)
		require.NoError(t, err)
		return answer.Topics[0].ErrorCode == 0
	})
}
