package task_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/task"
	"github.com/millstream-go/millstream/internal/wire"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/topology"
)

type (
	outlet = wire.Outlet[string, string]
	rec    = topology.Record[string, string]
)

// graphWith is in -> step -> out, the step written by hand.
func graphWith(t testing.TB, f func(n *graph.Node, env graph.Env, out outlet) outlet, stores ...*graph.Store) *graph.Graph {
	t.Helper()
	b := stream.NewBuilder()
	stream.To(stream.MapValues(stream.From(b, topic("in")), strings.ToUpper).Named("step"), topic("out"))
	top, err := b.Build()
	require.NoError(t, err)
	g := top.Graph()
	for _, n := range g.Nodes {
		if n.Name == "step" {
			n.Pos = "main.go:31"
			n.Wire = func(n *graph.Node, env graph.Env, outs []any) (any, error) { return f(n, env, outs[0].(outlet)), nil }
		}
	}
	g.Stores, g.Subs[0].Stores = stores, stores
	return g
}

func step(g *graph.Graph) *graph.Node {
	for _, n := range g.Nodes {
		if n.Name == "step" {
			return n
		}
	}
	return nil
}

// ticks is a step that records the calls of a punctuation.
func ticks(kind graph.Clock, every time.Duration, calls *[]int64) func(*graph.Node, graph.Env, outlet) outlet {
	return func(n *graph.Node, env graph.Env, out outlet) outlet {
		env.Schedule(n, kind, every, func(now int64) error {
			*calls = append(*calls, now)
			return out(rec{Key: "tick", Value: fmt.Sprint(env.Current() == nil), Time: time.UnixMilli(env.RecordTime())})
		})
		return out
	}
}

// What Kafka Streams does with an interval of 10: it fires at 3, 12, 55 and 60.
func TestStreamTimePunctuationsStandOnAGridFromZero(t *testing.T) {
	var calls []int64
	r := startGraph(t, graphWith(t, ticks(graph.StreamTime, 10*time.Millisecond, &calls)))
	require.NoError(t, r.PunctuateStreamTime())
	r.now = time.UnixMilli(1000)
	require.NoError(t, r.Punctuate())
	assert.Empty(t, calls, "stream time is not known, and wall clock is another clock")
	r.run(t, batch("in", 0, "a=@3"))
	assert.Equal(t, []string{"out[0] a=@3", "out[0] tick=true@3"}, r.out.take(), "after the record, with its time")
	r.run(t, batch("in", 1, "a=@9", "a=@12", "a=@12", "a=@55", "a=@40", "a=@59", "a=@60"))
	assert.Equal(t, []int64{3, 12, 55, 60}, calls)
}

// What Kafka Streams does when 35 ms pass after the call at 10: one call at 45, and the grid stays.
func TestWallClockPunctuationsStandOnAGridFromTheirSchedule(t *testing.T) {
	var calls []int64
	r := startGraph(t, graphWith(t, ticks(graph.WallClock, 10*time.Millisecond, &calls)))
	for _, now := range []int64{0, 9, 10, 45, 49, 50, 50, 60} {
		r.now = time.UnixMilli(now)
		require.NoError(t, r.Punctuate())
	}
	assert.Equal(t, []int64{10, 45, 50, 60}, calls)
	at, ok := r.NextWake()
	assert.True(t, ok)
	assert.Equal(t, time.UnixMilli(70), at)
	r.run(t, batch("in", 0, "a=@1000"))
	assert.Len(t, calls, 4, "records are another clock")
}

func TestPunctuationsCanBeStopped(t *testing.T) {
	calls := 0
	var stop [3]func()
	r := startGraph(t, graphWith(t, func(n *graph.Node, env graph.Env, out outlet) outlet {
		for i := range stop {
			stop[i] = env.Schedule(n, graph.WallClock, 10*time.Millisecond, func(int64) error {
				calls++
				stop[1]() // itself, or another one that is due
				return nil
			})
		}
		return out
	}))
	stop[2]()
	r.now = time.UnixMilli(10)
	require.NoError(t, r.Punctuate())
	assert.Equal(t, 1, calls)
	stop[0]()
	stop[0]()
	_, ok := r.NextWake()
	assert.False(t, ok)
}

func TestAPunctuationThatFails(t *testing.T) {
	g := graphWith(t, func(n *graph.Node, env graph.Env, out outlet) outlet {
		c, _ := topology.NewContext(env, n, out)
		c.EveryWallClock(time.Second, func(time.Time) error { return errors.New("no luck") })
		return out
	})
	r := startGraph(t, g)
	r.now = time.UnixMilli(1000)
	assert.EqualError(t, r.Punctuate(), `task 0_0, map-values "step" (main.go:31): no luck`)

	step(g).Policy = failure.Skip()
	r = startGraph(t, g)
	r.now = time.UnixMilli(1000)
	require.NoError(t, r.Punctuate())
	assert.Equal(t, map[string]int64{graph.ProcessSkipped: 1}, r.drops)

	// A fatal error, of a store say, is not asked about.
	step(g).Wire = func(n *graph.Node, env graph.Env, outs []any) (any, error) {
		env.Schedule(n, graph.WallClock, time.Second, func(int64) error { return errors.New("disk on fire") })
		return outs[0], nil
	}
	r = startGraph(t, g)
	r.now = time.UnixMilli(1000)
	assert.ErrorContains(t, r.Punctuate(), "disk on fire")
}

// fails is a step whose function fails for the value "bad", the given number of times in a row.
func fails(times int) func(*graph.Node, graph.Env, outlet) outlet {
	return func(n *graph.Node, env graph.Env, out outlet) outlet {
		left := times
		return func(x rec) error {
			for attempt := 1; ; attempt++ {
				if x.Value != "bad" || left == 0 {
					left = times
					return out(x)
				}
				left--
				verdict, err := env.Fail(n, graph.Failure{Phase: graph.Run, Err: errors.New("no luck"), Attempt: attempt})
				if err != nil || verdict == graph.Skip {
					return err
				}
			}
		}
	}
}

func noSleep(context.Context, time.Duration) error { return nil }

func TestAFunctionThatFails(t *testing.T) {
	withSleep := func(r **rig) func(*task.Config) {
		return func(c *task.Config) {
			c.Sleep = func(_ context.Context, d time.Duration) error { (*r).slept += d; return nil }
		}
	}
	for _, c := range []struct {
		name     string
		policy   failure.Policy
		app      failure.Policy
		times    int
		err      string
		sent     []string
		dropped  string
		slept    time.Duration
		failures int
	}{
		{name: "stops", times: 1, failures: 1,
			err: `task 0_0, map-values "step" (main.go:31), topic in[0] offset 8: no luck`, sent: []string{"out[0] a=1@1"}},
		{name: "is skipped by the step's policy", policy: failure.Skip(), times: 1, failures: 1,
			sent: []string{"out[0] a=1@1", "out[0] c=3@3"}, dropped: graph.ProcessSkipped},
		{name: "is skipped by the App's policy", app: failure.Skip(), times: 1, failures: 1,
			sent: []string{"out[0] a=1@1", "out[0] c=3@3"}, dropped: graph.ProcessSkipped},
		{name: "is retried", policy: failure.Retry(3, time.Second, time.Minute, failure.Stop()), times: 2, failures: 2,
			sent: []string{"out[0] a=1@1", "out[0] b=bad@2", "out[0] c=3@3"}, slept: 3 * time.Second},
		{name: "is retried in vain", policy: failure.Retry(2, time.Second, time.Second, failure.DeadLetter("letters")), times: 9, failures: 3,
			sent: []string{"out[0] a=1@1", "letters[0] b=bad@2", "out[0] c=3@3"}, dropped: graph.ProcessSkipped, slept: 2 * time.Second},
		{name: "is retried until the budget is spent", policy: failure.Retry(99, 4*time.Second, time.Hour, failure.Skip()), times: 9, failures: 2,
			sent: []string{"out[0] a=1@1", "out[0] c=3@3"}, dropped: graph.ProcessSkipped, slept: 4 * time.Second},
		{name: "is retried by a Decide without end", times: 9, failures: 2, slept: 4 * time.Second,
			policy: failure.Decide(func(_ context.Context, r failure.Report) failure.Policy {
				return failure.Retry(1, 4*time.Second, time.Hour, failure.Skip())
			}),
			sent: []string{"out[0] a=1@1", "out[0] c=3@3"}, dropped: graph.ProcessSkipped},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := graphWith(t, fails(c.times))
			step(g).Policy = c.policy
			var r *rig
			r = startGraph(t, g, withSleep(&r), func(x *task.Config) { x.Policies.Process = c.app })
			require.NoError(t, r.Add(batch("in", 7, "a=1@1", "b=bad@2", "c=3@3")))
			_, err := r.Process(10)
			if c.err != "" {
				assert.EqualError(t, err, c.err)
			} else {
				assert.NoError(t, err)
			}
			assert.Equal(t, c.sent, r.out.take())
			assert.Equal(t, c.slept, r.slept)
			assert.Len(t, r.failures, c.failures)
			if c.dropped != "" {
				assert.Equal(t, map[string]int64{c.dropped: 1}, r.drops)
			}
		})
	}
}

func TestADropIsCountedUnderItsReason(t *testing.T) {
	r := startGraph(t, graphWith(t, func(n *graph.Node, env graph.Env, out outlet) outlet {
		return func(x rec) error {
			_, err := env.Fail(n, graph.Failure{Phase: graph.Run, Err: fmt.Errorf("%s: %w", x.Key, failure.Drop("no phone")), Attempt: 1})
			return err
		}
	}))
	r.run(t, batch("in", 0, "a=1@1", "b=2@2"))
	assert.Equal(t, map[string]int64{"no phone": 2}, r.drops)
	assert.Empty(t, r.failures, "a drop is no failure")
}

func TestAWaitForARetryEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped in haste")
	cancel(stopped)
	g := graphWith(t, fails(1))
	step(g).Policy = failure.Retry(1, time.Second, time.Second, failure.Stop())
	r := startGraph(t, g, func(c *task.Config) { c.Context = ctx })
	require.NoError(t, r.Add(batch("in", 0, "b=bad@2")))
	_, err := r.Process(1)
	assert.ErrorIs(t, err, stopped)
}

func TestDeadLettersHaveTheRecordAsItWasRead(t *testing.T) {
	g := graphWith(t, fails(1))
	step(g).Policy = failure.DeadLetter("letters")
	r := startGraph(t, g, func(c *task.Config) { r := c.Out.(*broker); r.partitions = map[string]int{"letters": 3} })
	b := batch("in", 5, "null=bad@2")
	b.Records[0].Headers = []kafka.Header{{Name: "trace", Value: []byte("1")}, {Name: "none"}}
	r.run(t, b)
	assert.Equal(t, []string{"letters[0] null=bad@2"}, r.out.take())
	assert.Equal(t, []kafka.Header{
		{Name: "trace", Value: []byte("1")}, {Name: "none"},
		{Name: "__streams.errors.exception", Value: []byte("*errors.errorString")},
		{Name: "__streams.errors.message", Value: []byte("no luck")},
		{Name: "__streams.errors.stacktrace", Value: []byte(`task 0_0, map-values "step" (main.go:31)`)},
		{Name: "__streams.errors.topic", Value: []byte("in")},
		{Name: "__streams.errors.partition", Value: []byte("0")},
		{Name: "__streams.errors.offset", Value: []byte("5")},
	}, r.out.headers)
	assert.Len(t, b.Records[0].Headers, 2, "the record itself is left alone")
}

func TestALetterThatCannotBeWrittenStopsTheTask(t *testing.T) {
	g := graphWith(t, fails(1))
	step(g).Policy = failure.DeadLetter("letters")
	r := startGraph(t, g)
	r.out.limit = 2
	require.NoError(t, r.Add(batch("in", 5, "k=bad@2")))
	_, err := r.Process(1)
	require.ErrorIs(t, err, kafka.ErrTooLarge)
	assert.Contains(t, err.Error(), `dead letter to topic "letters": `)
	assert.Contains(t, err.Error(), "no luck")
}

func TestARecordThatKafkaRefusesGoesToThePolicyOfProduction(t *testing.T) {
	r := start(t, copies, func(c *task.Config) { c.Policies.Produce = failure.DeadLetter("letters") })
	r.out.limit = 5
	long := kafka.ProduceRecord{Key: []byte("k"), Value: []byte("v"), Time: 4}
	require.NoError(t, r.Refused(kafka.ProduceFailure{
		TopicPartition: kafka.TopicPartition{Topic: "out", Partition: 1}, Record: long, Err: kafka.ErrTooLarge,
	}))
	assert.Equal(t, []string{"letters[0] k=v@4"}, r.out.take())
	assert.Equal(t, map[string]int64{graph.ProduceSkipped: 1}, r.drops)

	r = start(t, copies)
	err := r.Refused(kafka.ProduceFailure{TopicPartition: kafka.TopicPartition{Topic: "out", Partition: 1}, Record: long, Err: kafka.ErrTooLarge})
	assert.ErrorIs(t, err, kafka.ErrTooLarge)
	assert.Regexp(t, `^task 0_0, sink "sink-1" \(.*\), topic out\[1\]: `, err.Error())
}

// late counts records older than the greatest time that it has seen.
func late(n *graph.Node, env graph.Env, out outlet) outlet {
	x := env.OperatorTime(n)
	return func(r rec) error {
		if at := r.Time.UnixMilli(); at < x.Time {
			env.Drop(n, "late")
			return nil
		} else {
			x.Time = at
		}
		return out(r)
	}
}

func TestOperatorTimesTravelWithTheOffsets(t *testing.T) {
	g := graphWith(t, late)
	r := startGraph(t, g)
	r.run(t, batch("in", 0, "a=@50"))
	saved := r.Cut()

	again := startGraph(t, g)
	again.SetCommitted(saved)
	again.run(t, batch("in", 1, "a=@49", "a=@51"))
	assert.Equal(t, map[string]int64{"late": 1}, again.drops)
	assert.Equal(t, []string{"out[0] a=@51"}, again.out.take())
}

func TestTheGreatestOperatorTimeOfAllPartitionsIsRead(t *testing.T) {
	g := graphWith(t, late)
	g.Nodes[0].Source.Topics = []string{"in", "other"}
	r := startGraph(t, g)
	r.run(t, batch("other", 0, "a=@50"))
	saved := r.Cut()
	assert.Len(t, saved, 1, "nothing is known of topic in")
	r.run(t, batch("in", 0, "a=@60"))
	newer := r.Cut()
	assert.Len(t, newer, 1)
	for tp, m := range newer {
		assert.Equal(t, "in", tp.Topic)
		saved[tp] = m
	}
	again := startGraph(t, g)
	again.SetCommitted(saved)
	again.run(t, batch("in", 1, "a=@59"))
	assert.Equal(t, map[string]int64{"late": 1}, again.drops)
}

func TestStoresAreOpenedByName(t *testing.T) {
	budget := memory.NewBudget(1 << 20)
	spec := &graph.Store{Name: "seen", Kind: graph.Plain}
	var missing error
	g := graphWith(t, func(_ *graph.Node, env graph.Env, out outlet) outlet {
		h, err := env.Store("seen")
		require.NoError(t, err)
		_, missing = env.Store("sen")
		assert.True(t, h.Plain)
		return func(r rec) error {
			if err := h.Bytes.Put([]byte(r.Key), []byte(r.Value), h.Time()); err != nil {
				return err
			}
			return out(r)
		}
	}, spec)
	r := startGraph(t, g, func(c *task.Config) {
		c.Engine = func(s *graph.Store) (store.Engine, error) {
			assert.Equal(t, spec, s)
			return memory.New(budget), nil
		}
	})
	assert.EqualError(t, missing, `task 0_0 has no store "sen": it has seen`)
	r.run(t, batch("in", 0, "a=1@9"))
	require.Len(t, r.Engines(), 1)
	v, at, ok, err := r.Engines()[0].Get([]byte("a"))
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "1", string(v))
	assert.Equal(t, int64(9), at)
	require.NoError(t, r.Engines()[0].Close(false))
}

func TestAStepCanAskForACommit(t *testing.T) {
	r := startGraph(t, graphWith(t, func(_ *graph.Node, env graph.Env, out outlet) outlet {
		return func(r rec) error { env.RequestCommit(); return out(r) }
	}))
	require.NoError(t, r.Add(batch("in", 0, "a=@1", "a=@2", "a=@3")))
	n, err := r.Process(10)
	require.NoError(t, err)
	assert.Equal(t, 1, n, "soon is after the record")
	assert.True(t, r.CommitRequested())
	n, err = r.Process(10)
	require.NoError(t, err)
	assert.Equal(t, 2, n, "while an earlier commit is under way, processing goes on")
	r.Cut()
	assert.False(t, r.CommitRequested())
}

func TestCloseRunsLastFirstAndAll(t *testing.T) {
	var order []string
	boom := errors.New("boom")
	g := graphWith(t, func(_ *graph.Node, env graph.Env, out outlet) outlet {
		for _, name := range []string{"first", "second", "third"} {
			env.OnClose(func() error {
				order = append(order, name)
				switch name {
				case "second":
					panic("a panic")
				case "third":
					return boom
				}
				return nil
			})
		}
		return out
	})
	r := startGraph(t, g)
	err := r.Close(true)
	require.ErrorIs(t, err, boom)
	assert.Contains(t, err.Error(), `task 0_0, map-values "step" (main.go:31): close: boom`)
	assert.Contains(t, err.Error(), "panic: a panic")
	assert.Equal(t, []string{"third", "second", "first"}, order)
	_, err = r.Process(1)
	require.ErrorIs(t, err, task.ErrClosed)
	require.NoError(t, r.Close(true), "once")

	order = nil
	assert.NoError(t, startGraph(t, g).Close(false), "what went wrong before is worth more")
	assert.Len(t, order, 3)
}

func TestAPanicWhileWiringIsAnError(t *testing.T) {
	closed := false
	g := graphWith(t, func(_ *graph.Node, env graph.Env, out outlet) outlet {
		env.OnClose(func() error { closed = true; return nil })
		panic("no configuration")
	})
	_, err := task.New((&rig{}).config(g))
	require.ErrorContains(t, err, `task 0_0, map-values "step" (main.go:31): panic: no configuration`)
	assert.True(t, closed, "what was begun is ended")
}

func TestTasksThatShareAClockShareStreamTime(t *testing.T) {
	clock := task.NewClock()
	share := func(c *task.Config) { c.Clock = clock }
	var calls []int64
	a := start(t, copies, share)
	b := startGraph(t, graphWith(t, ticks(graph.StreamTime, 10*time.Millisecond, &calls)), share)
	a.run(t, batch("in", 0, "a=@25"))
	require.NoError(t, b.PunctuateStreamTime())
	assert.Equal(t, []int64{25}, calls)
	assert.Equal(t, int64(25), b.StreamTime())
}

func TestHeadsSayWhatWouldBeTakenNext(t *testing.T) {
	clock := task.NewClock()
	share := func(c *task.Config) { c.Clock = clock }
	a, b := start(t, copies, share), start(t, copies, share)
	_, _, ok, err := a.Head()
	require.NoError(t, err)
	assert.False(t, ok)
	require.NoError(t, b.Add(batch("in", 0, "b=@5")))
	require.NoError(t, a.Add(batch("in", 0, "a=@5")))
	atA, sinceA, ok, err := a.Head()
	require.NoError(t, err)
	assert.True(t, ok)
	atB, sinceB, ok, err := b.Head()
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, atA, atB)
	assert.Less(t, sinceB, sinceA, "it came first")
}

func TestTopicsOfAPatternAreFoundAndMayComeLater(t *testing.T) {
	build := func(b *stream.Builder) { stream.To(stream.From(b, topic("p-1")), topic("out")) }
	r := func() *rig {
		b := stream.NewBuilder()
		build(b)
		top, err := b.Build()
		require.NoError(t, err)
		g := top.Graph()
		g.Nodes[0].Source.Topics, g.Nodes[0].Source.Pattern = nil, "p-[0-9]"
		return startGraph(t, g, func(c *task.Config) { c.Topics = func() []string { return []string{"p-2", "q-1", "p-11", "p-1"} } })
	}()
	assert.Equal(t, []kafka.TopicPartition{{Topic: "p-1"}, {Topic: "p-2"}}, r.Partitions())
	r.run(t, batch("p-1", 0, "a=@1"), batch("p-3", 0, "b=@2"), batch("q-1", 0, "c=@3"))
	assert.Equal(t, []string{"out[0] a=@1", "out[0] b=@2"}, r.out.take())
	assert.Equal(t, 3, r.released, "what nobody reads is released too")
}
