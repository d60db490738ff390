package app_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
	"github.com/millstream-go/millstream/topology"
)

// A store that is to keep headers from now on, or no longer, has other rows on disk: it is restored, not misread.
func TestKeepHeaders_ChangedBetweenRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		cfg := config(t, b)
		program := func(opts ...store.Option) (*topology.Topology, store.KeyValueRef[string, store.Timestamped[int64]]) {
			sb := stream.NewBuilder()
			n := table.Count(stream.GroupByKey(stream.From(sb, in)), "counts", opts...)
			stream.To(table.ToStream(n), counts)
			return build(t, sb), n.TimestampedStore()
		}
		send := func(trace string) {
			require.NoError(t, b.Produce(t.Context(), "in", broker.Record{
				Partition: broker.ByKey, Key: []byte("k"), Value: []byte("v"), Headers: []broker.Header{{Name: "trace", Value: []byte(trace)}},
			}))
		}
		for i, opts := range [][]store.Option{nil, {store.KeepHeaders()}, {store.KeepHeaders()}, nil} {
			top, ref := program(opts...)
			send(string(rune('a' + i)))
			m := start(t, top, cfg)
			await(t, b, "counts", i+1)
			settled()
			row, ok, err := ref.In(m).Get("k")
			require.NoError(t, err)
			require.True(t, ok)
			assert.EqualValues(t, i+1, row.Value)
			if opts == nil {
				assert.Nil(t, row.Headers)
			} else {
				assert.Equal(t, store.Headers{{Name: "trace", Value: []byte{byte('a' + i)}}}, row.Headers)
			}
			m.stop()
			if i > 0 {
				assert.Equal(t, i != 2, m.App.Stats().Restored > 0, "run %d: only a run like the one before finds its rows on disk", i)
			}
		}
	})
}
