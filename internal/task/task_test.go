package task_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/task"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
)

func topic(name string) stream.Topic[string, string] {
	return stream.NewTopic(name, serde.String, serde.String)
}

// broker is an Output that remembers: what a task wrote, as "topic[partition] key=value@time".
type broker struct {
	partitions map[string]int // 1 where there is none
	limit      int            // of a value's size; 0: none
	sent       []string
	headers    []kafka.Header // of the last record
}

func (b *broker) Partitions(topic string) (int, error) {
	if n, ok := b.partitions[topic]; ok {
		return n, nil
	}
	return 1, nil
}

func (b *broker) Send(topic string, p int32, r kafka.ProduceRecord) error {
	if b.limit > 0 && len(r.Value) > b.limit {
		return fmt.Errorf("%d bytes for %s: %w", len(r.Value), topic, kafka.ErrTooLarge)
	}
	b.sent = append(b.sent, fmt.Sprintf("%s[%d] %s=%s@%d", topic, p, text(r.Key), text(r.Value), r.Time))
	b.headers = append([]kafka.Header(nil), r.Headers...)
	return nil
}

func (b *broker) take() []string {
	sent := b.sent
	b.sent = nil
	return sent
}

func text(b []byte) string {
	if b == nil {
		return "null"
	}
	return string(b)
}

// rig is a task of sub-topology 0, partition 0, and what it told its owner.
type rig struct {
	*task.Task
	out      broker
	now      time.Time
	drops    map[string]int64
	failures []string
	released int
	slept    time.Duration
}

func start(t *testing.T, build func(*stream.Builder), change ...func(*task.Config)) *rig {
	t.Helper()
	b := stream.NewBuilder()
	build(b)
	top, err := b.Build()
	require.NoError(t, err)
	return startGraph(t, top.Graph(), change...)
}

func startGraph(t *testing.T, g *graph.Graph, change ...func(*task.Config)) *rig {
	t.Helper()
	r := &rig{now: time.UnixMilli(0), drops: map[string]int64{}}
	x, err := task.New(r.config(g, change...))
	require.NoError(t, err)
	r.Task = x
	return r
}

func (r *rig) config(g *graph.Graph, change ...func(*task.Config)) task.Config {
	cfg := task.Config{
		Graph: g, Application: "app", Out: &r.out,
		Now:      func() time.Time { return r.now },
		Dropped:  func(_ *graph.Node, reason string, n int64) { r.drops[reason] += n },
		Failure:  func(x failure.Report) { r.failures = append(r.failures, fmt.Sprintf("%s: %v", x.Step, x.Err)) },
		Released: func(_ kafka.TopicPartition, n int) { r.released += n },
	}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

// batch makes records from "key=value@time", "null" being null; offsets begin at from.
func batch(topic string, from int64, records ...string) *kafka.Batch {
	b := &kafka.Batch{TopicPartition: kafka.TopicPartition{Topic: topic}, Next: from + int64(len(records)), Bytes: len(records)}
	for i, s := range records {
		kv, at, _ := strings.Cut(s, "@")
		k, v, _ := strings.Cut(kv, "=")
		ms, _ := strconv.ParseInt(at, 10, 64)
		b.Records = append(b.Records, kafka.Record{Key: raw(k), Value: raw(v), Offset: from + int64(i), Time: ms})
	}
	return b
}

func raw(s string) []byte {
	if s == "null" {
		return nil
	}
	return []byte(s)
}

// run adds batches and processes all that can be.
func (r *rig) run(t *testing.T, batches ...*kafka.Batch) {
	t.Helper()
	for _, b := range batches {
		require.NoError(t, r.Add(b))
	}
	_, err := r.Process(1000)
	require.NoError(t, err)
}

func copies(b *stream.Builder) { stream.To(stream.From(b, topic("in")), topic("out")) }

func merged(b *stream.Builder) {
	stream.To(stream.From(b, topic("left"), topic("right")), topic("out"))
}

func TestARecordGoesThroughATask(t *testing.T) {
	r := start(t, copies)
	assert.Equal(t, []kafka.TopicPartition{{Topic: "in"}}, r.Partitions())
	r.run(t, batch("in", 7, "a=1@5", "null=2@6", "b=null@4", "=@9"))
	assert.Equal(t, []string{"out[0] a=1@5", "out[0] null=2@6", "out[0] b=null@4", "out[0] =@9"}, r.out.take())
	assert.Equal(t, int64(9), r.StreamTime())
	assert.Equal(t, int64(11), r.Position(kafka.TopicPartition{Topic: "in"}))
	assert.Equal(t, 4, r.released)
	assert.Zero(t, r.Buffered())
}

func TestQueuesAreReadByTime(t *testing.T) {
	r := start(t, merged)
	r.run(t, batch("left", 0, "l=1@1", "l=2@4", "l=3@4", "l=4@9"), batch("right", 0, "r=1@2", "r=2@3", "r=3@4", "r=4@20"))
	assert.Equal(t, []string{
		"out[0] l=1@1", "out[0] r=1@2", "out[0] r=2@3", "out[0] l=2@4", "out[0] r=3@4", "out[0] l=3@4", "out[0] l=4@9", "out[0] r=4@20",
	}, r.out.take(), "at equal times the queue that has waited longer")
}

func TestProcessTakesNoMoreThanItsLimit(t *testing.T) {
	r := start(t, copies)
	require.NoError(t, r.Add(batch("in", 0, "a=1@1", "a=2@2", "a=3@3")))
	n, err := r.Process(2)
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	assert.Equal(t, 1, r.Buffered())
	n, err = r.Process(2)
	require.NoError(t, err)
	assert.Equal(t, 1, n)
}

func TestEmptyQueuesAreWaitedFor(t *testing.T) {
	lag := map[string]bool{"right": true}
	r := start(t, merged, func(c *task.Config) {
		c.MaxIdle = 100 * time.Millisecond
		c.Lag = func(tp kafka.TopicPartition) bool { return lag[tp.Topic] }
	})
	r.run(t, batch("left", 0, "l=1@10"))
	assert.Empty(t, r.out.take(), "more is known to be on the broker")
	_, ok := r.NextWake()
	assert.False(t, ok, "no time ends that wait")

	lag["right"] = false
	r.run(t)
	assert.Empty(t, r.out.take(), "more may come")
	at, ok := r.NextWake()
	assert.True(t, ok)
	assert.Equal(t, time.UnixMilli(100), at)
	r.run(t, batch("right", 0, "r=1@5"))
	assert.Equal(t, []string{"out[0] r=1@5"}, r.out.take())

	r.now = time.UnixMilli(99)
	r.run(t)
	assert.Empty(t, r.out.take(), "the wait began again when the queue ran empty")
	r.now = time.UnixMilli(100)
	r.run(t)
	assert.Equal(t, []string{"out[0] l=1@10"}, r.out.take())
}

func TestWithoutIdlingNothingIsWaitedFor(t *testing.T) {
	r := start(t, merged, func(c *task.Config) {
		c.MaxIdle = -1
		c.Lag = func(kafka.TopicPartition) bool { return true }
	})
	r.run(t, batch("left", 0, "l=1@10"))
	assert.Equal(t, []string{"out[0] l=1@10"}, r.out.take())
}

func TestOffsetsGoPastMarkersAndSkippedRecords(t *testing.T) {
	in := kafka.TopicPartition{Topic: "in"}
	skip := stream.NewTopic("in", serde.String, serde.Int64).OnDecodeError(failure.Skip())
	r := start(t, func(b *stream.Builder) {
		stream.To(stream.From(b, skip), stream.NewTopic("out", serde.String, serde.Int64))
	})
	assert.Nil(t, r.Cut())

	r.run(t, &kafka.Batch{TopicPartition: in, Next: 3, Bytes: 10})
	assert.Equal(t, int64(3), r.Cut()[in].Offset, "a batch of markers only")
	assert.Equal(t, 10, r.released)
	assert.Nil(t, r.Cut(), "nothing moved")

	r.run(t, batch("in", 3, "a=short@5"))
	assert.Equal(t, int64(4), r.Cut()[in].Offset, "a record that was skipped")
	assert.Equal(t, map[string]int64{graph.DecodeSkipped: 1}, r.drops)
	assert.Equal(t, []string{": value: serde.Int64: got 5 bytes, want 8"}, r.failures)

	b := batch("in", 4, "a=12345678@6")
	b.Next = 9
	r.run(t, b)
	assert.Equal(t, int64(9), r.Cut()[in].Offset, "the gap behind the last record")
}

func TestTimesTravelWithTheOffsets(t *testing.T) {
	r := start(t, merged)
	r.run(t, batch("left", 0, "a=1@50"), batch("right", 0, "a=1@70", "a=2@60"))
	saved := r.Cut()

	again := start(t, merged)
	again.SetCommitted(saved)
	assert.Equal(t, int64(70), again.StreamTime())
	assert.Equal(t, int64(2), again.Position(kafka.TopicPartition{Topic: "right"}))
	assert.Nil(t, again.Cut())
	again.run(t, batch("left", 1, "b=1@51"))
	assert.Equal(t, map[kafka.TopicPartition]kafka.OffsetMeta{{Topic: "left"}: {Offset: 2, Metadata: "AgAAAAAAAAAz"}}, again.Cut())
}

func TestForeignMetadataIsNoObstacle(t *testing.T) {
	r := start(t, copies)
	r.SetCommitted(map[kafka.TopicPartition]kafka.OffsetMeta{{Topic: "in"}: {Offset: 5, Metadata: "consumed by host-1"}})
	assert.Equal(t, int64(-1), r.StreamTime())
	assert.Equal(t, int64(5), r.Position(kafka.TopicPartition{Topic: "in"}))
}

func TestARecordThatDoesNotDecodeStopsTheTask(t *testing.T) {
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

func TestAPanicNamesTheRecordAndKeepsTheStack(t *testing.T) {
	boom := errors.New("boom")
	r := start(t, func(b *stream.Builder) {
		in := stream.From(b, topic("in"))
		stream.To(stream.Filter(in, func(_, v string) bool {
			if v == "bad" {
				panic(boom)
			}
			return true
		}).Named("picky"), topic("out"))
	})
	require.NoError(t, r.Add(batch("in", 41, "a=good@1", "a=bad@2")))
	n, err := r.Process(10)
	assert.Equal(t, 1, n)
	require.ErrorIs(t, err, boom)
	var p *task.Panic
	require.ErrorAs(t, err, &p)
	assert.Contains(t, string(p.Stack), "task_test.go")
	assert.Regexp(t, `^task 0_0, filter "picky" \(.*task_test.go:.*\), topic in\[0\] offset 42: panic: boom`, err.Error())
	assert.Equal(t, []string{"out[0] a=good@1"}, r.out.take())
	assert.Equal(t, int64(42), r.Cut()[kafka.TopicPartition{Topic: "in"}].Offset, "the record is not done")
}
