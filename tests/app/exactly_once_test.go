package app_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func exactlyOnce(t *testing.T, b *broker.Broker) millstream.Config {
	cfg := config(t, b)
	cfg.Guarantee = millstream.ExactlyOnce
	return cfg
}

// Whatever the point at which a process dies: after the next start every input has counted once.
func TestExactlyOnce_CrashAtEveryPoint(t *testing.T) {
	for _, p := range append(crashpoint.Points(), crashpoint.TransactionPoints()...) {
		t.Run(p.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
				application, sum, got := crashAt(t, b, exactlyOnce(t, b), p)
				assert.Equal(t, sum, got)
				assert.Equal(t, sum, latest(t, b, "counts"), "outputs")
				assert.Equal(t, sum, latest(t, b, application+"-counts-changelog"))
				updates, err := b.Read(t.Context(), "counts")
				require.NoError(t, err)
				n := 610
				if application != "app" {
					n += 300 // of the first application
				}
				assert.Len(t, updates, n, "each update is there once")
			})
		})
	}
}

// A record that a broker refuses is missing in one transaction, and its dead letter is in the same: neither can come without the other.
func TestExactlyOnce_DeadLetterIsInTheTransaction(t *testing.T) {
	for _, at := range []crashpoint.Point{0, crashpoint.OffsetsAccepted, crashpoint.SendCommitted} {
		t.Run(at.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("dead", 1))
				cfg := exactlyOnce(t, b)
				cfg.OnProduceError = failure.DeadLetter("dead")
				// The cut is before the answer.
				cfg.CommitInterval = time.Millisecond
				b.Cluster().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
					b.Cluster().KeepControl()
					b.Cluster().SleepControl(func() { time.Sleep(30 * time.Millisecond) })
					return nil, nil, false
				})
				refuse := func() *kfake.FaultHandle {
					return b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "out", Err: kerr.MessageTooLarge, Count: 1})
				}
				write(t, b, "in", 0, 1)
				refused := refuse()
				want := []string{"V0"}
				if at != 0 {
					require.True(t, runUntil(t, upper(t), cfg, func(p crashpoint.Point) bool {
						return p == at && refused.Hits() > 0
					}))
					time.Sleep(15 * time.Second)
					letters, err := b.Read(t.Context(), "dead")
					require.NoError(t, err)
					assert.EqualValues(t, len(letters), max(committed(t, b, "app", "in"), 0), "the letter, or the input is still to be processed")
					if at == crashpoint.OffsetsAccepted {
						assert.Empty(t, letters)
						refuse() // it is written again, and refused again
					}
				}
				m := start(t, upper(t), cfg)
				time.Sleep(time.Second)
				write(t, b, "in", 1, 1)
				await(t, b, "out", 1)
				time.Sleep(time.Second)
				m.stop()
				letters, err := b.Read(t.Context(), "dead")
				require.NoError(t, err)
				var got []string
				for _, r := range letters {
					got = append(got, string(r.Value))
				}
				assert.Equal(t, want, got)
				assert.Equal(t, map[string]string{"k1": "V1"}, values(await(t, b, "out", 1)))
				assert.EqualValues(t, 2, committed(t, b, "app", "in"))
			})
		})
	}
}

// Records go on being processed and written while dead letters extend a transaction.
func TestExactlyOnce_DeadLettersUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2), broker.Topic("dead", 1))
		cfg := exactlyOnce(t, b)
		cfg.OnProduceError = failure.DeadLetter("dead")
		cfg.CommitInterval = 10 * time.Millisecond
		m := start(t, simple(t), cfg)
		for i := range 40 {
			b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "counts", Err: kerr.PolicyViolation, Count: 1})
			write(t, b, "in", 10*i, 10)
			time.Sleep(time.Duration(i) * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		m.stop()
		got := latest(t, b, "counts")
		letters := latest(t, b, "dead")
		require.NotEmpty(t, letters)
		for k, n := range letters {
			assert.NotContains(t, got, k, "a letter, or the record")
			got[k] = n
		}
		want := map[string]int64{}
		for i := range 400 {
			want[fmt.Sprint("k", i)] = 1
		}
		assert.Equal(t, want, got)
		assert.Equal(t, want, latest(t, b, "app-counts-changelog"))
		assert.EqualValues(t, 400, committed(t, b, "app", "in"))
	})
}

// What a task has written before it fails is not visible, and it is written again by the next run.
func TestExactlyOnce_FailedTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		cfg := exactlyOnce(t, b)
		cfg.CommitInterval = time.Second
		var broken atomic.Bool
		broken.Store(true)
		builder := stream.NewBuilder()
		stream.To(stream.MapValues(stream.Peek(stream.From(builder, in), func(r rec) {
			if broken.Load() && r.Value == "v7" {
				panic("no v7 today")
			}
		}), strings.ToUpper), out)
		top := build(t, builder)
		write(t, b, "in", 0, 10)
		m := start(t, top, cfg)
		require.ErrorContains(t, <-m.done, "no v7 today")
		rs, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		assert.Empty(t, rs)
		assert.Zero(t, committed(t, b, "app", "in"))
		broken.Store(false)
		runToEnd(t, top, cfg)
		assert.Len(t, committedRecords(t, b, "out"), 10)
	})
}

// A transaction that cannot be committed costs no App and no record: the tasks begin again where they have committed. That takes no
// restore, unless the end was requested: whether it was committed is then for the offsets to say.
func TestExactlyOnce_UncertainWriteBeginsAgain(t *testing.T) {
	for name, faults := range map[string][]kfake.Fault{
		"uncertain": {
			{Keys: []kmsg.Key{kmsg.Produce}, Topic: "counts", Err: kerr.RequestTimedOut},
			{Keys: []kmsg.Key{kmsg.Produce}, Topic: "counts", Err: kerr.OutOfOrderSequenceNumber},
		},
		"fenced at the end":    {{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ProducerFenced, TopLevel: true}},
		"fenced at partitions": {{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, Err: kerr.InvalidProducerEpoch}},
		"fenced at offsets":    {{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.InvalidProducerEpoch}},
		"no transaction":       {{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.InvalidTxnState, TopLevel: true}},
		"id expired":           {{Keys: []kmsg.Key{kmsg.AddOffsetsToTxn}, Err: kerr.InvalidProducerIDMapping, TopLevel: true}},
		"ended, at partitions": {{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn}, Err: kerr.InvalidTxnState}},
		"ended, at offsets":    {{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.InvalidTxnState}},
		"to be aborted":        {{Keys: []kmsg.Key{kmsg.AddOffsetsToTxn}, Err: kerr.TransactionAbortable, TopLevel: true}},
		"to be aborted, late":  {{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.TransactionAbortable, TopLevel: true}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
				cfg := exactlyOnce(t, b)
				log := logTo(&cfg)
				var restored atomic.Int64
				cfg.Events.Restore = func(millstream.RestoreInfo) { restored.Add(1) }
				m := start(t, simple(t), cfg)
				write(t, b, "in", 0, 10)
				time.Sleep(time.Second)
				require.EqualValues(t, 10, onceCommitted(t, b, 10))
				before := restored.Load()
				for i := range faults {
					faults[i].Count = 1
				}
				b.Cluster().Fault(faults...)
				write(t, b, "in", 0, 20)
				time.Sleep(10 * time.Second)
				require.NoError(t, m.Ready())
				if faults[0].TopLevel && slices.Contains(faults[0].Keys, kmsg.EndTxn) {
					assert.Greater(t, restored.Load(), before, "it was opened again")
				} else {
					assert.Equal(t, before, restored.Load(), "nothing was restored")
				}
				assert.Equal(t, 1, strings.Count(log.String(), "begin again"))
				write(t, b, "in", 20, 10)
				m.stopAfter(time.Second)
				want := map[string]int64{}
				for i := range 30 {
					want[fmt.Sprint("k", i)] = 1
					if i < 10 {
						want[fmt.Sprint("k", i)] = 2
					}
				}
				assert.Equal(t, want, latest(t, b, "app-counts-changelog"))
				assert.Equal(t, want, latest(t, b, "counts"))
				assert.Len(t, committedRecords(t, b, "counts"), 40)
			})
		})
	}
}

// The end of a transaction is not answered, and before it is repeated somebody has aborted the transaction: whether it was committed
// cannot be known then. It was not, and what it had counted counts once all the same.
func TestExactlyOnce_UnansweredEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		cfg := exactlyOnce(t, b)
		m := start(t, simple(t), cfg)
		write(t, b, "in", 0, 10)
		time.Sleep(time.Second)
		require.EqualValues(t, 10, onceCommitted(t, b, 10))
		other, err := kgo.NewClient(kgo.SeedBrokers(b.Brokers()...), kgo.Dialer(b.Dialer()), kgo.DisableClientMetrics())
		require.NoError(t, err)
		defer other.Close()
		fenced := make(chan error, 1)
		b.Cluster().ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
			id := r.(*kmsg.EndTxnRequest).TransactionalID
			go func() {
				init := kmsg.NewPtrInitProducerIDRequest()
				init.TransactionalID, init.TransactionTimeoutMillis, init.ProducerID, init.ProducerEpoch = &id, 10_000, -1, -1
				resp, err := init.RequestWith(t.Context(), other)
				if err == nil {
					err = kerr.ErrorForCode(resp.ErrorCode)
				}
				fenced <- err
			}()
			return nil, errors.New("cut"), true
		})
		write(t, b, "in", 0, 10)
		require.NoError(t, <-fenced)
		time.Sleep(10 * time.Second)
		write(t, b, "in", 0, 10)
		m.stopAfter(time.Second)
		want := map[string]int64{}
		for i := range 10 {
			want[fmt.Sprint("k", i)] = 3
		}
		assert.Equal(t, want, latest(t, b, "counts"))
		assert.Equal(t, want, latest(t, b, "app-counts-changelog"))
		assert.Len(t, committedRecords(t, b, "counts"), 30)
	})
}

// onceCommitted waits until offsets of "in" add up to n.
func onceCommitted(t *testing.T, b *broker.Broker, n int64) int64 {
	for range 100 {
		if committed(t, b, "app", "in") == n {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return committed(t, b, "app", "in")
}

// Two members with copies of one state directory have one transactional id. Each takes it from the other, until one of them uses another.
func TestExactlyOnce_CopiedStateDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		cfg := exactlyOnce(t, b)
		cfg.Workers = 1
		write(t, b, "in", 0, 1)
		runToEnd(t, simple(t), cfg)
		copied := cfg
		copied.StateDir = t.TempDir()
		require.NoError(t, os.CopyFS(filepath.Join(copied.StateDir, "app"), os.DirFS(filepath.Join(cfg.StateDir, "app"))))
		for _, path := range []string{copied.StateDir, filepath.Join(copied.StateDir, "app")} {
			require.NoError(t, os.Chmod(path, 0o700))
		}
		var log safeBuffer
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		copied.Logger = cfg.Logger
		first, second := start(t, simple(t), cfg), start(t, simple(t), copied)
		for i := range 100 {
			write(t, b, "in", 1+20*i, 20)
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(20 * time.Second)
		assert.Len(t, first.Tasks(), 1)
		assert.Len(t, second.Tasks(), 1)
		first.stop()
		second.stop()
		assert.Equal(t, 1, strings.Count(log.String(), "another process has the transactional id"), log.String())
		want := map[string]int64{}
		for i := range 2001 {
			want[fmt.Sprint("k", i)] = 1
		}
		assert.Equal(t, want, latest(t, b, "counts"))
		assert.Equal(t, want, latest(t, b, "app-counts-changelog"))
	})
}

// An id that the brokers do not allow, or transactions as long as those of an App, end the App, with what to do.
func TestExactlyOnce_RefusedByBrokers(t *testing.T) {
	for _, v := range []struct {
		answer *kerr.Error
		says   string
	}{
		{kerr.TransactionalIDAuthorizationFailed, `transactional ids that begin with "app"`},
		{kerr.InvalidTransactionTimeout, "transactions may take 10s, and the brokers' setting transaction.max.timeout.ms is less"},
	} {
		t.Run(v.answer.Message, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
				b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: v.answer, TopLevel: true, Count: 100})
				m := start(t, upper(t), exactlyOnce(t, b))
				err := <-m.done
				require.ErrorContains(t, err, "exactly once: initialise the producer of transactional id app-")
				require.ErrorContains(t, err, v.says)
			})
		})
	}
}

// What steps emit on their own goes into transactions that bring an offset: a member that has lost its tasks must not write.
func TestExactlyOnce_PunctuationAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		var withoutOffsets atomic.Int64
		offsets := map[string]bool{} // by transactional id; the broker's goroutine has it
		b.Cluster().ControlKey(int16(kmsg.AddOffsetsToTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.Cluster().KeepControl()
			offsets[r.(*kmsg.AddOffsetsToTxnRequest).TransactionalID] = true
			return nil, nil, false
		})
		b.Cluster().ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.Cluster().KeepControl()
			end := r.(*kmsg.EndTxnRequest)
			if end.Commit && !offsets[end.TransactionalID] {
				withoutOffsets.Add(1)
			}
			delete(offsets, end.TransactionalID)
			return nil, nil, false
		})
		builder := stream.NewBuilder()
		ticks := stream.Process(stream.From(builder, in), "ticks", func(c *stream.Context[string, string]) (func(rec) error, error) {
			c.EveryWallClock(time.Second, func(now time.Time) error {
				c.Forward(rec{Key: "tick", Value: now.String()})
				return nil
			})
			return func(rec) error { return nil }, nil
		})
		stream.To(ticks, out)
		m := start(t, build(t, builder), exactlyOnce(t, b))
		for i := range 10 {
			write(t, b, "in", i, 1)
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Second)
		m.stop()
		assert.Zero(t, withoutOffsets.Load())
		assert.Greater(t, len(await(t, b, "out", 15)), 14)
	})
}

// A member that was suspended for longer than its session leaves nothing that a reader sees, and the readers do not wait for it for ever.
func TestExactlyOnce_Zombie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		r := rand.New(rand.NewPCG(5, 5))
		top, _ := counting(t)
		cfg := exactlyOnce(t, b)
		v := newValve(b.Dialer())
		cfg.Dialer = v.Dial
		sum := map[string]int64{}
		first := start(t, top, cfg)
		for range 20 {
			writeWords(t, b, r, 50, sum)
			time.Sleep(100 * time.Millisecond)
		}
		writeWords(t, b, r, 500, sum)
		v.freeze()
		cfg2 := exactlyOnce(t, b)
		second := start(t, top, cfg2)
		time.Sleep(30 * time.Second)
		v.thaw()
		writeWords(t, b, r, 100, sum)
		time.Sleep(40 * time.Second)
		first.stop()
		second.stop()
		assert.Equal(t, sum, latest(t, b, "counts"))
		assert.Equal(t, sum, latest(t, b, "app-counts-changelog"))
		var n int64
		for _, k := range sum {
			n += k
		}
		updates, err := b.Read(t.Context(), "counts")
		require.NoError(t, err)
		assert.Len(t, updates, int(n))
	})
}

// Members may change their guarantee one by one, in either direction: nothing is lost, and tables equal their changelogs.
func TestExactlyOnce_ChangedMemberByMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
		r := rand.New(rand.NewPCG(9, 9))
		top, _ := counting(t)
		sum := map[string]int64{}
		one, two := config(t, b), config(t, b)
		run := func(cfg millstream.Config) *member {
			m := start(t, top, cfg)
			for range 10 {
				writeWords(t, b, r, 20, sum)
				time.Sleep(500 * time.Millisecond)
			}
			return m
		}
		first, second := run(one), run(two)
		for _, g := range []millstream.Guarantee{millstream.ExactlyOnce, millstream.AtLeastOnce} {
			one.Guarantee, two.Guarantee = g, g
			first.stop()
			first = run(one)
			second.stop()
			second = run(two)
		}
		time.Sleep(5 * time.Second)
		first.stop()
		second.stop()
		assert.Equal(t, sum, latest(t, b, "counts"))
		assert.Equal(t, sum, latest(t, b, "app-counts-changelog"))
	})
}

// Functions may take longer than a transaction may: what was processed before they were called is committed meanwhile.
func TestExactlyOnce_SlowFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		builder := stream.NewBuilder()
		stream.To(stream.MapValues(stream.From(builder, in), func(v string) string { time.Sleep(8 * time.Second); return v }), out)
		write(t, b, "in", 0, 40)
		m := start(t, build(t, builder), exactlyOnce(t, b))
		time.Sleep(400 * time.Second)
		assert.EqualValues(t, 40, committed(t, b, "app", "in"))
		assert.Len(t, committedRecords(t, b, "out"), 40)
		assert.EqualValues(t, 40, m.Stats().RecordsIn, "none was processed twice")
		m.stop()
	})
}

// Where a function sends much and takes long, the transaction does too: the next one may take longer.
func TestExactlyOnce_LongTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		var timeouts []time.Duration // the broker's goroutine has it, and this one after the end
		b.Cluster().ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.Cluster().KeepControl()
			if init := r.(*kmsg.InitProducerIDRequest); init.TransactionalID != nil { // else the test writes
				timeouts = append(timeouts, time.Duration(init.TransactionTimeoutMillis)*time.Millisecond)
			}
			return nil, nil, false
		})
		builder := stream.NewBuilder()
		long := strings.Repeat("x", 200<<10) // more than fits a batch together with another
		stream.To(stream.FlatMapValues(stream.From(builder, in), func(v string) iter.Seq[string] {
			return func(yield func(string) bool) {
				for i := 0; i < 6 && yield(fmt.Sprint(v, "-", i, long)); i++ {
					time.Sleep(7 * time.Second)
				}
			}
		}), out)
		write(t, b, "in", 0, 3)
		cfg := exactlyOnce(t, b)
		cfg.CommitInterval = time.Millisecond
		cfg.Workers = 1
		m := start(t, build(t, builder), cfg)
		time.Sleep(5 * time.Minute) // this broker remembers the first time-out of an id, so there is no end
		m.cancel()
		<-m.done
		synctest.Wait()
		require.Greater(t, len(timeouts), 3)
		assert.Equal(t, []time.Duration{10 * time.Second, 40 * time.Second}, timeouts[:2])
	})
}

// A transaction that waits for brokers until it times out is made again with the same time-out: a longer one would hold up others when this process
// dies. Where the brokers are always slow, it grows.
func TestExactlyOnce_TimeoutGrowsWithSlowBrokersNotWithOutages(t *testing.T) {
	for outages, want := range map[int][]time.Duration{1: {10 * time.Second, 10 * time.Second}, 2: {10 * time.Second, 10 * time.Second, 40 * time.Second}} {
		t.Run(fmt.Sprint(outages), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
				var timeouts []time.Duration // the broker's goroutine has it, and this one after the end
				b.Cluster().ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
					b.Cluster().KeepControl()
					if init := r.(*kmsg.InitProducerIDRequest); init.TransactionalID != nil {
						timeouts = append(timeouts, time.Duration(init.TransactionTimeoutMillis)*time.Millisecond)
					}
					return nil, nil, false
				})
				// The coordinator is away from the end of a transaction until it has timed out.
				away := map[int16]time.Time{} // by epoch of the producer, until when
				b.Cluster().ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
					b.Cluster().KeepControl()
					end := r.(*kmsg.EndTxnRequest)
					until, ok := away[end.ProducerEpoch]
					if !ok && len(away) < outages {
						until = time.Now().Add(12 * time.Second)
						away[end.ProducerEpoch] = until
					}
					if !time.Now().Before(until) {
						return nil, nil, false
					}
					answer := end.ResponseKind().(*kmsg.EndTxnResponse)
					answer.ErrorCode = kerr.CoordinatorNotAvailable.Code
					return answer, nil, true
				})
				cfg := exactlyOnce(t, b)
				cfg.Workers = 1
				m := start(t, upper(t), cfg)
				time.Sleep(time.Second)
				write(t, b, "in", 0, 1)
				time.Sleep(time.Minute)
				write(t, b, "in", 1, 1)
				time.Sleep(time.Minute)
				m.stop()
				assert.EqualValues(t, 2, committed(t, b, "app", "in"))
				assert.Len(t, committedRecords(t, b, "out"), 2)
				assert.Equal(t, want, timeouts)
			})
		})
	}
}

// The next producer may fail before the owner of the tasks has heard that the last one did. No task waits for it for ever then.
func TestExactlyOnce_SuccessorFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		cfg := exactlyOnce(t, b)
		cfg.Workers = 1
		var hold atomic.Bool
		cfg.Events.State = func(_, s millstream.State) {
			if s == millstream.Restoring && hold.Load() { // the owner of the tasks is here
				time.Sleep(time.Second)
			}
		}
		m := start(t, upper(t), cfg)
		write(t, b, "in", 0, 10)
		time.Sleep(time.Second)
		require.EqualValues(t, 10, onceCommitted(t, b, 10))
		hold.Store(true)
		b.Cluster().Fault(
			kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ProducerFenced, TopLevel: true, Count: 1},
			kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.TransactionalIDAuthorizationFailed, TopLevel: true, Count: 1},
		)
		write(t, b, "in", 10, 10)
		time.Sleep(10 * time.Second)
		assert.EqualValues(t, 20, committed(t, b, "app", "in"))
		m.stop()
		assert.Len(t, committedRecords(t, b, "out"), 20)
	})
}

// While too much waits for a commit no task is called, and the worker waits: a punctuation that is due meanwhile has it not spin.
func TestPunctuation_DueWhileTheWorkerWaits(t *testing.T) {
	value := strings.Repeat("x", 256<<10)
	for name, guarantee := range map[string]millstream.Guarantee{"at least once": millstream.AtLeastOnce, "exactly once": millstream.ExactlyOnce} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
				cfg := config(t, b)
				cfg.Guarantee, cfg.MemoryBudget, cfg.Workers = guarantee, 1<<30, 1
				// At least once: only the first commit takes long. A cut of much waits for room, and none is made meanwhile.
				slow, left := kmsg.EndTxn, 1000
				if guarantee == millstream.AtLeastOnce {
					slow, left = kmsg.Produce, 2
				}
				b.Cluster().ControlKey(int16(slow), func(kmsg.Request) (kmsg.Response, error, bool) {
					b.Cluster().KeepControl()
					if left > 0 {
						left--
						time.Sleep(2 * time.Second) // of the whole broker
					}
					return nil, nil, false
				})
				var calls atomic.Int64
				builder := stream.NewBuilder()
				ref := store.NewKeyValue("rows", serde.String, serde.String)
				stream.To(stream.Process(stream.From(builder, in), "ticks",
					func(c *stream.Context[string, string]) (func(rec) error, error) {
						rows := ref.In(c)
						c.EveryWallClock(100*time.Millisecond, func(time.Time) error {
							n := calls.Add(1)
							for i := range min(n*n, 20) {
								if guarantee == millstream.AtLeastOnce { // rows that no commit has
									if err := rows.Put(fmt.Sprint(n%20, "-", i), value); err != nil {
										return err
									}
								} else { // records of the next transaction
									c.Forward(rec{Key: "tick", Value: value})
								}
							}
							return nil
						})
						return func(rec) error { return nil }, nil
					}, ref), out)
				m := start(t, build(t, builder), cfg)
				time.Sleep(10 * time.Second)
				m.stop()
				time.Sleep(3 * time.Second) // of what the broker has not answered
				assert.Positive(t, calls.Load())
				assert.Less(t, calls.Load(), int64(90), "it waits for commits")
			})
		})
	}
}

// The time-out of a transaction begins with it. One that is fenced after a pause has not taken long.
func TestExactlyOnce_FencedAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		timeouts := map[time.Duration]int{} // the broker's goroutine has it, and this one after the end
		b.Cluster().ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.Cluster().KeepControl()
			if init := r.(*kmsg.InitProducerIDRequest); init.TransactionalID != nil {
				timeouts[time.Duration(init.TransactionTimeoutMillis)*time.Millisecond]++
			}
			return nil, nil, false
		})
		cfg := exactlyOnce(t, b)
		cfg.Workers = 1
		m := start(t, upper(t), cfg)
		for i := range 2 {
			write(t, b, "in", i, 1)
			time.Sleep(time.Minute)
			b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.ProducerFenced, TopLevel: true, Count: 1})
		}
		write(t, b, "in", 2, 1)
		time.Sleep(time.Minute)
		m.stop()
		assert.EqualValues(t, 3, committed(t, b, "app", "in"))
		assert.Len(t, timeouts, 1, "none has grown: %v", timeouts)
		assert.Greater(t, timeouts[10*time.Second], 2)
	})
}

// A stop that is cut short leaves no transaction open: readers of the outputs do not wait for its time-out.
func TestExactlyOnce_StopTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		cfg := exactlyOnce(t, b)
		cfg.StopTimeout, cfg.Workers = 2*time.Second, 1
		m := start(t, upper(t), cfg)
		write(t, b, "in", 0, 1)
		time.Sleep(time.Second)
		require.EqualValues(t, 1, onceCommitted(t, b, 1))
		refused := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Count: -1})
		write(t, b, "in", 1, 1)
		time.Sleep(time.Second)
		m.cancel()
		require.ErrorContains(t, <-m.done, "Config.StopTimeout")
		refused.Remove()
		time.Sleep(time.Second)
		administer(t, b, func(a kafka.Admin) error {
			tp := kafka.TopicPartition{Topic: "out"}
			ends := map[kafka.TopicPartition]int64{tp: kafka.Latest}
			stable, err := a.ListOffsets(t.Context(), kafka.ReadCommitted, ends)
			if err != nil {
				return err
			}
			all, err := a.ListOffsets(t.Context(), kafka.ReadUncommitted, ends)
			assert.Equal(t, all[tp], stable[tp], "nothing is open")
			assert.EqualValues(t, 4, all[tp], "two records and two markers")
			return err
		})
		runToEnd(t, upper(t), cfg)
		assert.Len(t, committedRecords(t, b, "out"), 2)
	})
}

// Brokers write the markers of a transaction partition by partition. What a step has sent to the next one may be behind the last stable
// offset when the offsets of its input are committed: RunToEnd waits for it all the same.
func TestExactlyOnce_RunToEndWithLateMarkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		b.Cluster().ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.Cluster().KeepControl()
			req := r.(*kmsg.ListOffsetsRequest)
			resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
			for _, topic := range req.Topics {
				if req.IsolationLevel == 0 || !strings.HasSuffix(topic.Topic, "-repartition") {
					return nil, nil, false
				}
				answer := kmsg.NewListOffsetsResponseTopic()
				answer.Topic = topic.Topic
				for _, p := range topic.Partitions {
					ends := kmsg.NewListOffsetsResponseTopicPartition()
					ends.Partition, ends.Offset = p.Partition, 0
					answer.Partitions = append(answer.Partitions, ends)
				}
				resp.Topics = append(resp.Topics, answer)
			}
			return resp, nil, true
		})
		builder := stream.NewBuilder()
		stream.To(stream.MapValues(stream.Repartition(stream.From(builder, in), "again"), func(v string) string {
			time.Sleep(200 * time.Millisecond) // it has not read all when the step before is done
			return v
		}), out)
		write(t, b, "in", 0, 20)
		runToEnd(t, build(t, builder), exactlyOnce(t, b))
		rs, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		assert.Len(t, rs, 20)
	})
}

// Calls in flight, and their results that wait for their turn, are of the transaction in which their record is. When that ends without a
// commit they are done again, whatever the tasks, in however many workers, were doing.
func TestExactlyOnce_AsyncBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := rand.Uint64()
		t.Log("seed", seed)
		r := rand.New(rand.NewPCG(seed, 1))
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("out", 4), broker.Topic("counts", 4))
		builder := stream.NewBuilder()
		called := stream.TryMapValues(stream.From(builder, in), func(ctx context.Context, r rec) (string, error) {
			select {
			case <-time.After(time.Duration(1+len(r.Value)) * 3 * time.Millisecond):
				return strings.ToUpper(r.Value), nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}, stream.Async(10))
		stream.To(called, out)
		stream.To(table.ToStream(table.Count(stream.GroupBy(called, func(_, v string) string { return v[:2] }), "counts")), counts)
		cfg := exactlyOnce(t, b)
		cfg.Workers = 2
		var first, second atomic.Int64
		cfg.Events.Restore = func(millstream.RestoreInfo) { first.Add(1) }
		m := start(t, build(t, builder), cfg)
		// Another member, which has tasks for a while.
		cfg2 := exactlyOnce(t, b)
		cfg2.Workers = 1
		cfg2.Events.Restore = func(millstream.RestoreInfo) { second.Add(1) }
		var other *member
		keys := []kmsg.Key{kmsg.EndTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.AddPartitionsToTxn}
		codes := []*kerr.Error{kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidTxnState, kerr.TransactionAbortable}
		const rounds, n = 40, 25
		for i := range rounds {
			write(t, b, "in", i*n, n)
			if r.IntN(2) == 0 {
				b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{keys[r.IntN(len(keys))]}, Err: codes[r.IntN(len(codes))], Count: 1})
			}
			time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
			switch i {
			case rounds / 3:
				other = start(t, build(t, builder), cfg2)
			case 2 * rounds / 3:
				other.stop()
			}
		}
		time.Sleep(30 * time.Second)
		m.stop()
		assert.Greater(t, first.Load()+second.Load(), int64(8), "some have begun again")
		rs, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		assert.Len(t, rs, rounds*n, "once")
		last, want := map[int32]int{0: -1, 1: -1, 2: -1, 3: -1}, map[string]int64{}
		for _, r := range rs {
			i, err := strconv.Atoi(strings.TrimPrefix(string(r.Value), "V"))
			require.NoError(t, err)
			assert.Greater(t, i, last[r.Partition], "in the order of the partition")
			last[r.Partition] = i
			want[string(r.Value)[:2]]++
		}
		assert.Equal(t, want, latest(t, b, "counts"))
		assert.EqualValues(t, rounds*n, committed(t, b, "app", "in"))
	})
}

// Where some records of many are always refused, commits end all the same: what is processed while one waits for dead letters does not
// bring it more of them for ever.
func TestProduceError_SomeAreAlwaysRefused(t *testing.T) {
	for name, guarantee := range map[string]millstream.Guarantee{"at least once": millstream.AtLeastOnce, "exactly once": millstream.ExactlyOnce} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("refused", 1), broker.Topic("dead", 1))
				cfg := config(t, b)
				cfg.Guarantee, cfg.Workers = guarantee, 1
				cfg.OnProduceError = failure.DeadLetter("dead")
				ids := 0 // the broker's goroutine has it, and this one after the end
				b.Cluster().ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
					b.Cluster().KeepControl()
					if r.(*kmsg.InitProducerIDRequest).TransactionalID != nil {
						ids++
					}
					return nil, nil, false
				})
				dial := b.Dialer()
				cfg.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
					c, err := dial(ctx, network, addr)
					return slowConn{c}, err
				}
				b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "refused", Err: kerr.PolicyViolation, Count: -1})
				builder := stream.NewBuilder()
				all := stream.From(builder, in)
				stream.To(stream.Filter(all, func(_, v string) bool { return v == "a" }), out)
				stream.To(stream.Filter(all, func(_, v string) bool { return v == "b" }), stream.NewTopic("refused", serde.String, serde.String))
				m := start(t, build(t, builder), cfg)
				const rounds = 2000
				for i := range rounds {
					require.NoError(t, b.Produce(t.Context(), "in",
						broker.Record{Key: fmt.Appendf(nil, "k%d", i), Value: []byte("a")}, broker.Record{Key: fmt.Appendf(nil, "l%d", i), Value: []byte("b")}))
					time.Sleep(10 * time.Millisecond)
				}
				assert.Greater(t, committed(t, b, "app", "in"), int64(rounds), "commits go on")
				time.Sleep(20 * time.Second)
				m.stop()
				assert.LessOrEqual(t, ids, 1, "no transaction has timed out")
				assert.Len(t, committedRecords(t, b, "out"), rounds)
				assert.Len(t, committedRecords(t, b, "dead"), rounds)
				assert.EqualValues(t, 2*rounds, committed(t, b, "app", "in"))
			})
		})
	}
}

// An App that waits for the coordinator of its transactions, as where a cluster has too few brokers for their topic, says so.
func TestExactlyOnce_ReadyWhileTheCoordinatorIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		write(t, b, "in", 0, 1)
		fault := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.CoordinatorNotAvailable, TopLevel: true, Count: -1})
		m := start(t, upper(t), exactlyOnce(t, b))
		time.Sleep(10 * time.Second)
		assert.Equal(t, millstream.Restoring, m.State())
		require.ErrorContains(t, m.Ready(), "initialise the producer of transactional id app-")
		fault.Remove()
		time.Sleep(5 * time.Second)
		require.NoError(t, m.Ready())
		m.stop()
		assert.Len(t, committedRecords(t, b, "out"), 1)
	})
}

// slowConn takes a while for each request.
type slowConn struct{ net.Conn }

func (c slowConn) Write(b []byte) (int, error) {
	time.Sleep(60 * time.Millisecond)
	return c.Conn.Write(b)
}
