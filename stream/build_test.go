package stream_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
)

var (
	in  = stream.NewTopic("in", serde.String, serde.String)
	out = stream.NewTopic("out", serde.String, serde.Int64)
)

func TestBuild(t *testing.T) {
	b := stream.NewBuilder()
	n := stream.MapValues(stream.From(b, in), func(v string) int64 { return int64(len(v)) })
	stream.To(stream.Filter(n, func(_ string, n int64) bool { return n > 1 }).Named("big"), out)
	top, err := b.Build()
	require.NoError(t, err)
	assert.Len(t, top.Graph().Nodes, 4)
	assert.Len(t, top.Graph().Subs, 1)
}

func TestBuildReturnsEveryMistakeWithItsPlace(t *testing.T) {
	b := stream.NewBuilder()
	s := stream.From(b, stream.NewTopic[string, string]("no serdes", nil, nil))
	f := stream.Filter(stream.From(b, in), func(_, v string) bool { return true }).Named("a").Named("b")
	stream.To(stream.MapValues(s, func(v string) int64 { return 1 }), out)
	stream.To(stream.MapValues(f, func(v string) int64 { return 1 }), out)
	_, err := b.Build()
	require.Error(t, err)
	t.Log(err)
	assert.ErrorContains(t, err, "build_test.go:30")
	assert.ErrorContains(t, err, `named twice: "a" and "b"`)
}
