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
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/tests/kafkatest"
	"github.com/millstream-go/millstream/topology"
)

// rows is how many a task has whose process is killed.
const rows = 1_000_000

// countingRows counts by key, in one task.
func countingRows() (*topology.Topology, error) {
	b := stream.NewBuilder()
	stream.To(table.ToStream(table.Count(stream.GroupByKey(stream.From(b, lines)), "rows")), counts)
	return b.Build()
}

// TestKafkaStandby_Failover kills the process of a task with many rows: how long until a record is processed again, with a
// standby and without?
func TestKafkaStandby_Failover(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	took, restored := map[int]time.Duration{}, map[int]int64{}
	for _, standbys := range []int{0, 1} {
		took[standbys], restored[standbys] = failover(t, ctx, standbys)
		t.Logf("standbys %d: %v from the kill to the next result, %d records restored", standbys, took[standbys], restored[standbys])
	}
	assert.GreaterOrEqual(t, restored[0], int64(rows))
	assert.Less(t, restored[1], int64(rows/100))
	assert.Less(t, took[1], took[0])
}

func failover(t *testing.T, ctx context.Context, standbys int) (took time.Duration, restored int64) {
	n := kafkatest.Start(t, kafkatest.Options{})
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.DefaultProduceTopic("lines"), kgo.MaxBufferedRecords(50_000))
	require.NoError(t, err)
	defer c.Close()
	r := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range []string{"lines", "counts"} {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
		r.Topics = append(r.Topics, topic)
	}
	_, err = r.RequestWith(ctx, c)
	require.NoError(t, err)
	for i := range rows {
		c.Produce(ctx, &kgo.Record{Key: fmt.Appendf(nil, "row %d", i), Value: []byte("a value of some length, as rows have it in practice")}, nil)
	}
	require.NoError(t, c.Flush(ctx))
	cfg := childConfig{Application: "failover", Broker: n.Addr, StateDir: t.TempDir(), Rows: true, Standbys: standbys}
	victim := spawn(t, cfg)
	eventually(t, "all rows counted", func() bool { return ends(t, ctx, n, "failover-rows-changelog")[0] >= rows })
	config := cfg.app()
	config.StateDir = t.TempDir()
	top, err := countingRows()
	require.NoError(t, err)
	app, err := millstream.New(top, config)
	require.NoError(t, err)
	appCtx, stop := context.WithCancel(t.Context())
	m := &member{app, t, stop, make(chan error, 1)}
	go func() { m.done <- app.Run(appCtx) }()
	eventually(t, "a member beside it", func() bool { return app.State() == millstream.Running })
	if standbys > 0 {
		eventually(t, "a standby that has caught up", func() bool {
			infos := app.Standbys()
			return len(infos) == 1 && infos[0].Position >= rows && infos[0].Lag < 100
		})
	}
	require.Empty(t, app.Tasks())
	out, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.ConsumeTopics("counts"), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	require.NoError(t, err)
	defer out.Close()
	require.NoError(t, out.Ping(ctx))
	before := app.Stats().Restored
	killed := time.Now()
	require.NoError(t, victim.Process.Kill())
	_ = victim.Wait()
	marker := fmt.Appendf(nil, "marker %d", standbys)
	require.NoError(t, c.ProduceSync(ctx, &kgo.Record{Key: marker, Value: []byte("v")}).FirstErr())
	for seen := false; !seen; {
		fetched := out.PollFetches(ctx)
		require.NoError(t, fetched.Err())
		fetched.EachRecord(func(r *kgo.Record) { seen = seen || string(r.Key) == string(marker) })
	}
	took = time.Since(killed)
	restored = app.Stats().Restored - before
	m.stop()
	return took, restored
}
