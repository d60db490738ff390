package operator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
)

// changesOf returns n changes of keys that come round again after 10,000.
func changesOf(n int) []wire.Change[string, int64] {
	all := make([]wire.Change[string, int64], n)
	for i := range all {
		r := topology.Record[string, int64]{Key: fmt.Sprintf("key-%05d", i%10_000), Value: int64(i)}
		all[i] = wire.Change[string, int64]{Record: r.From(topology.Source{Topic: "in", Offset: int64(i)}), Old: int64(i - 1), HasOld: i >= 10_000}
	}
	return all
}

// settled keeps what a commit every 10,000 records leaves in memory small.
func settled(b *testing.B, e storage.Engine, i int) {
	if i%10_000 == 9_999 {
		epoch, err := e.Cut(func(storage.Change) error { return nil })
		require.NoError(b, err)
		e.Settle(epoch, storage.Checkpoint{})
	}
}

// check is require.NoError without its cost.
func check(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}

func engine(b *testing.B) storage.Engine {
	e := memtable.New(memtable.NewBudget(256 << 20))
	b.Cleanup(func() { _ = e.Close(false) })
	return e
}

// BenchmarkSuppress is a change that is put into a buffer of 10,000 keys: one of ten is the first
// of its key and pushes another out.
func BenchmarkSuppress(b *testing.B) {
	e := engine(b)
	s, err := operator.OpenSuppress("s", e, serde.Serde[string](serde.String), serde.Serde[int64](serde.Int64), nil)
	require.NoError(b, err)
	s.Wait = 100_000
	changes, sent := changesOf(20_000), 0
	out := func(wire.Change[string, int64]) error { sent++; return nil }
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c := changes[i%10_000]
		c.Time = time.UnixMilli(int64(i))
		check(b, s.Change(c, int64(i), out))
		settled(b, e, i)
	}
	b.ReportMetric(float64(sent)/float64(b.N), "sent/op")
}

// BenchmarkUpdateBuffer is a change that is held back until a commit after 10,000, of 1,000 keys;
// sent at the commit.
func BenchmarkUpdateBuffer(b *testing.B) {
	e := engine(b)
	rows, err := operator.Open("s", e, serde.Serde[string](serde.String), serde.Serde[int64](serde.Int64), nil)
	require.NoError(b, err)
	h, err := operator.NewUpdateBuffer("s", serde.Serde[string](serde.String), serde.Serde[int64](serde.Int64), rows.Get, nil)
	require.NoError(b, err)
	u := operator.Upsert[string, int64]{Rows: rows, Old: true}
	changes := changesOf(20_000)
	out := func(wire.Change[string, int64]) error { return nil }
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c, _, err := u.Change(changes[i%1000])
		check(b, err)
		_, err = h.Change(c)
		check(b, err)
		if i%10_000 == 9_999 {
			check(b, h.Flush(out))
		}
		settled(b, e, i)
	}
}

// BenchmarkUpsert is the same without holding back.
func BenchmarkUpsert(b *testing.B) {
	e := engine(b)
	rows, err := operator.Open("s", e, serde.Serde[string](serde.String), serde.Serde[int64](serde.Int64), nil)
	require.NoError(b, err)
	u := operator.Upsert[string, int64]{Rows: rows, Old: true}
	changes := changesOf(20_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, _, err := u.Change(changes[i%1000])
		check(b, err)
		settled(b, e, i)
	}
}
