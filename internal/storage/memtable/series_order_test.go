package memtable

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
)

// A join puts rows in about the order of time and scans the newest ones of a key. That needs no order of
// all rows, each of which would cost a search. A row far out of order gets one.
// BenchmarkSeries_Long scans a part of a series that lies behind many newer rows.
func BenchmarkSeries_Long(b *testing.B) {
	table := NewTable(NewBudget(1<<30).Open(false), 1, false)
	defer table.Release()
	table.IndexSeries(storage.Series{Class: 2, Tail: 8})
	key := func(number uint64) []byte { return binary.BigEndian.AppendUint64([]byte{2, 1}, number) }
	for i := range uint64(10_000) {
		require.NoError(b, table.Put(key(i), nil, 1))
	}
	r := storage.Range{From: key(100), To: key(102), Series: 2}
	for b.Loop() {
		c := table.Cursor()
		c.Start(r)
	}
}

func TestSeries_NeedsNoOrder(t *testing.T) {
	table := NewTable(NewBudget(1<<30).Open(false), 1, false)
	defer table.Release()
	table.IndexSeries(storage.Series{Class: 2, Tail: 8})
	key := func(series byte, number uint64) []byte {
		return binary.BigEndian.AppendUint64([]byte{2, series}, number)
	}
	visit := func(series byte, from, to uint64) (n int) {
		r := storage.Range{From: key(series, from), To: key(series, to), Series: 2}
		c := table.Cursor()
		for c.Start(r); c.Valid() && !r.Past(c.Key()); c.Step(r) {
			n++
		}
		return n
	}
	for i := range uint64(100_000) {
		require.NoError(t, table.Put(key(byte(i), i^7), nil, 1))
		require.LessOrEqual(t, visit(byte(i), i-min(i, 1000), i+8), 4)
	}
	assert.False(t, table.Ordered())
	assert.Equal(t, 390, visit(3, 0, 100_000-240), "nearly all rows of a series are passed")
	assert.True(t, table.Ordered())
	assert.True(t, table.series.on)
	require.NoError(t, table.Put(key(3, 0), nil, 1))
	assert.False(t, table.series.on)
	assert.Equal(t, 391, visit(3, 0, 100_000-240))
	assert.False(t, table.MayHave(storage.Range{From: key(3, 200_000), To: key(3, 300_000), Series: 2}))
}
