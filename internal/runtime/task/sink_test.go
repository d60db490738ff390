package task_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/stream"
)

// failing is an Output that fails in a given way.
type failing struct {
	broker
	count, send error
}

func (f *failing) Partitions(topic string) (int, error) {
	if f.count != nil && topic == "out" {
		return 0, f.count
	}
	return f.broker.Partitions(topic)
}

func (f *failing) Send(topic string, p int32, r kafka.ProduceRecord) error {
	if f.send != nil && topic == "out" {
		return f.send
	}
	return f.broker.Send(topic, p, r)
}

func TestSink_RecordCannotBeWritten(t *testing.T) {
	gone := fmt.Errorf("topic out: %w", kafka.ErrUnknownTopic)
	for _, c := range []struct {
		name        string
		count, send error
		policy      failure.Policy
		err         error
		sent        []string
		failures    int
	}{
		{name: "too large stops", send: kafka.ErrTooLarge, err: kafka.ErrTooLarge, failures: 1},
		{name: "too large is skipped", send: kafka.ErrTooLarge, policy: failure.Skip(), failures: 1},
		{name: "no such topic goes to the dead letters", count: gone, policy: failure.DeadLetter("letters"), sent: []string{"letters[0] k=v@1"}, failures: 1},
		{name: "is retried", send: gone, policy: failure.Retry(2, time.Second, time.Second, failure.Skip()), failures: 3},
		{name: "a producer that is closed stops, whatever the policy", send: kafka.ErrClosed, policy: failure.Skip(), err: kafka.ErrClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := &failing{count: c.count, send: c.send}
			r := start(t, copies, func(x *task.Config) {
				x.Out, x.Policies.Produce = out, c.policy
				x.Sleep = noSleep
			})
			require.NoError(t, r.Add(batch("in", 0, "k=v@1")))
			_, err := r.Process(1)
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
				assert.Contains(t, err.Error(), `sink "sink-1"`)
				assert.Contains(t, err.Error(), "topic in[0] offset 0")
			} else {
				require.NoError(t, err)
				assert.Equal(t, map[string]int64{graph.ProduceSkipped: 1}, r.drops)
			}
			assert.Equal(t, c.sent, out.drain())
			assert.Len(t, r.failures, c.failures)
		})
	}
}

func TestSink_ChoosesPartitionByKey(t *testing.T) {
	r := start(t, copies, func(c *task.Config) { c.Out.(*broker).partitions = map[string]int{"out": 7} })
	r.run(t, batch("in", 0, "foobar=1@1", "null=2@2", "null=3@3"))
	want := (-790332482 & 0x7fffffff) % 7
	assert.Equal(t, []string{fmt.Sprintf("out[%d] foobar=1@1", want), "out[0] null=2@2", "out[0] null=3@3"}, r.out.drain())
}

func TestSink_NoticesNewPartitionsAtNextCommit(t *testing.T) {
	counts := map[string]int{"out": 1}
	r := start(t, func(b *stream.Builder) {
		stream.To(stream.From(b, topic("in")), topic("out").Partitioner(func(_ stream.Record[string, string], n int) int { return n - 1 }))
	}, func(c *task.Config) { c.Out.(*broker).partitions = counts })
	r.run(t, batch("in", 0, "k=v@1"))
	counts["out"] = 4
	r.Cut(false)
	r.run(t, batch("in", 1, "k=v@1"))
	assert.Equal(t, []string{"out[0] k=v@1", "out[3] k=v@1"}, r.out.drain())
}

func TestSink_PrefixesInternalTopics(t *testing.T) {
	b := stream.NewBuilder()
	stream.To(stream.Repartition(stream.From(b, topic("in")), "again"), topic("out"))
	top, err := b.Build()
	require.NoError(t, err)
	r := startGraph(t, (*graph.Handle)(top).Graph())
	r.run(t, batch("in", 0, "k=v@1"))
	assert.Equal(t, []string{"app-again-repartition[0] k=v@1"}, r.out.drain())
	r = startGraph(t, (*graph.Handle)(top).Graph(), func(c *task.Config) { c.ID.Subtopology = 1 })
	assert.Equal(t, []kafka.TopicPartition{{Topic: "app-again-repartition"}}, r.Partitions())
	r.run(t, batch("app-again-repartition", 0, "k=v@1"))
	assert.Equal(t, []string{"out[0] k=v@1"}, r.out.drain())
	assert.Equal(t, graph.TaskID{Subtopology: 1}, r.ID())
}
