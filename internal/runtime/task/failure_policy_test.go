package task_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
)

// fails is a step whose function fails for the value "bad", the given number of times in a row.
func fails(times int) func(*graph.Node, graph.Env, outlet) outlet {
	return func(n *graph.Node, env graph.Env, out outlet) outlet {
		left := times
		return func(x rec) error {
			return graph.Do(env, n, graph.Processing, func(x rec) error {
				if x.Value != "bad" || left == 0 {
					left = times
					return out(x)
				}
				left--
				return errors.New("no luck")
			}, x)
		}
	}
}

func noSleep(context.Context, time.Duration) error { return nil }

func TestFailurePolicy_Process(t *testing.T) {
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
			assert.Equal(t, c.sent, r.out.drain())
			assert.Equal(t, c.slept, r.slept)
			assert.Len(t, r.failures, c.failures)
			if c.dropped != "" {
				assert.Equal(t, map[string]int64{c.dropped: 1}, r.drops)
			}
		})
	}
}

func TestFailurePolicy_RetryEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped at once")
	cancel(stopped)
	g := graphWith(t, fails(1))
	step(g).Policy = failure.Retry(1, time.Second, time.Second, failure.Stop())
	r := startGraph(t, g, func(c *task.Config) { c.Context = ctx })
	require.NoError(t, r.Add(batch("in", 0, "b=bad@2")))
	_, err := r.Process(1)
	assert.ErrorIs(t, err, stopped)
}

func TestFailurePolicy_RecordRefusedByBroker(t *testing.T) {
	r := start(t, copies, func(c *task.Config) { c.Policies.Produce = failure.DeadLetter("letters") })
	r.out.limit = 5
	long := kafka.ProduceRecord{Key: []byte("k"), Value: []byte("v"), Time: 4}
	require.NoError(t, r.ProduceFailed(kafka.ProduceFailure{
		TopicPartition: kafka.TopicPartition{Topic: "out", Partition: 1}, Record: long, Err: kafka.ErrTooLarge,
	}))
	assert.Equal(t, []string{"letters[0] k=v@4"}, r.out.drain())
	assert.Equal(t, map[string]int64{graph.ProduceSkipped: 1}, r.drops)

	r = start(t, copies, func(c *task.Config) { c.Policies.Produce = failure.DeadLetter("out") })
	err := r.ProduceFailed(kafka.ProduceFailure{TopicPartition: kafka.TopicPartition{Topic: "out", Partition: 1}, Record: long, Err: kafka.ErrTooLarge})
	assert.ErrorContains(t, err, `dead letter to topic "out": the topic refused the record itself`)
	assert.Empty(t, r.out.drain())

	r = start(t, copies)
	err = r.ProduceFailed(kafka.ProduceFailure{TopicPartition: kafka.TopicPartition{Topic: "out", Partition: 1}, Record: long, Err: kafka.ErrTooLarge})
	assert.ErrorIs(t, err, kafka.ErrTooLarge)
	assert.Regexp(t, `^task 0_0, sink "sink-1" \(.*\), topic out\[1\]: `, err.Error())
}

func TestFailurePolicy_DecodeStops(t *testing.T) {
	r := start(t, func(b *stream.Builder) {
		in := stream.From(b, stream.NewTopic("in", serde.String, serde.Int64)).Named("numbers")
		stream.To(in, stream.NewTopic("out", serde.String, serde.Int64))
	})
	require.NoError(t, r.Add(batch("in", 42, "a=x@1")))
	_, err := r.Process(10)
	require.Error(t, err)
	assert.Regexp(t, `^task 0_0, source "numbers" \(.*task_test.go:\d+.*\), topic in\[0\] offset 42: value: `, err.Error())
	_, again := r.Process(10)
	assert.Equal(t, err, again, "the task is over")
	assert.Equal(t, err, r.Add(batch("in", 43, "a=x@1")))
}
