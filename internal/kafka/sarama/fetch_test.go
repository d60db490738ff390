package sarama

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
)

func numbers(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// fetching runs f with a fetcher that reads partition 0 of topic "t".
func fetching(t *testing.T, cfg kafka.FetchConfig, f func(ctx context.Context, w *world, fe kafka.Fetcher, s *collector)) {
	t.Helper()
	simulate(t, func(ctx context.Context, w *world) {
		fe, err := w.client.Fetcher(cfg)
		require.NoError(t, err)
		defer fe.Close()
		s := collect(fe)
		fe.Add(tp(0), 0, s)
		f(ctx, w, fe, s)
	})
}

func (w *world) write(ctx context.Context, tp kafka.TopicPartition, values ...string) {
	w.t.Helper()
	p := w.producer(kafka.ProduceConfig{})
	defer p.Close()
	send(ctx, w.t, p, tp, values...)
	require.NoError(w.t, done(ctx, w.t, p.Cut()).Err)
}

func TestFetch_FollowsLeader(t *testing.T) {
	fetching(t, kafka.FetchConfig{}, func(ctx context.Context, w *world, _ kafka.Fetcher, s *collector) {
		for i := range 12 {
			w.write(ctx, tp(0), numbers(10*i, 10*i+10)...)
			require.NoError(t, w.cluster.MoveTopicPartition("t", 0, int32(i+1)%3))
		}
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 120 })
		assert.Equal(t, numbers(0, 120), values(s.records[tp(0)]))
	})
}

func TestFetch_SurvivesRetriableCodes(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch,
		kerr.ReplicaNotAvailable, kerr.KafkaStorageError, kerr.UnknownTopicOrPartition, kerr.OffsetNotAvailable, kerr.UnknownServerError,
		kerr.BrokerNotAvailable, kerr.RequestTimedOut, kerr.UnknownTopicID, kerr.InconsistentTopicID} {
		t.Run(e.Message, func(t *testing.T) {
			fetching(t, kafka.FetchConfig{}, func(ctx context.Context, w *world, fe kafka.Fetcher, s *collector) {
				h := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "t", Err: e, Count: 3})
				require.NoError(t, h.Wait(ctx, 2))
				synctest.Wait()
				require.Error(t, fe.Healthy())
				w.write(ctx, tp(0), numbers(0, 50)...)
				s.until(ctx, t, func() bool { return s.next[tp(0)] == 50 })
				assert.Equal(t, numbers(0, 50), values(s.records[tp(0)]))
				require.NoError(t, fe.Healthy())
			})
		})
	}
}

func TestFetch_SurvivesBrokenConnections(t *testing.T) {
	fetching(t, kafka.FetchConfig{}, func(ctx context.Context, w *world, _ kafka.Fetcher, s *collector) {
		n := 0
		w.cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			n++
			if n%2 == 0 && n < 20 {
				return nil, errors.New("cut"), true
			}
			return nil, nil, false
		})
		for i := range 10 {
			w.write(ctx, tp(0), numbers(10*i, 10*i+10)...)
			s.until(ctx, t, func() bool { return s.next[tp(0)] == int64(10*i+10) })
		}
		assert.Equal(t, numbers(0, 100), values(s.records[tp(0)]))
	})
}

func TestFetch_SurvivesRemovedBroker(t *testing.T) {
	fetching(t, kafka.FetchConfig{}, func(ctx context.Context, w *world, _ kafka.Fetcher, s *collector) {
		w.write(ctx, tp(0), numbers(0, 10)...)
		require.NoError(t, w.cluster.RemoveNode(0))
		w.write(ctx, tp(0), numbers(10, 20)...)
		_, _, err := w.cluster.AddNode(0, 9092)
		require.NoError(t, err)
		w.write(ctx, tp(0), numbers(20, 30)...)
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 30 })
		assert.Equal(t, numbers(0, 30), values(s.records[tp(0)]))
	})
}

// kgo writes what our producer does not: transactions.
func (w *world) transactional(id string) *kgo.Client {
	c, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(w.virtual.DialContext), kgo.TransactionalID(id),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	require.NoError(w.t, err)
	return c
}

func transact(ctx context.Context, t *testing.T, c *kgo.Client, how kgo.TransactionEndTry, values ...string) {
	t.Helper()
	require.NoError(t, c.BeginTransaction())
	for _, v := range values {
		require.NoError(t, c.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte(v)}).FirstErr())
	}
	require.NoError(t, c.EndTransaction(ctx, how))
}

func TestFetch_ReadCommittedSkipsAborted(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		a, b := w.transactional("a"), w.transactional("b")
		defer a.Close()
		defer b.Close()
		transact(ctx, t, a, kgo.TryCommit, "a1", "a2")
		transact(ctx, t, a, kgo.TryAbort, "x1", "x2")
		require.NoError(t, b.BeginTransaction()) // two transactions woven into each other; one is aborted, one is not
		require.NoError(t, b.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("y1")}).FirstErr())
		transact(ctx, t, a, kgo.TryCommit, "a3")
		require.NoError(t, b.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("y2")}).FirstErr())
		require.NoError(t, b.EndTransaction(ctx, kgo.TryAbort))
		transact(ctx, t, b, kgo.TryCommit, "b1")
		transact(ctx, t, a, kgo.TryAbort, "x3")
		assert.Equal(t, []string{"a1", "a2", "a3", "b1"}, values(w.read(ctx, tp(0), kafka.ReadCommitted)))
		assert.Equal(t, []string{"a1", "a2", "x1", "x2", "y1", "a3", "y2", "b1", "x3"}, values(w.read(ctx, tp(0), kafka.ReadUncommitted)))
	})
}

func TestFetch_ReadCommittedWaitsForOpenTransaction(t *testing.T) {
	fetching(t, kafka.FetchConfig{Isolation: kafka.ReadCommitted}, func(ctx context.Context, w *world, _ kafka.Fetcher, s *collector) {
		a := w.transactional("a")
		defer a.Close()
		w.write(ctx, tp(0), "1")
		require.NoError(t, a.BeginTransaction())
		require.NoError(t, a.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("2")}).FirstErr())
		w.write(ctx, tp(0), "3")
		time.Sleep(5 * time.Second)
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 1 })
		require.NoError(t, a.EndTransaction(ctx, kgo.TryCommit))
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 4 })
		assert.Equal(t, []string{"1", "2", "3"}, values(s.records[tp(0)]))
	})
}

func TestFetch_PassesCompactionGaps(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		require.NoError(t, w.cluster.CreateTopic("c", 1, map[string]string{"cleanup.policy": "compact"}))
		c := kafka.TopicPartition{Topic: "c"}
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		for i := range 40 {
			require.NoError(t, p.Send(ctx, c, kafka.ProduceRecord{Key: []byte(fmt.Sprint(i % 4)), Value: []byte(fmt.Sprint(i)), Time: time.Now().UnixMilli()}))
			if i%3 == 0 {
				require.NoError(t, done(ctx, t, p.Cut()).Err)
			}
		}
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		w.cluster.Compact()
		got := w.log(ctx, c)
		latest := map[string]string{}
		for _, r := range got {
			assert.Equal(t, fmt.Sprint(r.Offset), string(r.Value))
			latest[string(r.Key)] = string(r.Value)
		}
		assert.Less(t, len(got), 12)
		assert.Equal(t, map[string]string{"0": "36", "1": "37", "2": "38", "3": "39"}, latest)
	})
}

func TestFetch_OffsetOutOfRange(t *testing.T) {
	for name, wanted := range map[string]int64{"before the start": 2, "beyond the end": 99} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				w.write(ctx, tp(0), numbers(0, 10)...)
				require.NoError(t, w.cluster.DeleteRecords("t", 0, 5))
				f, err := w.client.Fetcher(kafka.FetchConfig{})
				require.NoError(t, err)
				defer f.Close()
				s := collect(f)
				f.Add(tp(0), wanted, s)
				f.Add(tp(1), 0, s)
				s.until(ctx, t, func() bool { return s.failed[tp(0)] != nil })
				var e *kafka.OffsetOutOfRange
				require.ErrorAs(t, s.failed[tp(0)], &e)
				assert.Equal(t, kafka.OffsetOutOfRange{TopicPartition: tp(0), Wanted: wanted, Start: 5, End: 10}, *e)
				f.Add(tp(0), e.Start, s) // the partition is left out until it is added again
				s.until(ctx, t, func() bool { return s.next[tp(0)] == 10 })
				assert.Equal(t, numbers(5, 10), values(s.records[tp(0)]))
			})
		})
	}
}

// A truncated log: an unclean election has taken records away.
func TestFetch_TruncatedLog(t *testing.T) {
	fetching(t, kafka.FetchConfig{}, func(ctx context.Context, w *world, f kafka.Fetcher, s *collector) {
		w.write(ctx, tp(0), "0")
		f.Add(tp(0), 10, s) // what a reader of a longer log had reached
		s.until(ctx, t, func() bool { return s.failed[tp(0)] != nil })
		var e *kafka.OffsetOutOfRange
		require.ErrorAs(t, s.failed[tp(0)], &e)
		assert.Equal(t, int64(1), e.End)
	})
}

func TestFetch_RecreatedTopic(t *testing.T) {
	fetching(t, kafka.FetchConfig{}, func(ctx context.Context, w *world, _ kafka.Fetcher, s *collector) {
		w.write(ctx, tp(0), numbers(0, 3)...)
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 3 })
		require.NoError(t, w.cluster.DeleteTopic("t"))
		time.Sleep(time.Second)
		require.NoError(t, w.cluster.CreateTopic("t", 3, nil))
		s.until(ctx, t, func() bool { return s.failed[tp(0)] != nil })
		require.ErrorIs(t, s.failed[tp(0)], kafka.ErrUnknownTopic)
		require.ErrorContains(t, s.failed[tp(0)], "created again")
	})
}

func TestFetch_UnknownTopic(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		f, err := w.client.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		later, never := kafka.TopicPartition{Topic: "later"}, kafka.TopicPartition{Topic: "never"}
		began := time.Now()
		f.Add(later, 0, s)
		f.Add(never, 0, s)
		time.Sleep(5 * time.Second)
		require.NoError(t, w.cluster.CreateTopic("later", 1, nil))
		w.write(ctx, later, "x")
		s.until(ctx, t, func() bool { return s.next[later] == 1 })
		s.until(ctx, t, func() bool { return s.failed[never] != nil })
		require.ErrorIs(t, s.failed[never], kafka.ErrUnknownTopic)
		assert.InDelta(t, 30, time.Since(began).Seconds(), 5)
	})
}

// One broker says once that the topic does not exist, and then none can be reached for longer than
// a topic may be unknown: that is an outage, not a topic that is gone.
func TestFetch_OutageIsNotUnknownTopic(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		n := newNetwork(w.virtual)
		c := w.newClient(func(cfg *Config) { cfg.Dialer = n.dial })
		defer c.Close()
		p, err := c.Producer(kafka.ProduceConfig{})
		require.NoError(t, err)
		defer p.Close()
		f, err := c.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		defer f.Close()
		h := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "t", Err: kerr.UnknownTopicOrPartition, Count: -1})
		s := collect(f)
		f.Add(tp(0), 0, s)
		send(ctx, t, p, tp(0), "x")
		k := p.Cut()
		require.NoError(t, h.Wait(ctx, 1))
		synctest.Wait()
		n.setRefuse(true)
		n.cut(func() bool { return true })
		time.Sleep(time.Minute)
		h.Remove()
		n.setRefuse(false)
		require.NoError(t, done(ctx, t, k).Err)
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 1 || s.failed[tp(0)] != nil })
		require.NoError(t, s.why(tp(0)))
	})
}

func TestFetch_NotAuthorized(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "t", Partitions: []int32{0}, Err: kerr.TopicAuthorizationFailed, Count: -1})
		f, err := w.client.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		f.Add(tp(0), 0, s)
		s.until(ctx, t, func() bool { return s.failed[tp(0)] != nil })
		require.ErrorIs(t, s.failed[tp(0)], kafka.ErrNotAuthorized)
	})
}

func TestFetch_BackPressurePausesOnePartition(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		require.NoError(t, w.cluster.MoveTopicPartition("t", 1, 0)) // both at one broker
		big := string(make([]byte, 1000))
		p := w.producer(kafka.ProduceConfig{BatchBytes: 4 << 10})
		defer p.Close()
		for range 100 {
			send(ctx, t, p, tp(0), big)
		}
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		f, err := w.client.Fetcher(kafka.FetchConfig{PartitionBytes: 4 << 10, BufferBytes: 10 << 10})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		f.Add(tp(0), 0, s)
		f.Add(tp(1), 0, s)
		time.Sleep(10 * time.Second)
		s.mu.Lock()
		held := 0
		for _, b := range s.batches {
			held += b.Bytes
		}
		s.mu.Unlock()
		assert.GreaterOrEqual(t, held, 10<<10)
		assert.Less(t, held, 20<<10, "no more than the buffer and a batch")
		began := time.Now()
		w.write(ctx, tp(1), "free")
		for s.at(tp(1)) == 0 {
			<-s.more
		}
		assert.Less(t, time.Since(began), 50*time.Millisecond, "the other partition need not wait")
		began = time.Now()
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 100 })
		assert.Less(t, time.Since(began), time.Second, "a partition that was released is read again soon")
		assert.Len(t, s.records[tp(0)], 100)
	})
}

func TestFetch_AddInterruptsLongPoll(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		require.NoError(t, w.cluster.MoveTopicPartition("t", 1, 0))
		w.write(ctx, tp(1), "here")
		f, err := w.client.Fetcher(kafka.FetchConfig{MaxWait: 30 * time.Second})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		f.Add(tp(0), 0, s)
		time.Sleep(time.Second)
		began := time.Now()
		f.Add(tp(1), 0, s)
		s.until(ctx, t, func() bool { return s.next[tp(1)] == 1 })
		assert.Less(t, time.Since(began), 50*time.Millisecond)
		w.write(ctx, tp(0), "too")
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 1 })
		began = time.Now()
		f.Close()
		assert.Zero(t, time.Since(began), "Close ends a long poll")
	})
}

func TestFetch_NothingAfterRemove(t *testing.T) {
	fetching(t, kafka.FetchConfig{}, func(ctx context.Context, w *world, f kafka.Fetcher, s *collector) {
		w.write(ctx, tp(0), numbers(0, 10)...)
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 10 })
		f.Remove(tp(0), tp(2))
		w.write(ctx, tp(0), numbers(10, 20)...)
		time.Sleep(time.Second)
		assert.Equal(t, int64(10), s.at(tp(0)))
		again := collect(f)
		f.Add(tp(0), 15, again)
		again.until(ctx, t, func() bool { return again.next[tp(0)] == 20 })
		assert.Equal(t, numbers(15, 20), values(again.records[tp(0)]))
		moved := collect(f)
		f.Add(tp(0), 3, moved) // moves it
		moved.until(ctx, t, func() bool { return moved.next[tp(0)] == 20 })
		assert.Equal(t, numbers(3, 20), values(moved.records[tp(0)]))
		assert.Len(t, s.records[tp(0)], 10)
		f.Release(tp(2), 100) // unknown: nothing happens
	})
}

func TestFetch_BatchLargerThanRequested(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		for p := range int32(3) {
			require.NoError(t, w.cluster.MoveTopicPartition("t", p, 0))
			w.write(ctx, tp(p), string(make([]byte, 200_000)), "small", string(make([]byte, 300_000)))
		}
		f, err := w.client.Fetcher(kafka.FetchConfig{PartitionBytes: 1000})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		for p := range int32(3) {
			f.Add(tp(p), 0, s)
		}
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 3 && s.next[tp(1)] == 3 && s.next[tp(2)] == 3 })
	})
}

// Many equal records compress to fewer bytes than there are records.
func TestFetch_MoreRecordsThanBytes(t *testing.T) {
	for _, codec := range []string{"gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				p := w.producer(kafka.ProduceConfig{Compression: codec})
				defer p.Close()
				for range 5000 {
					send(ctx, t, p, tp(0), "")
				}
				require.NoError(t, done(ctx, t, p.Cut()).Err)
				assert.Len(t, w.log(ctx, tp(0)), 5000)
			})
		})
	}
}
