package app_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/failure"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// A topic that a record chooses may have been created just now. Topics that do not exist hold up a worker no longer, however many there are.
func TestToFunc_TopicMayBeNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 1))
		builder := stream.NewBuilder()
		stream.ToFunc(stream.From(builder, in), out, func(r stream.Record[string, string]) string { return r.Value }).OnError(failure.Skip())
		m := start(t, build(t, builder), config(t, b))
		time.Sleep(10 * time.Second)
		require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte("k"), Value: []byte("late")}))
		time.Sleep(time.Second)
		require.NoError(t, b.CreateTopic("late", 1))
		await(t, b, "late", 1)
		assert.Empty(t, m.Stats().Dropped)

		time.Sleep(2 * time.Minute)
		write(t, b, "in", 0, 100) // to v0, v1, ...
		require.NoError(t, b.Produce(t.Context(), "in", broker.Record{Key: []byte("k"), Value: []byte("late")}))
		began := time.Now()
		await(t, b, "late", 2)
		assert.Less(t, time.Since(began), 10*time.Second)
		m.stop()
		assert.Len(t, m.Stats().Dropped, 1)
	})
}
