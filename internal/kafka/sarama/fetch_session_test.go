package sarama

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream/internal/kafka"
)

// fetchRequests counts what fetch requests name.
type fetchRequests struct {
	requests, opened, partitions, forgotten int
	wait                                    time.Duration // of the last one
}

// observe counts fetch requests from now on.
func observe(w *world) (seen func() fetchRequests) {
	var mu sync.Mutex
	var all fetchRequests
	w.cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		fetch := req.(*kmsg.FetchRequest)
		mu.Lock()
		defer mu.Unlock()
		all.requests++
		if fetch.SessionEpoch == 0 {
			all.opened++
		}
		for _, topic := range fetch.Topics {
			all.partitions += len(topic.Partitions)
		}
		for _, topic := range fetch.ForgottenTopics {
			all.forgotten += len(topic.Partitions)
		}
		all.wait = time.Duration(fetch.MaxWaitMillis) * time.Millisecond
		return nil, nil, false
	})
	return func() fetchRequests {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// oneBroker makes broker 0 the leader of all partitions, and returns a fetcher that reads them.
func oneBroker(t *testing.T, w *world, cfg kafka.FetchConfig) (kafka.Fetcher, *collector) {
	for p := range int32(3) {
		require.NoError(t, w.cluster.MoveTopicPartition("t", p, 0))
	}
	f, err := w.client.Fetcher(cfg)
	require.NoError(t, err)
	t.Cleanup(f.Close)
	s := collect(f)
	for p := range int32(3) {
		f.Add(tp(p), 0, s)
	}
	return f, s
}

func TestFetchSession_NamesWhatChanges(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		f, s := oneBroker(t, w, kafka.FetchConfig{})
		defer f.Close()
		s.until(ctx, t, func() bool { return len(s.next) == 3 }) // the ends are known
		seen := observe(w)
		defer w.cluster.DropControl()
		time.Sleep(time.Minute)
		idle := seen()
		assert.LessOrEqual(t, idle.requests, 17, "an idle reader polls ever more rarely")
		assert.Equal(t, fetchRequests{requests: idle.requests, wait: 5 * time.Second}, idle)

		w.write(ctx, tp(1), numbers(0, 10)...)
		s.until(ctx, t, func() bool { return s.next[tp(1)] == 10 })
		time.Sleep(time.Second)
		assert.Equal(t, 1, seen().partitions, "the one that has another position")
		f.Remove(tp(2))
		w.write(ctx, tp(1), numbers(10, 20)...)
		s.until(ctx, t, func() bool { return s.next[tp(1)] == 20 })
		time.Sleep(time.Second)
		assert.Equal(t, 1, seen().forgotten)
		assert.Equal(t, 2, seen().partitions)
		assert.Zero(t, seen().opened)

		f.Add(tp(2), 0, s) // ends the poll, with its connection
		w.write(ctx, tp(2), numbers(0, 5)...)
		s.until(ctx, t, func() bool { return s.next[tp(2)] == 5 })
		assert.Equal(t, 1, seen().opened)
		assert.Equal(t, numbers(0, 20), values(s.records[tp(1)]))
	})
}

// A broker may forget a session at any time, for others' sake or because it was restarted.
func TestFetchSession_LossGoesUnnoticed(t *testing.T) {
	for _, lost := range []*kerr.Error{kerr.FetchSessionIDNotFound, kerr.InvalidFetchSessionEpoch} {
		t.Run(lost.Message, func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				f, s := oneBroker(t, w, kafka.FetchConfig{})
				defer f.Close()
				for i := range 10 {
					fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, TopLevel: true, Err: lost})
					for p := range int32(3) {
						w.write(ctx, tp(p), numbers(10*i, 10*i+10)...)
					}
					require.NoError(t, fault.Wait(ctx, 1))
				}
				for p := range int32(3) {
					s.until(ctx, t, func() bool { return s.next[tp(p)] == 100 })
					assert.Equal(t, numbers(0, 100), values(s.records[tp(p)]))
				}
				require.NoError(t, f.Healthy())
			})
		})
	}
}

// A broker without room for sessions answers with none.
func TestFetchSession_BrokerHasNoRoom(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		w.cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			fetch := req.(*kmsg.FetchRequest)
			if fetch.SessionEpoch > 0 {
				return nil, errors.New("there is no session"), true
			}
			fetch.SessionID, fetch.SessionEpoch = 0, -1
			return nil, nil, false
		})
		defer w.cluster.DropControl()
		f, s := oneBroker(t, w, kafka.FetchConfig{})
		defer f.Close()
		for p := range int32(3) {
			w.write(ctx, tp(p), numbers(0, 100)...)
		}
		for p := range int32(3) {
			s.until(ctx, t, func() bool { return s.next[tp(p)] == 100 })
			assert.Equal(t, numbers(0, 100), values(s.records[tp(p)]))
		}
	})
}

// A partition whose buffer is full is not in the session: its broker would send it again and again.
func TestFetchSession_FullPartitionIsForgotten(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		f, s := oneBroker(t, w, kafka.FetchConfig{BufferBytes: 1000})
		defer f.Close()
		s.until(ctx, t, func() bool { return len(s.next) == 3 })
		seen := observe(w)
		defer w.cluster.DropControl()
		w.write(ctx, tp(0), numbers(0, 2000)...) // stays in the buffer: nobody releases it
		time.Sleep(time.Second)
		before := seen().forgotten
		assert.Positive(t, before)
		w.write(ctx, tp(1), numbers(0, 10)...)
		time.Sleep(time.Second)
		assert.EqualValues(t, 10, s.at(tp(1)))
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 2000 })
		assert.Equal(t, numbers(0, 2000), values(s.records[tp(0)]))
	})
}

// The sink of a partition without records learns where its log ends when the first poll ends, so that poll is a short
// one, however long the others of the reader have become.
func TestFetchSession_IdleReaderAnswersForAddedPartitions(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		f, s := oneBroker(t, w, kafka.FetchConfig{})
		defer f.Close()
		f.Remove(tp(2))
		time.Sleep(time.Minute)
		for _, p := range []int32{2, 0} { // one that is new, and one that was removed during the poll
			f.Remove(tp(p))
			again, begin := collect(f), time.Now()
			f.Add(tp(p), 0, again)
			again.until(ctx, t, func() bool { return len(again.next) == 1 })
			assert.Less(t, time.Since(begin), time.Second)
			time.Sleep(20 * time.Second)
		}
		assert.Empty(t, s.failed)
	})
}

// A session says nothing of a partition that has no more to read than before, although another sink reads it now.
func TestFetchSession_PartitionThatIsAddedAgainIsAnswered(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		f, s := oneBroker(t, w, kafka.FetchConfig{})
		defer f.Close()
		s.until(ctx, t, func() bool { return len(s.next) == 3 })
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		send(ctx, t, p, tp(1), "0")
		again := collect(f)
		f.Remove(tp(0))
		ticket := p.Cut() // ends the poll that names the partition before Add interrupts it
		f.Add(tp(0), 0, again)
		require.NoError(t, done(ctx, t, ticket).Err)
		again.until(ctx, t, func() bool { return len(again.next) == 1 })
	})
}

// A reader that is healthy again after its connection broke says so soon, also where there is nothing to read.
func TestFetchSession_IdleReaderRecoversSoon(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		n := newNetwork(w.virtual)
		c := w.newClient(func(c *Config) { c.Dialer = n.dial })
		defer c.Close()
		f, err := c.Fetcher(kafka.FetchConfig{})
		require.NoError(t, err)
		defer f.Close()
		s := collect(f)
		f.Add(tp(0), 0, s)
		s.until(ctx, t, func() bool { return len(s.next) == 1 })
		time.Sleep(time.Minute)
		n.cut(func() bool { return true })
		synctest.Wait()
		require.Error(t, f.Healthy())
		time.Sleep(time.Second)
		require.NoError(t, f.Healthy())
	})
}

// A topic that is deleted and created again is another one, also while no request of the session names it: to go on at
// the position would skip the beginning of its log.
func TestFetchSession_TopicIsCreatedAgainWhileTheBufferIsFull(t *testing.T) {
	const read = 2000
	for _, n := range []int{read / 2, read, 2 * read} {
		t.Run(fmt.Sprintf("%d records", n), func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				f, err := w.client.Fetcher(kafka.FetchConfig{BufferBytes: 1000})
				require.NoError(t, err)
				defer f.Close()
				s := collect(f)
				w.write(ctx, tp(0), numbers(0, read)...)
				f.Add(tp(0), 0, s)
				time.Sleep(topicTrust + time.Second)
				require.EqualValues(t, read, s.at(tp(0)))
				require.NoError(t, w.admin.DeleteTopics(ctx, "t"))
				require.NoError(t, w.admin.CreateTopic(ctx, kafka.TopicSpec{Name: "t", Partitions: 3}))
				require.NoError(t, w.cluster.MoveTopicPartition("t", 0, 0)) // the epoch is that of the old one, too
				w.write(ctx, tp(0), numbers(0, n)...)
				s.until(ctx, t, func() bool { return s.failed[tp(0)] != nil })
				require.ErrorIs(t, s.why(tp(0)), kafka.ErrUnknownTopic)
				require.ErrorContains(t, s.why(tp(0)), "deleted and created again")
				assert.Len(t, s.got(tp(0)), read, "none of the new topic")
			})
		})
	}
}

// A sink that takes long has its topic looked up about once a second, and reads on.
func TestFetchSession_SlowSink(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		f, s := oneBroker(t, w, kafka.FetchConfig{BufferBytes: 1000, PartitionBytes: 1000})
		defer f.Close()
		s.until(ctx, t, func() bool { return len(s.next) == 3 })
		var lookups atomic.Int64
		w.cluster.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			lookups.Add(1)
			return nil, nil, false
		})
		defer w.cluster.DropControl()
		const n = 10
		long := strings.Repeat("v", 600)
		for p := range int32(2) {
			for range n {
				w.write(ctx, tp(p), long)
			}
		}
		before, begin := lookups.Load(), time.Now()
		s.release = func(tp kafka.TopicPartition, bytes int) {
			time.Sleep(1500 * time.Millisecond)
			f.Release(tp, bytes)
		}
		for p := range int32(2) {
			s.until(ctx, t, func() bool { return s.next[tp(p)] == n })
			assert.Len(t, s.got(tp(p)), n)
		}
		took, asked := time.Since(begin), lookups.Load()-before
		assert.Positive(t, asked)
		assert.LessOrEqual(t, asked, int64(took/topicTrust)+1)
		require.NoError(t, f.Healthy())
	})
}
