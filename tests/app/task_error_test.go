package app_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

// eachGuarantee runs a test in a bubble with each guarantee, one input of two partitions and one worker.
func eachGuarantee(t *testing.T, f func(t *testing.T, b *broker.Broker, cfg millstream.Config)) {
	for _, guarantee := range []millstream.Guarantee{millstream.AtLeastOnce, millstream.ExactlyOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 2), broker.Topic("counts", 2))
				cfg := config(t, b)
				cfg.Guarantee, cfg.Workers = guarantee, 1
				f(t, b, cfg)
			})
		})
	}
}

// risky counts by key, after a step "risky" that returns what f returns.
func risky(t *testing.T, f func(v string) error) *topology.Topology {
	b := stream.NewBuilder()
	s := stream.TryMapValues(stream.From(b, in), func(_ context.Context, r rec) (string, error) { return r.Value, f(r.Value) }).
		Named("risky")
	stream.To(table.ToStream(table.Count(stream.GroupByKey(s), "counts")), counts)
	return build(t, b)
}

// send writes a record to a partition of "in", with the partition as its key.
func send(t *testing.T, b *broker.Broker, partition int32, value string) {
	t.Helper()
	require.NoError(t, b.Produce(t.Context(), "in", broker.Record{
		Partition: partition, Key: []byte(strconv.Itoa(int(partition))), Value: []byte(value),
	}))
}

// restarts are the events of tasks that were restarted.
type restarts struct {
	mu  sync.Mutex
	all []millstream.TaskRestartInfo
}

func (r *restarts) note(info millstream.TaskRestartInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, info)
}

// One task fails three times at a record and is restarted, and the other one goes on. Nothing counts twice.
func TestTaskError_RestartsTheTask(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		var fails atomic.Int64
		fails.Store(3)
		var events restarts
		cfg.Events.TaskRestart = events.note
		cfg.OnTaskError = failure.RestartTask(3, time.Minute).Backoff(10*time.Second, time.Hour)
		log := logTo(&cfg)
		fine := make(chan struct{}, 10)
		m := start(t, risky(t, func(v string) error {
			switch {
			case v == "bad" && fails.Add(-1) >= 0:
				return errors.New("not today")
			case v == "fine":
				fine <- struct{}{}
			}
			return nil
		}), cfg)
		for _, v := range []string{"a", "bad", "c"} {
			send(t, b, 1, v)
		}
		for range 4 { // in the first pause
			time.Sleep(time.Second)
			at := time.Now()
			send(t, b, 0, "fine")
			<-fine
			assert.Less(t, time.Since(at), 500*time.Millisecond, "the other task goes on")
			assert.ErrorContains(t, m.Ready(), "task 0_1 waits to be restarted: task 0_1")
			assert.ErrorContains(t, m.Ready(), "in[1] offset 1: not today")
			assert.NoError(t, m.Live())
		}
		time.Sleep(75 * time.Second)
		require.NoError(t, m.Ready())
		assert.Equal(t, map[string]int64{"0": 4, "1": 3}, latest(t, b, "counts"))
		assert.Equal(t, map[string]int64{"0_1": 3}, m.Stats().TaskRestarts)
		require.Len(t, events.all, 3)
		for i, e := range events.all {
			assert.Equal(t, 10*time.Second<<i, e.Pause)
			assert.Equal(t, i+1, e.Restarts)
			assert.Equal(t, []any{"0_1", "risky", "in", int32(1), int64(1)}, []any{e.Task, e.Step, e.Topic, e.Partition, e.Offset})
			require.ErrorContains(t, e.Err, "not today")
		}
		assert.Len(t, log.lines("a task failed, and is restarted"), 3)
		assert.Greater(t, len(log.lines("millstream: running: 2 tasks")), 1, "the log says when the task runs again")
		assert.Empty(t, log.lines("begin again at their committed offsets"), "that is said by the line about the restart")
		m.stop()
		assert.EqualValues(t, 7, committed(t, b, "app", "in"))
	})
}

// A record that always fails stops the App in the end, and the error says where and how often.
func TestTaskError_StopsAfterTheBound(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		// The pauses together are longer than the period, in which they do not count.
		cfg.OnTaskError = failure.RestartTask(4, 10*time.Second).Backoff(5*time.Second, time.Minute)
		began := time.Now()
		m := start(t, risky(t, func(v string) error {
			if v == "bad" {
				panic("always")
			}
			return nil
		}), cfg)
		send(t, b, 1, "a")
		send(t, b, 0, "fine")
		time.Sleep(time.Second)
		send(t, b, 1, "bad")
		err := <-m.done
		require.ErrorContains(t, err, "task 0_1 was restarted 4 times within 10s, and has failed again: task 0_1")
		require.ErrorContains(t, err, `"risky"`)
		require.ErrorContains(t, err, "in[1] offset 1: panic: always")
		assert.InDelta(t, 75, time.Since(began).Seconds(), 2, "5, 10, 20 and 40 s")
		assert.Equal(t, map[string]int64{"0_1": 4}, m.Stats().TaskRestarts)
		assert.Equal(t, millstream.Failed, m.State())
		assert.EqualValues(t, 2, committed(t, b, "app", "in"), "what was processed is committed, the bad record is not")
	})
}

// A task that fails now and then, but seldom enough, is restarted for ever, each time after the first pause.
func TestTaskError_BoundIsWithinAPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		cfg := config(t, b)
		cfg.OnTaskError = failure.RestartTask(1, time.Minute)
		var events restarts
		cfg.Events.TaskRestart = events.note
		seen := map[string]bool{}
		m := start(t, risky(t, func(v string) error {
			if !seen[v] {
				seen[v] = true
				return errors.New("the first time")
			}
			return nil
		}), cfg)
		for i := range 4 {
			send(t, b, 1, strconv.Itoa(i))
			time.Sleep(65 * time.Second)
		}
		require.NoError(t, m.Ready())
		require.Len(t, events.all, 4)
		for _, e := range events.all {
			assert.Equal(t, time.Second, e.Pause)
		}
		send(t, b, 1, "one more")
		time.Sleep(30 * time.Second)
		send(t, b, 1, "too soon")
		require.ErrorContains(t, <-m.done, "task 0_1 was restarted 1 times within 1m0s")
	})
}

// Whatever makes a task fail, the restart continues where it was.
func TestTaskError_Kinds(t *testing.T) {
	text := serde.String
	for name, kind := range map[string]func(b *stream.Builder, fail func()) stream.KStream[string, string]{
		"an error": func(b *stream.Builder, fail func()) stream.KStream[string, string] {
			return stream.TryMapValues(stream.From(b, in), func(_ context.Context, r rec) (v string, err error) {
				defer func() {
					if p := recover(); p != nil {
						err = fmt.Errorf("%v", p)
					}
				}()
				fail()
				return r.Value, nil
			})
		},
		"a panic": func(b *stream.Builder, fail func()) stream.KStream[string, string] {
			return stream.Peek(stream.From(b, in), func(rec) { fail() })
		},
		"a record that does not decode": func(b *stream.Builder, fail func()) stream.KStream[string, string] {
			failing := serde.Func(text.Append, func(v []byte) (s string, err error) {
				defer func() {
					if p := recover(); p != nil {
						err = fmt.Errorf("%v", p)
					}
				}()
				fail()
				return text.Decode(v)
			})
			return stream.From(b, stream.NewTopic("in", text, failing))
		},
		"a punctuation": func(b *stream.Builder, fail func()) stream.KStream[string, string] {
			return stream.Process(stream.From(b, in), "p", func(c *stream.Context[string, string]) (func(rec) error, error) {
				c.EveryStreamTime(time.Millisecond, func(time.Time) error { fail(); return nil })
				return func(r rec) error { c.Forward(r); return nil }, nil
			})
		},
		"a store that refuses": func(b *stream.Builder, fail func()) stream.KStream[string, string] {
			rows := store.NewKeyValue("rows", text, serde.Func(func(dst []byte, v string) ([]byte, error) {
				fail()
				return text.Append(dst, v)
			}, text.Decode))
			return stream.Process(stream.From(b, in), "p", func(c *stream.Context[string, string]) (func(rec) error, error) {
				own := rows.In(c)
				return func(r rec) error {
					if err := own.Put(r.Key, r.Value); err != nil {
						return err
					}
					c.Forward(r)
					return nil
				}, nil
			}, rows)
		},
		"the start of a processor": func(b *stream.Builder, fail func()) stream.KStream[string, string] {
			return stream.Process(stream.From(b, in), "p", func(c *stream.Context[string, string]) (func(rec) error, error) {
				fail()
				return func(r rec) error { c.Forward(r); return nil }, nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
				cfg.OnTaskError = failure.RestartTask(10, time.Minute)
				var calls atomic.Int64
				builder := stream.NewBuilder()
				s := kind(builder, func() {
					if n := calls.Add(1); n == 2 || n == 3 {
						panic("twice")
					}
				})
				stream.To(s, out)
				for i := range int32(8) {
					send(t, b, i%2, strconv.Itoa(int(i)))
				}
				m := start(t, build(t, builder), cfg)
				await(t, b, "out", 8)
				m.stop()
				assert.NotEmpty(t, m.Stats().TaskRestarts)
				assert.EqualValues(t, 8, committed(t, b, "app", "in"))
				if rs, err := b.Read(t.Context(), "out"); cfg.Guarantee == millstream.ExactlyOnce {
					require.NoError(t, err)
					assert.Len(t, rs, 8)
				}
			})
		})
	}
}

// A record that a broker refuses is in no commit: all tasks of the worker begin again at the last one.
func TestTaskError_RefusedRecord(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		cfg.OnTaskError = failure.RestartTask(3, time.Minute)
		b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "counts", Err: kerr.MessageTooLarge, Count: 1})
		m := start(t, risky(t, func(string) error { return nil }), cfg)
		for i := range int32(10) {
			send(t, b, i%2, "v") // the first one alone: a batch of several would be sent again, one by one
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		require.NoError(t, m.Ready())
		assert.Equal(t, map[string]int64{"0": 5, "1": 5}, latest(t, b, "counts"))
		assert.NotEmpty(t, m.Stats().TaskRestarts)
		m.stop()
		assert.EqualValues(t, 10, committed(t, b, "app", "in"))
	})
}

func TestTaskError_Decide(t *testing.T) {
	errTemporary := errors.New("temporary")
	for name, c := range map[string]struct {
		decide func(failure.TaskReport) failure.TaskPolicy
		want   string // in the error; empty: it goes on
	}{
		"restart": {func(r failure.TaskReport) failure.TaskPolicy {
			if errors.Is(r.Err, errTemporary) && r.Step == "risky" && r.Topic == "in" && r.Partition == 1 && r.Offset == 0 && r.Restarts == 0 {
				return failure.RestartTask(5, time.Minute)
			}
			return failure.StopApp()
		}, ""},
		"stop":      {func(failure.TaskReport) failure.TaskPolicy { return failure.StopApp() }, "in[1] offset 0: temporary"},
		"invalid":   {func(failure.TaskReport) failure.TaskPolicy { return failure.RestartTask(0, 0) }, "0 restarts, want at least 1"},
		"recursive": {func(failure.TaskReport) failure.TaskPolicy { return failure.DecideTask(nil) }, "the function is nil"},
		"panic":     {func(failure.TaskReport) failure.TaskPolicy { panic("no idea") }, "Config.OnTaskError: panic: no idea"},
		"never returns": {func(failure.TaskReport) failure.TaskPolicy { time.Sleep(time.Hour); return failure.StopApp() },
			"Config.OnTaskError: it has not returned for"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
				cfg := config(t, b)
				cfg.OnTaskError = failure.DecideTask(c.decide)
				var failed atomic.Bool
				m := start(t, risky(t, func(string) error {
					if failed.CompareAndSwap(false, true) {
						return errTemporary
					}
					return nil
				}), cfg)
				send(t, b, 1, "v")
				if c.want != "" {
					require.ErrorContains(t, <-m.done, c.want)
					time.Sleep(time.Hour) // for the one that does not return
					return
				}
				await(t, b, "counts", 1)
				m.stop()
			})
		})
	}
}

// What concerns more than a task stops the App at once.
func TestTaskError_InputDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("counts", 1))
		cfg := config(t, b)
		cfg.OnTaskError = failure.RestartTask(100, time.Hour)
		m := start(t, risky(t, func(string) error { return nil }), cfg)
		send(t, b, 0, "v")
		await(t, b, "counts", 1)
		time.Sleep(time.Second) // a commit would find that out, too
		deleteTopics(t, b, "in")
		require.ErrorContains(t, <-m.done, `input topic "in" was deleted`)
		assert.Empty(t, m.Stats().TaskRestarts)
	})
}

// A task that waits to be restarted holds up neither a stop nor a rebalance, and the restart comes to whoever has it next.
func TestTaskError_StopAndRebalanceInThePause(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		cfg.OnTaskError = failure.RestartTask(3, time.Minute).Backoff(30*time.Minute, time.Hour)
		var broken atomic.Bool
		broken.Store(true)
		top := risky(t, func(v string) error {
			if v == "bad" && broken.Load() {
				return errors.New("not yet")
			}
			return nil
		})
		first := start(t, top, cfg)
		send(t, b, 0, "bad")
		send(t, b, 1, "bad")
		time.Sleep(10 * time.Second)
		require.ErrorContains(t, first.Ready(), "waits to be restarted")
		broken.Store(false)
		cfg.StateDir = t.TempDir()
		second := start(t, top, cfg)
		await(t, b, "counts", 1) // of the task that has moved
		at := time.Now()
		first.stop()
		assert.Less(t, time.Since(at), 5*time.Second)
		await(t, b, "counts", 2)
		second.stop()
		assert.Equal(t, map[string]int64{"0": 1, "1": 1}, latest(t, b, "counts"))
		assert.Empty(t, second.Stats().TaskRestarts)
	})
}

// RunToEnd waits for tasks that are restarted.
func TestTaskError_RunToEnd(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		cfg.OnTaskError = failure.RestartTask(3, time.Minute)
		var calls atomic.Int64
		for i := range int32(6) {
			send(t, b, i%2, "v")
		}
		app := runToEnd(t, risky(t, func(string) error {
			if calls.Add(1) == 3 {
				panic("the third")
			}
			return nil
		}), cfg)
		assert.Equal(t, map[string]int64{"0": 3, "1": 3}, latest(t, b, "counts"))
		assert.Len(t, app.Stats().TaskRestarts, 1)
	})
}

// A health check does not see a task that fails again and again as healthy in the moments between: Ready says what failed
// until the task has committed, or has run for a while with nothing to commit.
func TestTaskError_ReadyUntilItCommits(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		var fails atomic.Bool
		fails.Store(true)
		cfg.OnTaskError = failure.RestartTask(1000, time.Hour).Backoff(time.Second, time.Second)
		m := start(t, risky(t, func(v string) error {
			if v == "bad" && fails.Load() {
				time.Sleep(3 * time.Second) // it runs for a while each time
				return errors.New("not today")
			}
			return nil
		}), cfg)
		send(t, b, 1, "bad")
		time.Sleep(10 * time.Second)
		for range 5000 {
			time.Sleep(7 * time.Millisecond)
			require.ErrorContains(t, m.Ready(), "not today")
		}
		require.Greater(t, m.Stats().TaskRestarts["0_1"], int64(5))
		fails.Store(false)
		time.Sleep(10 * time.Second)
		require.NoError(t, m.Ready(), "the record is processed")
		require.EqualValues(t, 1, committed(t, b, "app", "in"))
		m.stop()
	})
}

// With exactly once no figure has anything of a transaction that was aborted, and none ever falls: each record counts once,
// however often it was processed.
func TestTaskError_CountsOfAbortedTransactions(t *testing.T) {
	eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
		var fails, processed atomic.Int64
		fails.Store(4)
		cfg.OnTaskError = failure.RestartTask(10, time.Minute).Backoff(100*time.Millisecond, time.Second)
		m := start(t, risky(t, func(v string) error {
			processed.Add(1)
			if v == "bad" && fails.Add(-1) >= 0 {
				return errors.New("not today")
			}
			return nil
		}), cfg)
		for _, v := range []string{"a", "b", "c", "bad", "d"} {
			send(t, b, 1, v)
		}
		// A record that is dropped, in front of the one that fails, and in the other task.
		for p := range int32(2) {
			require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Partition: p, Value: []byte("no key")}))
		}
		send(t, b, 1, "e")
		var last millstream.Stats
		for range 3000 {
			time.Sleep(5 * time.Millisecond)
			now := m.Stats()
			require.GreaterOrEqual(t, now.RecordsIn, last.RecordsIn)
			require.GreaterOrEqual(t, now.RecordsOut, last.RecordsOut)
			require.GreaterOrEqual(t, now.Dropped["record without key"], last.Dropped["record without key"])
			last = now
		}
		require.Negative(t, fails.Load())
		require.EqualValues(t, 8, committed(t, b, "app", "in"))
		if cfg.Guarantee == millstream.ExactlyOnce {
			require.Greater(t, processed.Load(), int64(8), "records were processed again")
			assert.Equal(t, []int64{8, 6, 2}, []int64{last.RecordsIn, last.RecordsOut, last.Dropped["record without key"]})
			assert.Len(t, committedRecords(t, b, "counts"), 6)
		} else {
			assert.GreaterOrEqual(t, last.RecordsIn, int64(8))
			assert.GreaterOrEqual(t, last.RecordsOut, int64(6))
			assert.GreaterOrEqual(t, last.Dropped["record without key"], int64(2))
		}
		m.stop()
	})
}
