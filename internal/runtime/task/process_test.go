package task_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/task"
)

func TestClock_SharedStreamTime(t *testing.T) {
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

func TestHead(t *testing.T) {
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

func TestProcess_OneRecord(t *testing.T) {
	r := start(t, copies)
	assert.Equal(t, []kafka.TopicPartition{{Topic: "in"}}, r.Partitions())
	r.run(t, batch("in", 7, "a=1@5", "null=2@6", "b=null@4", "=@9"))
	assert.Equal(t, []string{"out[0] a=1@5", "out[0] null=2@6", "out[0] b=null@4", "out[0] =@9"}, r.out.drain())
	assert.Equal(t, int64(9), r.StreamTime())
	assert.Equal(t, int64(11), r.Position(kafka.TopicPartition{Topic: "in"}))
	assert.Equal(t, 4, r.released)
	assert.Zero(t, r.Buffered())
}

func TestProcess_Limit(t *testing.T) {
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

func TestMaxIdle_WaitsForEmptyQueues(t *testing.T) {
	lag := map[string]bool{"right": true}
	r := start(t, merged, func(c *task.Config) {
		c.MaxIdle = 100 * time.Millisecond
		c.HasLag = func(tp kafka.TopicPartition) bool { return lag[tp.Topic] }
	})
	r.run(t, batch("left", 0, "l=1@10"))
	assert.Empty(t, r.out.drain(), "more is known to be on the broker")
	_, ok := r.NextWake()
	assert.False(t, ok, "no time ends that wait")

	lag["right"] = false
	r.run(t)
	assert.Empty(t, r.out.drain(), "more may come")
	at, ok := r.NextWake()
	assert.True(t, ok)
	assert.Equal(t, time.UnixMilli(100), at)
	r.run(t, batch("right", 0, "r=1@5"))
	assert.Equal(t, []string{"out[0] r=1@5"}, r.out.drain())

	r.now = time.UnixMilli(99)
	r.run(t)
	assert.Empty(t, r.out.drain(), "the wait began again when the queue ran empty")
	r.now = time.UnixMilli(100)
	r.run(t)
	assert.Equal(t, []string{"out[0] l=1@10"}, r.out.drain())
}

func TestMaxIdle_Negative(t *testing.T) {
	r := start(t, merged, func(c *task.Config) {
		c.MaxIdle = -1
		c.HasLag = func(kafka.TopicPartition) bool { return true }
	})
	r.run(t, batch("left", 0, "l=1@10"))
	assert.Equal(t, []string{"out[0] l=1@10"}, r.out.drain())
}
