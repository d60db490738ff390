package task_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/kafka"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
)

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

func timed(g *graph.Graph) {
	for _, n := range g.Nodes {
		n.TracksTime = true
	}
}

func TestCut_OperatorTimes(t *testing.T) {
	g := graphWith(t, late)
	timed(g)
	r := startGraph(t, g)
	r.run(t, batch("in", 0, "a=@50"))
	saved := r.Cut(false)

	again := startGraph(t, g)
	again.SetCommitted(saved)
	again.run(t, batch("in", 1, "a=@49", "a=@51"))
	assert.Equal(t, map[string]int64{"late": 1}, again.drops)
	assert.Equal(t, []string{"out[0] a=@51"}, again.out.drain())
}

func TestSetCommitted_GreatestOperatorTime(t *testing.T) {
	g := graphWith(t, late)
	timed(g)
	g.Nodes[0].Source.Topics = []string{"in", "other"}
	r := startGraph(t, g)
	r.run(t, batch("other", 0, "a=@50"))
	saved := r.Cut(false)
	assert.Len(t, saved, 1, "nothing is known of topic in")
	r.run(t, batch("in", 0, "a=@60"))
	newer := r.Cut(false)
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

func TestRequestCommit(t *testing.T) {
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
	r.Cut(false)
	assert.False(t, r.CommitRequested())
}

func TestCut_OffsetsPassMarkersAndSkippedRecords(t *testing.T) {
	in := kafka.TopicPartition{Topic: "in"}
	skip := stream.NewTopic("in", serde.String, serde.Int64).OnDecodeError(failure.Skip())
	r := start(t, func(b *stream.Builder) {
		stream.To(stream.From(b, skip), stream.NewTopic("out", serde.String, serde.Int64))
	})
	assert.Nil(t, r.Cut(false))

	r.run(t, &kafka.Batch{TopicPartition: in, Next: 3, Bytes: 10})
	assert.Equal(t, int64(3), r.Cut(false)[in].Offset, "a batch of markers only")
	assert.Equal(t, 10, r.released)
	assert.Nil(t, r.Cut(false), "nothing moved")

	r.run(t, batch("in", 3, "a=short@5"))
	assert.Equal(t, int64(4), r.Cut(false)[in].Offset, "a record that was skipped")
	assert.Equal(t, map[string]int64{graph.DecodeSkipped: 1}, r.drops)
	assert.Equal(t, []string{": value: serde.Int64: got 5 bytes, want 8"}, r.failures)

	b := batch("in", 4, "a=12345678@6")
	b.Next = 9
	r.run(t, b)
	assert.Equal(t, int64(9), r.Cut(false)[in].Offset, "the gap behind the last record")
}

func TestCut_PartitionTimes(t *testing.T) {
	r := start(t, merged)
	r.run(t, batch("left", 0, "a=1@50"), batch("right", 0, "a=1@70", "a=2@60"))
	saved := r.Cut(false)

	again := start(t, merged)
	again.SetCommitted(saved)
	assert.Equal(t, int64(70), again.StreamTime())
	assert.Equal(t, int64(2), again.Position(kafka.TopicPartition{Topic: "right"}))
	assert.Nil(t, again.Cut(false))
	again.run(t, batch("left", 1, "b=1@51"))
	assert.Equal(t, map[kafka.TopicPartition]kafka.OffsetMeta{{Topic: "left"}: {Offset: 2, Metadata: "AgAAAAAAAAAz"}}, again.Cut(false))
}

func TestSetCommitted_ForeignMetadata(t *testing.T) {
	r := start(t, copies)
	r.SetCommitted(map[kafka.TopicPartition]kafka.OffsetMeta{{Topic: "in"}: {Offset: 5, Metadata: "consumed by host-1"}})
	assert.Equal(t, int64(-1), r.StreamTime())
	assert.Equal(t, int64(5), r.Position(kafka.TopicPartition{Topic: "in"}))
}
