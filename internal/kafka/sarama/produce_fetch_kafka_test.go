//go:build kafka

package sarama

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/tests/kafkatest"
)

// real is a client of a real Kafka, with a topic "t" of three partitions.
func real(t *testing.T, config map[string]string) (context.Context, *world, string) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	n := kafkatest.Start(t, kafkatest.Options{})
	c, err := newClient(Config{Brokers: []string{n.Addr}})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	w := &world{t: t, client: c}
	w.admin, err = c.Admin()
	require.NoError(t, err)
	t.Cleanup(w.admin.Close)
	require.NoError(t, w.admin.CreateTopic(ctx, kafka.TopicSpec{Name: "t", Partitions: 3, Replication: -1, Config: config}))
	return ctx, w, n.Addr
}

// What the in-process broker does not check, or not as Kafka does.
func TestKafkaProduce(t *testing.T) {
	ctx, w, _ := real(t, map[string]string{"max.message.bytes": "3000", "message.timestamp.before.max.ms": "1800000"})
	now := time.Now().UnixMilli()
	t.Run("sequences wrap", func(t *testing.T) {
		p := w.producer(kafka.ProduceConfig{}).(*producer)
		defer p.Close()
		put := func(values ...string) {
			for _, v := range values {
				require.NoError(t, p.Send(ctx, tp(0), kafka.ProduceRecord{Value: []byte(v), Time: now}))
			}
			require.NoError(t, done(ctx, t, p.Cut()).Err)
		}
		put("first")
		other, err := p.newIdentity()
		require.NoError(t, err)
		part := p.partitions[tp(0)]
		part.identity, part.sequence = other, math.MaxInt32-2
		for i := range 4 {
			put(numbers(2*i, 2*i+2)...)
		}
		assert.Equal(t, int32(5), part.sequence)
		assert.Same(t, other, part.identity, "the broker counts as we do")
	})
	t.Run("invalid records are named", func(t *testing.T) {
		var refused []string
		p := w.producer(kafka.ProduceConfig{OnFailure: func(f kafka.ProduceFailure) bool { refused = append(refused, string(f.Record.Value)); return true }})
		defer p.Close()
		for i, v := range numbers(0, 10) {
			at := now
			if i%4 == 1 {
				at = now - 45*60_000 // so near that the topic is not asked what it takes: the broker refuses it
			}
			require.NoError(t, p.Send(ctx, tp(1), kafka.ProduceRecord{Value: []byte(v), Time: at}))
		}
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		assert.Equal(t, []string{"1", "5", "9"}, refused)
		assert.Equal(t, []string{"0", "2", "3", "4", "6", "7", "8"}, values(w.log(ctx, tp(1))))
	})
	t.Run("too large", func(t *testing.T) {
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		var want []string
		for i := range 200 {
			want = append(want, fmt.Sprintf("%0200d", i))
			require.NoError(t, p.Send(ctx, tp(2), kafka.ProduceRecord{Value: []byte(want[i]), Time: now}))
		}
		require.ErrorIs(t, p.Send(ctx, tp(2), kafka.ProduceRecord{Value: make([]byte, 4000), Time: now}), kafka.ErrTooLarge)
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		assert.Equal(t, want, values(w.log(ctx, tp(2))))
	})
	t.Run("out of range, and many equal records", func(t *testing.T) {
		require.NoError(t, w.admin.DeleteRecords(ctx, map[kafka.TopicPartition]int64{tp(2): 50}))
		f, err := w.client.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		f.Add(tp(2), 10, s)
		s.until(ctx, t, func() bool { return s.failed[tp(2)] != nil })
		assert.Equal(t, &kafka.OffsetOutOfRange{TopicPartition: tp(2), Wanted: 10, Start: 50, End: 200}, s.failed[tp(2)])
		p := w.producer(kafka.ProduceConfig{Compression: "zstd"})
		defer p.Close()
		for range 3000 {
			require.NoError(t, p.Send(ctx, tp(2), kafka.ProduceRecord{Time: now}))
		}
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		assert.Len(t, w.log(ctx, tp(2)), 3150)
	})
	t.Run("a topic made again", func(t *testing.T) {
		f, err := w.client.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		f.Add(tp(1), 0, s)
		s.until(ctx, t, func() bool { return s.next[tp(1)] == 7 })
		require.NoError(t, w.admin.DeleteTopics(ctx, "t"))
		require.Eventually(t, func() bool {
			return w.admin.CreateTopic(ctx, kafka.TopicSpec{Name: "t", Partitions: 3, Replication: -1}) == nil
		}, 4*time.Minute, 100*time.Millisecond)
		s.until(ctx, t, func() bool { return s.failed[tp(1)] != nil })
		// Which of the two the reader meets first, the topic's other id or the log without its offset, is
		// the broker's to say.
		var gone *kafka.OffsetOutOfRange
		if err := s.failed[tp(1)]; !errors.As(err, &gone) {
			require.ErrorIs(t, err, kafka.ErrUnknownTopic)
		}
	})
}

func TestKafkaReadCommitted(t *testing.T) {
	ctx, w, addr := real(t, nil)
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID("x"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer c.Close()
	transact(ctx, t, c, kgo.TryCommit, "a1", "a2")
	transact(ctx, t, c, kgo.TryAbort, "x1", "x2")
	w.write(ctx, tp(0), "plain")
	transact(ctx, t, c, kgo.TryCommit, "a3")
	require.NoError(t, c.BeginTransaction())
	require.NoError(t, c.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("open")}).FirstErr())
	assert.Equal(t, []string{"a1", "a2", "plain", "a3"}, values(w.read(ctx, tp(0), kafka.ReadCommitted)))
	assert.Equal(t, []string{"a1", "a2", "x1", "x2", "plain", "a3", "open"}, values(w.log(ctx, tp(0))))
	ends := func(i kafka.Isolation) int64 {
		got, err := w.admin.ListOffsets(ctx, i, map[kafka.TopicPartition]int64{tp(0): kafka.Latest})
		require.NoError(t, err)
		return got[tp(0)]
	}
	assert.Equal(t, int64(9), ends(kafka.ReadCommitted))
	assert.Equal(t, int64(10), ends(kafka.ReadUncommitted))
	require.NoError(t, c.EndTransaction(ctx, kgo.TryAbort))
}

// Compaction leaves a producer's last batch in place without its records; positions pass over it.
func TestKafkaCompaction(t *testing.T) {
	ctx, w, _ := real(t, map[string]string{"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.001", "min.compaction.lag.ms": "0"})
	for round := range 3 {
		p := w.producer(kafka.ProduceConfig{})
		for i := range 5 {
			require.NoError(t, p.Send(ctx, tp(0), kafka.ProduceRecord{Key: []byte(fmt.Sprint(i)), Value: []byte(fmt.Sprint(round)), Time: time.Now().UnixMilli()}))
		}
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		p.Close()
		<-time.After(1500 * time.Millisecond) // a segment each
	}
	p := w.producer(kafka.ProduceConfig{})
	defer p.Close()
	require.NoError(t, p.Send(ctx, tp(0), kafka.ProduceRecord{Key: []byte("active"), Time: time.Now().UnixMilli()}))
	require.NoError(t, done(ctx, t, p.Cut()).Err)
	var got []kafka.Record
	require.Eventually(t, func() bool { got = w.log(ctx, tp(0)); return len(got) == 6 }, 4*time.Minute, time.Second)
	for _, r := range got[:5] {
		assert.Equal(t, "2", string(r.Value))
	}
	f, err := w.client.Fetcher(kafka.FetchConfig{PartitionBytes: 1}) // a batch at a time: an empty one comes alone
	require.NoError(t, err)
	defer f.Close()
	s := collect(f)
	f.Add(tp(0), 0, s)
	s.until(ctx, t, func() bool { return s.next[tp(0)] == 16 })
	assert.Len(t, s.records[tp(0)], 6)
}
