package broker_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestBroker_ReadsWhatWasWritten(t *testing.T) {
	ctx, b := deadline(t), broker.Start(t, broker.Brokers(3), broker.Topic("t", 2))
	require.Len(t, b.Brokers(), 3)
	at := time.UnixMilli(1_700_000_000_123)
	in := []broker.Record{
		{Partition: 0, Key: []byte("k"), Value: []byte{}, Time: at, Headers: []broker.Header{{Name: "h", Value: []byte("x")}, {Name: "null"}}},
		{Partition: 1, Key: nil, Value: []byte("v"), Time: at},
		{Partition: 1, Key: []byte{}, Value: nil, Time: at.Add(-time.Hour)},
	}
	require.NoError(t, b.Produce(ctx, "t", in...))
	got, err := b.Read(ctx, "t")
	require.NoError(t, err)
	in[2].Offset = 1
	assert.Equal(t, in, got)
}

func TestBroker_EmptyTopic(t *testing.T) {
	b := broker.Start(t, broker.Topic("t", 3))
	got, err := b.Read(deadline(t), "t")
	require.NoError(t, err)
	assert.Empty(t, got)
}

func TestProduce_KeyChoosesPartition(t *testing.T) {
	ctx, b := deadline(t), broker.Start(t, broker.Topic("t", 10))
	for _, key := range []string{"21", "foobar", "a-little-bit-long-string"} {
		require.NoError(t, b.Produce(ctx, "t", broker.Record{Partition: broker.ByKey, Key: []byte(key)}))
	}
	got, err := b.Read(ctx, "t")
	require.NoError(t, err)
	parts := map[string]int32{}
	for _, r := range got {
		parts[string(r.Key)] = r.Partition
	}
	// murmur2 of these keys in Kafka's own tests: -973932308, -790332482, -985981536.
	assert.Equal(t, map[string]int32{"21": 0, "foobar": 6, "a-little-bit-long-string": 2}, parts)
}

func TestBroker_UnknownTopic(t *testing.T) {
	ctx, b := deadline(t), broker.Start(t)
	require.ErrorContains(t, b.Produce(ctx, "x", broker.Record{}), `no topic "x"`)
	_, err := b.Read(ctx, "x")
	require.ErrorContains(t, err, `no topic "x"`)
	for _, err := range b.Follow(ctx, "x") {
		require.ErrorContains(t, err, `no topic "x"`)
	}
	require.NoError(t, b.CreateTopic("x", 1, "cleanup.policy=compact"))
	assert.Equal(t, "compact", *b.Cluster().TopicInfo("x").Configs["cleanup.policy"])
	require.ErrorContains(t, b.CreateTopic("x", 1), `topic "x"`)
}

func TestNew_RefusesWrongSettings(t *testing.T) {
	_, err := broker.New(broker.Brokers(0))
	require.ErrorContains(t, err, "0 brokers")
	_, err = broker.New(broker.Topic("t", 0))
	require.ErrorContains(t, err, `topic "t": 0 partitions`)
	require.ErrorContains(t, broker.Start(t).Restart(), "needs DataDir")
}

func TestRestart_RecordsAndAddresses(t *testing.T) {
	ctx := deadline(t)
	b := broker.Start(t, broker.Brokers(2), broker.Topic("t", 1), broker.DataDir(t.TempDir()))
	require.NoError(t, b.Produce(ctx, "t", broker.Record{Value: []byte("1")}))
	addrs := b.Brokers()
	require.NoError(t, b.Restart())
	assert.Equal(t, addrs, b.Brokers())
	require.NoError(t, b.Produce(ctx, "t", broker.Record{Value: []byte("2")}))
	got, err := b.Read(ctx, "t")
	require.NoError(t, err)
	require.Len(t, got, 2)
	assert.Equal(t, "1", string(got[0].Value))
	assert.Equal(t, "2", string(got[1].Value))
}

// What is written after a restart must lie behind what was deleted before it: consumers have
// committed offsets there.
func TestRestart_EmptyPartitionContinuesAtItsEnd(t *testing.T) {
	for _, c := range []struct {
		name     string
		deleted  int64 // of four records in partition 0
		restarts int
	}{{"all", 4, 1}, {"all, and restarted again", 4, 3}, {"some", 2, 2}, {"none", 0, 2}} {
		t.Run(c.name, func(t *testing.T) {
			ctx, dir := deadline(t), t.TempDir()
			b := broker.Start(t, broker.Topic("t", 2), broker.DataDir(dir))
			for range 4 {
				require.NoError(t, b.Produce(ctx, "t", broker.Record{Value: []byte("before")}))
			}
			deleteRecords(t, b, c.deleted)
			for range c.restarts {
				require.NoError(t, b.Restart())
				at := b.Cluster().PartitionInfos("t")
				require.EqualValues(t, 4, at[0].HighWatermark)
				require.Equal(t, c.deleted, at[0].LogStartOffset)
				require.Zero(t, at[1].HighWatermark)
			}
			require.NoError(t, b.Produce(ctx, "t", broker.Record{Value: []byte("after")}))
			require.NoError(t, b.Restart())
			got, err := b.Read(ctx, "t")
			require.NoError(t, err)
			require.Len(t, got, 5-int(c.deleted))
			assert.EqualValues(t, 4, got[len(got)-1].Offset)
			assert.Equal(t, "after", string(got[len(got)-1].Value))

			deleteRecords(t, b, 5) // once more, and the next process opens the directory
			b.Close()
			b = broker.Start(t, broker.Topic("t", 2), broker.DataDir(dir))
			require.NoError(t, b.Produce(ctx, "t", broker.Record{Value: []byte("later")}))
			got, err = b.Read(ctx, "t")
			require.NoError(t, err)
			require.Len(t, got, 1)
			assert.EqualValues(t, 5, got[0].Offset)
		})
	}
}

// deleteRecords deletes the records of a partition before an offset.
func deleteRecords(t *testing.T, b *broker.Broker, before int64) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...), kgo.Dialer(b.Dialer()))
	require.NoError(t, err)
	defer c.Close()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 5000
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "t", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: before}}}}
	resp, err := req.RequestWith(deadline(t), c)
	require.NoError(t, err)
	require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
}

func TestRead_CommittedOnly(t *testing.T) {
	ctx, b := deadline(t), broker.Start(t, broker.Topic("t", 1))
	tx := transactional(t, b, "a")
	require.NoError(t, tx.BeginTransaction())
	require.NoError(t, tx.ProduceSync(ctx, kgo.StringRecord("committed")).FirstErr())
	require.NoError(t, tx.EndTransaction(ctx, kgo.TryCommit))
	require.NoError(t, tx.BeginTransaction())
	require.NoError(t, tx.ProduceSync(ctx, kgo.StringRecord("aborted")).FirstErr())
	require.NoError(t, b.Produce(ctx, "t", broker.Record{Value: []byte("plain")}))
	require.NoError(t, tx.EndTransaction(ctx, kgo.TryAbort))
	assert.Equal(t, []string{"committed", "plain"}, values(t, ctx, b))

	require.NoError(t, tx.BeginTransaction())
	require.NoError(t, tx.ProduceSync(ctx, kgo.StringRecord("open")).FirstErr())
	require.NoError(t, b.Produce(ctx, "t", broker.Record{Value: []byte("behind")}))
	assert.Equal(t, []string{"committed", "plain"}, values(t, ctx, b), "no consumer sees what is behind an open transaction")
	require.NoError(t, tx.EndTransaction(ctx, kgo.TryCommit))
	assert.Equal(t, []string{"committed", "plain", "open", "behind"}, values(t, ctx, b))
}

func transactional(t *testing.T, b *broker.Broker, id string) *kgo.Client {
	c, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...), kgo.TransactionalID(id), kgo.DefaultProduceTopic("t"), kgo.Dialer(b.Dialer()))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func values(t *testing.T, ctx context.Context, b *broker.Broker) (out []string) {
	got, err := b.Read(ctx, "t")
	require.NoError(t, err)
	for _, r := range got {
		out = append(out, string(r.Value))
	}
	return out
}

func TestFollow_YieldsRecordsAsTheyCome(t *testing.T) {
	ctx, b := deadline(t), broker.Start(t, broker.Topic("t", 2))
	require.NoError(t, b.Produce(ctx, "t", broker.Record{Value: []byte("0")}))
	n := 0
	for r, err := range b.Follow(ctx, "t") {
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(n), string(r.Value))
		if n++; n == 5 {
			break
		}
		require.NoError(t, b.Produce(ctx, "t", broker.Record{Partition: int32(n % 2), Value: []byte(fmt.Sprint(n))}))
	}
	assert.Equal(t, 5, n)

	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, err := range b.Follow(ended, "t") {
		require.NoError(t, err)
		cancel() // the records already fetched may follow, then the loop ends without an error
	}
}

// A day of virtual time, in which Kafka's own timers run, takes no time.
func TestVirtual_InBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, b := t.Context(), broker.Start(t, broker.Virtual(), broker.Brokers(3), broker.Topic("t", 1, "retention.ms=3600000"))
		assert.True(t, slices.Contains(b.Brokers(), "localhost:9092"))
		require.NoError(t, b.Produce(ctx, "t", broker.Record{Value: []byte("old")}))
		time.Sleep(24 * time.Hour)
		require.NoError(t, b.Produce(ctx, "t", broker.Record{Value: []byte("new")}))
		b.Cluster().ApplyRetention()
		got, err := b.Read(ctx, "t")
		require.NoError(t, err)
		require.Len(t, got, 1)
		assert.Equal(t, "new", string(got[0].Value))
		assert.Equal(t, int64(1), got[0].Offset)
	})
}

// A record that lies behind an open transaction can be read when that is aborted, and a follower sees it then.
func TestFollow_BehindAnAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("t", 1))
		tx, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...), kgo.TransactionalID("a"), kgo.DefaultProduceTopic("t"), kgo.Dialer(b.Dialer()))
		require.NoError(t, err)
		defer tx.Close()
		require.NoError(t, tx.BeginTransaction())
		require.NoError(t, tx.ProduceSync(t.Context(), kgo.StringRecord("aborted")).FirstErr())
		require.NoError(t, b.Produce(t.Context(), "t", broker.Record{Value: []byte("behind")}))
		aborted := make(chan time.Time, 1)
		go func() {
			time.Sleep(7 * time.Second)
			assert.NoError(t, tx.EndTransaction(t.Context(), kgo.TryAbort))
			aborted <- time.Now()
		}()
		for r, err := range b.Follow(t.Context(), "t") {
			require.NoError(t, err)
			require.Equal(t, "behind", string(r.Value))
			break
		}
		assert.LessOrEqual(t, time.Since(<-aborted), 100*time.Millisecond)
	})
}

// A follower goes with its partition to another broker.
func TestFollow_LeaderMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Brokers(2), broker.Topic("t", 1))
		wrote := make(chan time.Time, 1)
		seen := 0
		write := func() {
			c, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...), kgo.DefaultProduceTopic("t"), kgo.Dialer(b.Dialer())) // it knows no other leader
			assert.NoError(t, err)
			defer c.Close()
			assert.NoError(t, c.ProduceSync(t.Context(), kgo.StringRecord("v")).FirstErr())
			wrote <- time.Now()
		}
		go write()
		for _, err := range b.Follow(t.Context(), "t") {
			require.NoError(t, err)
			assert.LessOrEqual(t, time.Since(<-wrote), 100*time.Millisecond)
			if seen++; seen == 6 {
				break
			}
			go func() {
				time.Sleep(time.Second)
				assert.NoError(t, b.Cluster().MoveTopicPartition("t", 0, int32(seen%2)))
				write()
			}()
		}
	})
}
