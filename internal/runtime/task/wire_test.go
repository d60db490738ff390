package task_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/stream"
)

func TestNew_PanicWhileWiring(t *testing.T) {
	closed := false
	g := graphWith(t, func(_ *graph.Node, env graph.Env, out outlet) outlet {
		env.OnClose(func() error { closed = true; return nil })
		panic("no configuration")
	})
	_, err := task.New((&rig{}).config(g))
	require.ErrorContains(t, err, `task 0_0, map-values "step" (main.go:31): panic: no configuration`)
	assert.True(t, closed, "what was begun is ended")
}

func TestSource_PatternMatchesLaterTopics(t *testing.T) {
	build := func(b *stream.Builder) { stream.To(stream.From(b, topic("p-1")), topic("out")) }
	r := func() *rig {
		b := stream.NewBuilder()
		build(b)
		top, err := b.Build()
		require.NoError(t, err)
		g := (*graph.Handle)(top).Graph()
		g.Nodes[0].Source.Topics, g.Nodes[0].Source.Pattern = nil, "p-[0-9]"
		return startGraph(t, g, func(c *task.Config) { c.Topics = func() []string { return []string{"p-2", "q-1", "p-11", "p-1"} } })
	}()
	assert.Equal(t, []kafka.TopicPartition{{Topic: "p-1"}, {Topic: "p-2"}}, r.Partitions())
	r.run(t, batch("p-1", 0, "a=@1"), batch("p-3", 0, "b=@2"), batch("q-1", 0, "c=@3"))
	assert.Equal(t, []string{"out[0] a=@1", "out[0] b=@2"}, r.out.drain())
	assert.Equal(t, 3, r.released, "what nobody reads is released too")
}

func TestNew_Errors(t *testing.T) {
	boom := errors.New("boom")
	spec := &graph.Store{Name: "seen"}
	g := graphWith(t, func(_ *graph.Node, _ graph.Env, out outlet) outlet { return out }, spec)
	_, err := task.New((&rig{}).config(g, func(c *task.Config) {
		c.OpenEngine = func(*graph.Store) (storage.Engine, error) { return nil, boom }
	}))
	assert.EqualError(t, err, `task 0_0: store "seen": boom`)

	_, err = task.New((&rig{}).config(g, func(c *task.Config) { c.ID.Subtopology = 3 }))
	assert.EqualError(t, err, "task 3_0: the topology has 1 sub-topologies")

	g.Stores, g.Subtopologies[0].Stores = nil, nil
	step(g).Wire = func(*graph.Node, graph.Env, []any) (any, error) { return nil, boom }
	_, err = task.New((&rig{}).config(g))
	assert.EqualError(t, err, `task 0_0, map-values "step" (main.go:31): boom`)

	in := g.Nodes[0]
	in.Pos = ""
	step(g).Wire = func(_ *graph.Node, _ graph.Env, outs []any) (any, error) { return outs[0], nil }
	_, err = task.New((&rig{}).config(g, func(c *task.Config) { c.Out = &failing{count: boom} }))
	assert.NoError(t, err, "the topic of a sink is looked at when it is written")
	in.Source.Topics = []string{"out"}
	_, err = task.New((&rig{}).config(g, func(c *task.Config) { c.Out = &failing{count: boom} }))
	assert.EqualError(t, err, `task 0_0, source "source-1": topic "out": boom`)
	in.Source.Pattern = "("
	_, err = task.New((&rig{}).config(g, func(c *task.Config) { c.Topics = func() []string { return []string{"x"} } }))
	assert.ErrorContains(t, err, "missing closing )")
}

func TestNew_NoQueueWithoutPartition(t *testing.T) {
	r := start(t, merged, func(c *task.Config) {
		c.ID.Partition = 2
		c.Out.(*broker).partitions = map[string]int{"left": 3, "right": 2}
	})
	assert.Equal(t, []kafka.TopicPartition{{Topic: "left", Partition: 2}}, r.Partitions())
	assert.Equal(t, int64(-1), r.Position(kafka.TopicPartition{Topic: "right", Partition: 2}))
}
