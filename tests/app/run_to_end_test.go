package app_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

func TestRunToEnd_ProcessesAllThatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 3), broker.Topic("out", 3))
		write(t, b, "in", 0, 500)
		builder := stream.NewBuilder()
		s := stream.SelectKey(stream.From(builder, in), func(_, v string) string { return v })
		stream.To(stream.MapValues(stream.Repartition(s, "by-value"), strings.ToUpper), out)
		app, err := millstream.New(build(t, builder), config(t, b))
		require.NoError(t, err)
		require.NoError(t, app.RunToEnd(t.Context()))
		all, err := b.Read(t.Context(), "out")
		require.NoError(t, err)
		assert.Len(t, all, 500)
	})
}

func TestRunToEnd_WithSeveralMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 4), broker.Topic("counts", 4))
		write(t, b, "in", 0, 2000)
		top, _ := counting(t)
		done := make(chan error, 3)
		for range 3 {
			app, err := millstream.New(top, config(t, b))
			require.NoError(t, err)
			go func() { done <- app.RunToEnd(noSync(t.Context())) }()
		}
		for range 3 {
			require.NoError(t, <-done)
			assert.Len(t, latest(t, b, "counts"), 2000, "nobody ends before all partitions are done")
		}
	})
}
