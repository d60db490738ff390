package app_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
	"github.com/millstream-go/millstream/table"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// More state than memory: stores give memory back by writing to disk, and everything goes on.
func TestMemoryBudget_SmallerThanState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("last", 2))
		builder := stream.NewBuilder()
		rows := table.ToTable(stream.From(builder, in), "rows")
		stream.To(table.ToStream(rows), stream.NewTopic("last", serde.String, serde.String))
		cfg := config(t, b)
		cfg.MemoryBudget = 1 << 20
		const n = 10_000
		long := make([]byte, 500)
		for first := 0; first < n; first += 1000 {
			var rs []broker.Record
			for i := first; i < first+1000; i++ {
				rs = append(rs, broker.Record{Partition: broker.ByKey, Key: fmt.Appendf(nil, "k%d", i), Value: long})
			}
			require.NoError(t, b.Produce(t.Context(), "in", rs...))
		}
		top := build(t, builder)
		runToEnd(t, top, cfg)
		assert.EqualValues(t, n, committed(t, b, "app", "in"))
		m := start(t, top, cfg)
		time.Sleep(5 * time.Second)
		require.NoError(t, m.Ready())
		assert.Zero(t, m.Stats().Restored, "everything was on disk")
		count, err := rows.Store().In(m).Len()
		require.NoError(t, err)
		assert.EqualValues(t, n, count)
		m.stop()
	})
}
