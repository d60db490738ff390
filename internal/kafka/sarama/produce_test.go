package sarama

import (
	"context"
	"errors"
	"fmt"
	"math"
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

// producing sends 600 numbers to three partitions in rounds, with between called after each round,
// and then counts the log: everything is there, once and in order.
func producing(t *testing.T, cfg kafka.ProduceConfig, before func(ctx context.Context, w *world), between func(ctx context.Context, w *world, round int)) {
	t.Helper()
	simulate(t, func(ctx context.Context, w *world) {
		if before != nil {
			before(ctx, w)
		}
		p := w.producer(cfg)
		defer p.Close()
		for i := range int32(3) {
			p.(kafka.Expecter).Expect(tp(i), 0)
		}
		for round := range 20 {
			for i := range 30 {
				send(ctx, t, p, tp(int32(i%3)), fmt.Sprint(round*10+i/3))
				if i%7 == 0 {
					p.Flush()
				}
			}
			p.Flush()
			if between != nil {
				between(ctx, w, round)
			}
		}
		k := done(ctx, t, p.Cut())
		require.NoError(t, k.Err)
		require.Empty(t, k.Foreign)
		for i := range int32(3) {
			require.Equal(t, numbers(0, 200), values(w.log(ctx, tp(i))))
			require.Equal(t, int64(200), k.Ends[tp(i)])
		}
		require.NoError(t, p.Healthy())
	})
}

func TestProduce_SurvivesRetriableCodes(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition, kerr.RequestTimedOut,
		kerr.BrokerNotAvailable, kerr.ReplicaNotAvailable, kerr.NetworkException, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend,
		kerr.KafkaStorageError, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.ThrottlingQuotaExceeded, kerr.UnknownServerError} {
		t.Run(e.Message, func(t *testing.T) {
			producing(t, kafka.ProduceConfig{}, func(_ context.Context, w *world) {
				n := 0
				w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: e, Count: 30,
					When: func(kmsg.Request) bool { n++; return n%2 == 0 }})
			}, nil)
		})
	}
}

// An answer is lost after the broker has appended: the same sequence is sent again and the broker
// knows it.
func TestProduce_SurvivesMissingResponses(t *testing.T) {
	producing(t, kafka.ProduceConfig{}, func(_ context.Context, w *world) {
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.RequestTimedOut, Count: 1})
		w.loseAnswers(3)
	}, nil)
}

// loseAnswers has every nth connection to a broker break after it has carried a produce request.
func (w *world) loseAnswers(n int) {
	count := 0
	w.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		if count++; count%n == 0 && count < 20*n {
			return nil, errors.New("cut"), true
		}
		return nil, nil, false
	})
}

func TestProduce_FollowsLeader(t *testing.T) {
	producing(t, kafka.ProduceConfig{}, nil, func(_ context.Context, w *world, round int) {
		for p := range int32(3) {
			require.NoError(t, w.cluster.MoveTopicPartition("t", p, (p+int32(round))%3))
		}
	})
}

func TestProduce_SurvivesRemovedBroker(t *testing.T) {
	producing(t, kafka.ProduceConfig{}, nil, func(_ context.Context, w *world, round int) {
		switch round {
		case 3:
			require.NoError(t, w.cluster.RemoveNode(1))
		case 8:
			_, _, err := w.cluster.AddNode(1, 9093)
			require.NoError(t, err)
		case 12:
			require.NoError(t, w.cluster.RemoveNode(0))
		}
	})
}

// An address may come to be another broker's while a connection to it lives: the in-process
// broker's connections outlive their broker, and so do those through a proxy. They are given up
// when whoever answers there goes on to deny that it leads.
func TestProduceFetch_LeavesFormerBroker(t *testing.T) {
	fetching(t, kafka.FetchConfig{}, func(ctx context.Context, w *world, _ kafka.Fetcher, s *collector) {
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		send(ctx, t, p, tp(0), numbers(0, 5)...)
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 5 })
		require.NoError(t, w.cluster.RemoveNode(0))
		_, _, err := w.cluster.AddNode(0, 9092)
		require.NoError(t, err)
		require.NoError(t, w.cluster.MoveTopicPartition("t", 0, 0))
		began := time.Now()
		send(ctx, t, p, tp(0), numbers(5, 10)...)
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		s.until(ctx, t, func() bool { return s.next[tp(0)] == 10 })
		assert.Less(t, time.Since(began), 3*time.Second)
	})
}

func TestProduce_Compressions(t *testing.T) {
	for _, c := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(c, func(t *testing.T) { producing(t, kafka.ProduceConfig{Compression: c}, nil, nil) })
	}
}

// Each batch keeps its place: what the broker is sent again has the sequence that it had.
func TestProduce_RetriesSameSequence(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		type sent struct {
			pid        int64
			seq, count int32
		}
		var all []sent
		w.cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			var b kmsg.RecordBatch
			if err := b.ReadFrom(r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records); err == nil {
				all = append(all, sent{b.ProducerID, b.FirstSequence, b.NumRecords})
			}
			return nil, nil, false
		})
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.NotLeaderForPartition, Count: 3})
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		send(ctx, t, p, tp(0), numbers(0, 5)...)
		p.Flush()
		synctest.Wait()
		send(ctx, t, p, tp(0), numbers(5, 12)...)
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		pid := all[0].pid
		assert.Equal(t, []sent{{pid, 0, 5}, {pid, 0, 5}, {pid, 0, 5}, {pid, 0, 5}, {pid, 5, 7}}, all)
	})
}

// Kafka's DefaultRecordBatch.incrementSequence, word for word.
func incrementSequence(seq, increment int32) int32 {
	if seq > math.MaxInt32-increment {
		return increment - (math.MaxInt32 - seq) - 1
	}
	return seq + increment
}

// The in-process broker wraps one too early and makes us get a new producer id there; in the log all is as it
// should be either way.
func TestProduce_SequenceWraps(t *testing.T) {
	for seq := int32(math.MaxInt32 - 5); seq > 0; seq++ {
		for n := range int32(10) {
			assert.Equal(t, incrementSequence(seq, n), addSequence(seq, int(n)))
		}
	}
	simulate(t, func(ctx context.Context, w *world) {
		w.write(ctx, tp(0), "before") // a log that has never held anything takes only sequence 0
		p := w.producer(kafka.ProduceConfig{}).(*producer)
		defer p.Close()
		send(ctx, t, p, tp(0), "first")
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		synctest.Wait()
		part := p.partitions[tp(0)]
		part.identity = &identity{part.identity.id + 1000, 0} // one that the broker does not know may begin anywhere
		part.sequence = math.MaxInt32 - 2
		for i := range 4 {
			send(ctx, t, p, tp(0), numbers(2*i, 2*i+2)...)
			require.NoError(t, done(ctx, t, p.Cut()).Err)
		}
		assert.Equal(t, append([]string{"before", "first"}, numbers(0, 8)...), values(w.log(ctx, tp(0))))
	})
}

// The broker does not know our sequence, and the batch was sent for the first time: nothing is lost
// or doubled by a new producer id.
func TestProduce_ForgottenSequence(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch} {
		t.Run(e.Message, func(t *testing.T) {
			producing(t, kafka.ProduceConfig{}, nil, func(_ context.Context, w *world, round int) {
				if round == 5 || round == 9 {
					synctest.Wait()
					w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Partitions: []int32{1}, Err: e})
				}
			})
		})
	}
}

// The same after an attempt whose fate is unknown: nobody can tell whether the records are there,
// so the ticket fails.
func TestProduce_ForgottenSequenceOfUncertainBatch(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.RequestTimedOut},
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.OutOfOrderSequenceNumber})
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		send(ctx, t, p, tp(0), "x")
		k := done(ctx, t, p.Cut())
		require.ErrorContains(t, k.Err, "may or may not have been written")
		require.Error(t, p.Healthy())
		require.Error(t, p.Send(ctx, tp(0), kafka.ProduceRecord{Value: []byte("y")}))
		require.Error(t, done(ctx, t, p.Cut()).Err)
	})
}

func TestProduce_DuplicateIsSuccess(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		send(ctx, t, p, tp(0), "a")
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.DuplicateSequenceNumber})
		send(ctx, t, p, tp(0), "b")
		k := done(ctx, t, p.Cut())
		require.NoError(t, k.Err)
		assert.Equal(t, int64(1), k.Ends[tp(0)], "the broker did not say where it is: the end is not moved")
	})
}

func TestProduce_SplitsTooLargeBatch(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		require.NoError(t, w.cluster.CreateTopic("small", 1, map[string]string{"max.message.bytes": "2000"}))
		small := kafka.TopicPartition{Topic: "small"}
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		var want []string
		for i := range 300 {
			want = append(want, fmt.Sprintf("%0100d", i))
		}
		send(ctx, t, p, small, want...)
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		assert.Equal(t, want, values(w.log(ctx, small)))
		err := p.Send(ctx, small, kafka.ProduceRecord{Value: make([]byte, 2000)})
		require.ErrorIs(t, err, kafka.ErrTooLarge)
		require.ErrorContains(t, err, "small[0]")
		require.ErrorContains(t, err, "the topic's max.message.bytes (where it has none of its own, message.max.bytes of the brokers) is 2000: raise it")
		err = p.Send(ctx, small, kafka.ProduceRecord{Value: make([]byte, maxRecordSize)})
		require.ErrorIs(t, err, kafka.ErrTooLarge)
		require.ErrorContains(t, err, "which no setting changes")
		require.NoError(t, p.Send(ctx, tp(0), kafka.ProduceRecord{Value: make([]byte, 2000)}))
		require.ErrorIs(t, p.Send(ctx, tp(0), kafka.ProduceRecord{Value: make([]byte, 1100_000)}), kafka.ErrTooLarge)
		require.NoError(t, done(ctx, t, p.Cut()).Err)
	})
}

func TestProduce_RefusedRecords(t *testing.T) {
	tests := []struct {
		name    string
		handled bool
	}{{"handled: the ticket is good", true}, {"not handled: the ticket fails", false}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				require.NoError(t, w.cluster.CreateTopic("small", 1, map[string]string{"max.message.bytes": "500"}))
				small := kafka.TopicPartition{Topic: "small"}
				var refused []kafka.ProduceFailure
				p := w.producer(kafka.ProduceConfig{OnFailure: func(f kafka.ProduceFailure) bool { refused = append(refused, f); return tt.handled }})
				defer p.Close()
				large := kafka.ProduceRecord{Key: []byte("k"), Value: make([]byte, 800), Headers: []kafka.Header{{Name: "h", Value: []byte("v")}}, Time: 77}
				send(ctx, t, p, small, numbers(0, 5)...)
				require.NoError(t, p.Send(ctx, small, large))
				send(ctx, t, p, small, numbers(5, 10)...)
				k := done(ctx, t, p.Cut())
				if tt.handled {
					require.NoError(t, k.Err)
				} else {
					require.ErrorIs(t, k.Err, kafka.ErrTooLarge)
				}
				require.Len(t, refused, 1)
				assert.Equal(t, large, refused[0].Record)
				assert.Equal(t, small, refused[0].TopicPartition)
				require.ErrorIs(t, refused[0].Err, kafka.ErrTooLarge)
				require.ErrorContains(t, refused[0].Err, "small[0]: the broker refused a record of 8")
				require.ErrorContains(t, refused[0].Err, "the topic's max.message.bytes, or where it has none of its own, message.max.bytes of the brokers: raise it")
				assert.Equal(t, int64(10), k.Ends[small])
				send(ctx, t, p, small, numbers(10, 12)...)
				require.NoError(t, done(ctx, t, p.Cut()).Err)
				assert.Equal(t, numbers(0, 12), values(w.log(ctx, small)))
			})
		})
	}
}

func TestProduce_RefusedPermanently(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.TopicAuthorizationFailed, kerr.InvalidTopicException, kerr.PolicyViolation} {
		t.Run(e.Message, func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: e})
				p := w.producer(kafka.ProduceConfig{})
				defer p.Close()
				send(ctx, t, p, tp(0), "x", "y")
				require.Error(t, done(ctx, t, p.Cut()).Err)
				send(ctx, t, p, tp(0), "z")
				require.NoError(t, done(ctx, t, p.Cut()).Err)
				assert.Equal(t, []string{"z"}, values(w.log(ctx, tp(0))))
			})
		})
	}
}

// The broker names the records that it does not take; the others are written.
func TestProduce_InvalidRecords(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		w.cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			req := r.(*kmsg.ProduceRequest)
			resp := req.ResponseKind().(*kmsg.ProduceResponse)
			st := kmsg.NewProduceResponseTopic()
			st.Topic = "t"
			sp := kmsg.NewProduceResponseTopicPartition()
			sp.ErrorCode = kerr.InvalidRecord.Code
			for _, i := range []int32{1, 3} {
				e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
				e.RelativeOffset = i
				sp.ErrorRecords = append(sp.ErrorRecords, e)
			}
			st.Partitions = append(st.Partitions, sp)
			resp.Topics = append(resp.Topics, st)
			return resp, nil, true
		})
		var refused []string
		p := w.producer(kafka.ProduceConfig{OnFailure: func(f kafka.ProduceFailure) bool { refused = append(refused, string(f.Record.Value)); return true }})
		defer p.Close()
		send(ctx, t, p, tp(0), numbers(0, 5)...)
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		assert.Equal(t, []string{"1", "3"}, refused)
		assert.Equal(t, []string{"0", "2", "4"}, values(w.log(ctx, tp(0))))
	})
}

func TestProduce_UnknownTopic(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		later, never := kafka.TopicPartition{Topic: "later"}, kafka.TopicPartition{Topic: "never"}
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		send(ctx, t, p, later, "x")
		k := p.Cut()
		time.Sleep(5 * time.Second)
		require.Error(t, p.Healthy())
		require.NoError(t, w.cluster.CreateTopic("later", 1, nil))
		require.NoError(t, done(ctx, t, k).Err)
		require.NoError(t, p.Healthy())
		send(ctx, t, p, never, "x")
		send(ctx, t, p, tp(0), "y")
		k = done(ctx, t, p.Cut())
		require.ErrorIs(t, k.Err, kafka.ErrUnknownTopic)
		assert.Equal(t, map[kafka.TopicPartition]int64{later: 1, tp(0): 1}, k.Ends)
	})
}

// A Send that waits for room goes on when what was queued is refused because its topic is gone. Nothing is wrong with the producer then:
// nothing is left that cannot be written.
func TestProduce_UnknownTopicMakesRoom(t *testing.T) {
	for _, transactions := range []bool{false, true} {
		t.Run(fmt.Sprint("transactions ", transactions), func(t *testing.T) {
			simulate(t, func(ctx context.Context, w *world) {
				refused := 0
				cfg := kafka.ProduceConfig{BufferBytes: 2000, BatchBytes: 500, OnFailure: func(f kafka.ProduceFailure) bool {
					refused++
					return errors.Is(f.Err, kafka.ErrUnknownTopic)
				}}
				c := w.newClient(func(c *Config) { c.UnknownTopicTimeout = 5 * time.Second })
				defer c.Close()
				var p kafka.Producer
				if transactions {
					x := w.transactor(c, cfg)
					require.NoError(t, x.Begin(ctx))
					p = x
				} else {
					var err error
					p, err = c.Producer(cfg)
					require.NoError(t, err)
				}
				defer p.Close()
				gone := kafka.TopicPartition{Topic: "gone"}
				value := string(make([]byte, 300))
				for range 20 {
					send(ctx, t, p, gone, value)
				}
				send(ctx, t, p, tp(0), "goes on")
				require.NoError(t, done(ctx, t, p.Cut()).Err)
				assert.Equal(t, 20, refused)
				assert.NoError(t, p.Healthy())
				assert.Equal(t, []string{"goes on"}, values(w.log(ctx, tp(0))))
			})
		})
	}
}

// Nothing is sent while Allowed says no, and all of it once it says yes again.
func TestProduce_WaitsUntilAllowed(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		var open atomic.Bool
		p := w.producer(kafka.ProduceConfig{Allowed: func() error {
			if open.Load() {
				return nil
			}
			return errors.New("the session may have run out")
		}})
		defer p.Close()
		seen := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Observe: true, Count: -1})
		send(ctx, t, p, tp(0), numbers(0, 5)...)
		k := p.Cut()
		time.Sleep(10 * time.Second)
		assert.Zero(t, seen.Hits())
		open.Store(true)
		began := time.Now()
		require.NoError(t, done(ctx, t, k).Err)
		assert.Less(t, time.Since(began), 100*time.Millisecond)
		open.Store(false)
		send(ctx, t, p, tp(0), "never")
		p.Flush()
		time.Sleep(time.Second)
		assert.Equal(t, numbers(0, 5), values(w.log(ctx, tp(0))))
	})
}

func TestProduce_ForeignWrite(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		p.(kafka.Expecter).Expect(tp(0), 0)
		send(ctx, t, p, tp(0), "a", "b")
		send(ctx, t, p, tp(1), "unchecked")
		assert.Empty(t, done(ctx, t, p.Cut()).Foreign)
		w.write(ctx, tp(0), "foreign", "foreign too")
		w.write(ctx, tp(1), "foreign")
		send(ctx, t, p, tp(0), "c")
		send(ctx, t, p, tp(1), "unchecked")
		k := done(ctx, t, p.Cut())
		assert.Equal(t, []kafka.ForeignWrite{{TopicPartition: tp(0), From: 2, To: 4}}, k.Foreign)
		assert.Equal(t, int64(5), k.Ends[tp(0)])
		send(ctx, t, p, tp(0), "d")
		assert.Empty(t, done(ctx, t, p.Cut()).Foreign, "each foreign write is reported once")
		p.(kafka.Expecter).Expect(tp(0), 3)
		send(ctx, t, p, tp(0), "e")
		assert.Len(t, done(ctx, t, p.Cut()).Foreign, 1)
	})
}

// Ends of a ticket are those of its own records, even when later ones were acknowledged before it
// was complete.
func TestProduce_TicketEndsStopAtCut(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		h := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Partitions: []int32{1}, Err: kerr.NotEnoughReplicas, Count: -1})
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		send(ctx, t, p, tp(0), "a")
		send(ctx, t, p, tp(1), "held")
		first := p.Cut()
		send(ctx, t, p, tp(0), "b", "c")
		second := p.Cut()
		time.Sleep(5 * time.Second)
		select {
		case <-first.Done:
			require.Fail(t, "the first ticket must wait")
		case <-second.Done:
			require.Fail(t, "tickets complete in order")
		default:
		}
		require.Len(t, w.log(ctx, tp(0)), 3)
		h.Remove()
		assert.Equal(t, map[kafka.TopicPartition]int64{tp(0): 1, tp(1): 1}, done(ctx, t, first).Ends)
		assert.Equal(t, map[kafka.TopicPartition]int64{tp(0): 3, tp(1): 1}, done(ctx, t, second).Ends)
	})
}

func TestProduce_WaitsForRoom(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		h := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		p := w.producer(kafka.ProduceConfig{BufferBytes: 10_000, BatchBytes: 1000})
		defer p.Close()
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		n := 0
		var err error
		for err == nil {
			err = p.Send(short, tp(int32(n%3)), kafka.ProduceRecord{Value: make([]byte, 100)})
			n++
		}
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.InDelta(t, 10_000/136, n, 3)
		h.Remove()
		for range 500 {
			require.NoError(t, p.Send(ctx, tp(0), kafka.ProduceRecord{Value: make([]byte, 100)}))
		}
		require.NoError(t, p.Send(ctx, tp(0), kafka.ProduceRecord{Value: make([]byte, 50_000)}), "larger than the buffer: alone")
		require.NoError(t, done(ctx, t, p.Cut()).Err)
	})
}

func TestProduce_Close(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		for i := range w.cluster.ListenAddrs() {
			w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Nodes: []int32{int32(i)}, Err: kerr.NotEnoughReplicas, Count: -1})
		}
		p := w.producer(kafka.ProduceConfig{})
		send(ctx, t, p, tp(0), "x")
		k := p.Cut()
		time.Sleep(time.Second)
		began := time.Now()
		p.Close()
		p.Close()
		assert.Zero(t, time.Since(began))
		require.ErrorIs(t, done(ctx, t, k).Err, kafka.ErrClosed)
		require.ErrorIs(t, p.Send(ctx, tp(1), kafka.ProduceRecord{}), kafka.ErrClosed)
		require.ErrorIs(t, done(ctx, t, p.Cut()).Err, kafka.ErrClosed)
	})
}

// A broker that takes a request and never answers: Close does not wait for it.
func TestProduce_CloseDoesNotWaitForSilentBroker(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		w.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, nil, true })
		p := w.producer(kafka.ProduceConfig{})
		send(ctx, t, p, tp(0), "x")
		p.Flush()
		time.Sleep(time.Second)
		began := time.Now()
		p.Close()
		assert.Zero(t, time.Since(began))
	})
}

// A broker that takes a request and never answers is given up after the request timeout, and the
// batch is sent again.
func TestProduce_SilentBroker(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		w.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, nil, true })
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		began := time.Now()
		send(ctx, t, p, tp(0), "x")
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		assert.InDelta(t, 30, time.Since(began).Seconds(), 2)
		assert.Equal(t, []string{"x"}, values(w.log(ctx, tp(0))))
	})
}

func TestProduce_RecordTimes(t *testing.T) {
	simulate(t, func(ctx context.Context, w *world) {
		p := w.producer(kafka.ProduceConfig{})
		defer p.Close()
		times := []int64{5000, 1, -1, 0, 1 << 40, 4102444800000}
		for _, ms := range times {
			require.NoError(t, p.Send(ctx, tp(0), kafka.ProduceRecord{Time: ms}))
		}
		require.Error(t, p.Send(ctx, tp(0), kafka.ProduceRecord{Time: -2}))
		require.NoError(t, done(ctx, t, p.Cut()).Err)
		var got []int64
		for _, r := range w.log(ctx, tp(0)) {
			got = append(got, r.Time)
		}
		assert.Equal(t, times, got)
	})
}
