package task_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/internal/runtime/task"
	"github.com/millstream-go/millstream/serde"
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
	g := (*graph.Handle)(top).Graph()
	for _, n := range g.Nodes {
		if n.Name == "step" {
			n.Pos = "main.go:31"
			n.Wire = func(n *graph.Node, env graph.Env, outs []any) (any, error) { return f(n, env, outs[0].(outlet)), nil }
		}
	}
	g.Stores, g.Subtopologies[0].Stores = stores, stores
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

func (b *broker) drain() []string {
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
	return startGraph(t, (*graph.Handle)(top).Graph(), change...)
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
