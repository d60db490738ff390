package app_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
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
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// stuckCase is a function of the user that does not return at the value v3, and what the error has to say of it.
type stuckCase struct {
	build func(b *stream.Builder, hang func(v string))
	want  []string
}

var stuckCases = map[string]stuckCase{
	"a step": {build: func(b *stream.Builder, hang func(string)) {
		s := stream.MapValues(stream.From(b, in), strings.ToUpper)
		stream.To(stream.MapValues(s, func(v string) string { hang(strings.ToLower(v)); return v }).Named("slow"), out)
	}, want: []string{`"slow"`, "max_processing_time_test.go", "topic in[0] offset 3"}},
	"a serde": {build: func(b *stream.Builder, hang func(string)) {
		slow := serde.Func(serde.String.Append, func(b []byte) (string, error) { hang(string(b)); return string(b), nil })
		stream.To(stream.From(b, stream.NewTopic("in", serde.String, slow)), out)
	}, want: []string{`source "source-1"`, "topic in[0] offset 3"}},
	"a call in flight": {build: func(b *stream.Builder, hang func(string)) {
		s := stream.TryMapValues(stream.From(b, in), func(_ context.Context, r stream.Record[string, string]) (string, error) {
			hang(r.Value)
			return r.Value, nil
		}, stream.Async(8)).Named("ask")
		stream.To(s, out)
	}, want: []string{`"ask"`, "topic in[0] offset 3"}},
	"a policy": {build: func(b *stream.Builder, hang func(string)) {
		s := stream.TryMapValues(stream.From(b, in), func(_ context.Context, r stream.Record[string, string]) (string, error) {
			return "", errors.New(r.Value)
		})
		decide := func(_ context.Context, r failure.Report) failure.Policy { hang(string(r.Value)); return failure.Skip() }
		stream.To(s.Named("fail").OnError(failure.Decide(decide)), out)
	}, want: []string{`"fail"`, "topic in[0] offset 3"}},
	"a punctuation": {build: func(b *stream.Builder, hang func(string)) {
		stream.To(stream.Process(stream.From(b, in), "tick", func(c *stream.Context[string, string]) (func(stream.Record[string, string]) error, error) {
			c.EveryWallClock(time.Second, func(time.Time) error { hang("v3"); return nil })
			return func(stream.Record[string, string]) error { return nil }, nil
		}), out)
	}, want: []string{`"tick"`, "task 0_"}},
}

func TestMaxProcessingTime_StuckFunctions(t *testing.T) {
	for name, c := range stuckCases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { stuckOnce(t, c) })
		})
	}
}

// stuckOnce runs an App whose task of partition 0 gets stuck: the error says where, the group is left at once, what the other worker did
// is committed.
func stuckOnce(t *testing.T, c stuckCase) {
	b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("out", 2))
	over := make(chan struct{})
	defer close(over)
	builder := stream.NewBuilder()
	c.build(builder, func(v string) {
		if v == "v3" {
			<-over
		}
	})
	for p := range int32(2) {
		for i := range 6 {
			r := broker.Record{Partition: p, Key: []byte("k"), Value: fmt.Appendf(nil, "%c%d", 'v'+p, i)}
			require.NoError(t, b.Produce(t.Context(), "in", r))
		}
	}
	cfg := config(t, b)
	cfg.MaxProcessingTime, cfg.StopTimeout = 20*time.Second, 5*time.Minute
	m := start(t, build(t, builder), cfg)
	time.Sleep(18 * time.Second)
	require.NoError(t, m.Live())
	time.Sleep(7 * time.Second)
	assert.ErrorContains(t, m.Live(), "Config.MaxProcessingTime")
	assert.Empty(t, b.Cluster().GroupInfo("app").Members, "others may take the tasks at once")
	before := time.Now()
	err := <-m.done
	assert.Less(t, time.Since(before), 10*time.Second)
	for _, want := range append(c.want, "longer than Config.MaxProcessingTime") {
		require.ErrorContains(t, err, want)
	}
	if strings.Contains(err.Error(), "offset 3") {
		assert.EqualValues(t, 6, b.Cluster().GroupInfo("app").Commits["in"][1].Offset, "what the other worker processed")
	}
}

// A worker that waits for brokers is not in a function of the user, however long they are away.
func TestMaxProcessingTime_WaitingForBrokersIsNotStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		builder := stream.NewBuilder()
		stream.To(stream.FlatMapValues(stream.From(builder, in), func(v string) iter.Seq[string] {
			return func(yield func(string) bool) {
				for range 5000 { // more than a producer holds
					if !yield(v + strings.Repeat("x", 8<<10)) {
						return
					}
				}
			}
		}), out)
		cfg := config(t, b)
		cfg.MaxProcessingTime = 10 * time.Second
		m := start(t, build(t, builder), cfg)
		time.Sleep(time.Second)
		away := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "out", Err: kerr.NotEnoughReplicas, Count: -1})
		write(t, b, "in", 0, 1)
		time.Sleep(5 * time.Minute)
		require.Equal(t, millstream.Running, m.State())
		require.NoError(t, m.Live())
		away.Remove()
		time.Sleep(10 * time.Second)
		assert.EqualValues(t, 1, committed(t, b, "app", "in"))
		m.stop()
	})
}

// A sink asks the brokers how many partitions its topic has before its first record. That is no function of the user either: the App waits,
// and the error of a stop meanwhile names no step.
func TestMaxProcessingTime_AskingForPartitionsIsNotStuck(t *testing.T) {
	for _, stop := range []bool{false, true} {
		eachGuarantee(t, func(t *testing.T, b *broker.Broker, cfg millstream.Config) {
			o := newOutage(b)
			cfg.Dialer, cfg.MaxProcessingTime, cfg.StopTimeout = o.Dial, 10*time.Second, 10*time.Second
			builder := stream.NewBuilder()
			first := true
			s := stream.Peek(stream.From(builder, in), func(rec) {
				if first {
					o.begin(everybody)
				}
				first = false
			})
			stream.To(s, out)
			m := start(t, build(t, builder), cfg)
			time.Sleep(time.Second)
			write(t, b, "in", 0, 1)
			time.Sleep(5 * time.Second)
			if stop {
				m.cancel()
				err := <-m.done
				require.ErrorContains(t, err, "Config.StopTimeout")
				require.NotContains(t, err.Error(), "it has not returned")
				o.end()
				time.Sleep(time.Minute)
				return
			}
			time.Sleep(5 * time.Minute)
			require.Equal(t, millstream.Running, m.State())
			require.NoError(t, m.Live())
			require.ErrorContains(t, m.Ready(), "no broker answers")
			o.end()
			await(t, b, "out", 1)
			time.Sleep(30 * time.Second)
			assert.EqualValues(t, 1, committed(t, b, "app", "in"))
			m.stop()
		})
	}
}

// The limit is one of a record: several that take nearly as long, one after the other, are none too long.
func TestMaxProcessingTime_SlowRecordsInARowAreNotStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		builder := stream.NewBuilder()
		stream.To(stream.MapValues(stream.From(builder, in), func(v string) string { time.Sleep(8 * time.Second); return v }), out)
		cfg := config(t, b)
		cfg.MaxProcessingTime = 10 * time.Second
		write(t, b, "in", 0, 20)
		m := start(t, build(t, builder), cfg)
		time.Sleep(4 * time.Minute)
		require.NoError(t, m.Live())
		assert.EqualValues(t, 20, committed(t, b, "app", "in"))
		m.stop()
	})
}

func TestMaxProcessingTime_FunctionNeverReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1))
		builder := stream.NewBuilder()
		over := make(chan struct{})
		stream.To(stream.MapValues(stream.From(builder, in), func(v string) string { <-over; return v }), out)
		cfg := config(t, b)
		cfg.MaxProcessingTime, cfg.StopTimeout = time.Minute, 5*time.Second
		write(t, b, "in", 0, 1)
		m := start(t, build(t, builder), cfg)
		time.Sleep(30 * time.Second)
		require.NoError(t, m.Live())
		err := <-m.done
		require.ErrorContains(t, err, "longer than Config.MaxProcessingTime")
		require.Error(t, m.Live())
		assert.Empty(t, b.Cluster().GroupInfo("app").Members, "others may take the tasks")
		assert.Zero(t, committed(t, b, "app", "in"))
		close(over)
	})
}

func TestMaxProcessingTime_GlobalStepNeverReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1), broker.Topic("out", 1), broker.Topic("rows", 1))
		over := make(chan struct{})
		top, _ := numbers(t, failure.Policy{}, func(int64) error { <-over; return nil })
		cfg := config(t, b)
		cfg.MaxProcessingTime, cfg.StopTimeout = time.Minute, 5*time.Second
		number(t, b, 1)
		m := start(t, top, cfg)
		time.Sleep(30 * time.Second)
		require.NoError(t, m.Live())
		require.ErrorContains(t, m.Ready(), "restoring")
		err := <-m.done
		require.ErrorContains(t, err, "longer than Config.MaxProcessingTime")
		require.Error(t, m.Live())
		close(over)
	})
}

// MaxProcessingTime is about one record: many slow ones, and functions that become slow, are no reason to stop.
func TestMaxProcessingTime_SlowFunctionsAreNotStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1))
		write(t, b, "in", 0, 4000)
		n := 0
		builder := stream.NewBuilder()
		stream.ForEach(stream.From(builder, in), func(stream.Record[string, string]) {
			if n++; n > 3000 || n < 100 {
				time.Sleep(50 * time.Millisecond)
			}
		})
		cfg := config(t, b)
		cfg.MaxProcessingTime = time.Second
		a, err := millstream.New(build(t, builder), cfg)
		require.NoError(t, err)
		require.NoError(t, a.RunToEnd(t.Context()))
		assert.Equal(t, 4000, n)
		assert.Greater(t, a.Stats().Commits, int64(100), "commits do not wait for long rounds")
	})
}
