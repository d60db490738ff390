package segmented_test

import (
	"encoding/binary"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/segmented"
)

const benchKeys = 10_000

// bench makes a store in memory, and a function that cuts and settles it.
func bench(b testing.TB, s graph.Store) (storage.Handle, func()) {
	s.Name, s.Retention, s.Size = "s", time.Hour, time.Minute
	e, err := segmented.Wrap(&s, memtable.New(nil))
	require.NoError(b, err)
	h, err := segmented.Handle(&s, e, func() int64 { return 0 })
	require.NoError(b, err)
	return h, func() {
		epoch, err := e.Cut(func(storage.Change) error { return nil })
		require.NoError(b, err)
		e.Settle(epoch, storage.Checkpoint{})
	}
}

func numbered(key []byte, i int) []byte {
	return binary.BigEndian.AppendUint64(key[:0], uint64(i)*0x9e3779b97f4a7c15)
}

// BenchmarkWindowCount reads and writes the row of a window, as a count does.
func BenchmarkWindowCount(b *testing.B) {
	h, settle := bench(b, graph.Store{Kind: graph.Window})
	key, value, at := make([]byte, 0, 8), make([]byte, 8), int64(0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key = numbered(key, i%benchKeys)
		at += int64(i & 1)
		start := at / 60_000 * 60_000
		if _, _, _, err := h.Windows.Get(key, start); err != nil {
			b.Fatal(err)
		}
		if _, err := h.Windows.Put(key, start, value, at); err != nil {
			b.Fatal(err)
		}
		if i%100_000 == 99_999 {
			settle()
		}
	}
}

// BenchmarkWindowJoin puts into a store with duplicates and fetches a minute around each record, as
// a join of streams does.
func BenchmarkWindowJoin(b *testing.B) {
	h, settle := bench(b, graph.Store{Kind: graph.Window, Duplicates: true})
	key, value, at, n := make([]byte, 0, 8), make([]byte, 100), int64(0), 0
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key = numbered(key, i%benchKeys)
		at += 5
		if _, err := h.Windows.Put(key, at, value, at); err != nil {
			b.Fatal(err)
		}
		for _, err := range h.Windows.Fetch(key, at-60_000, at+60_000, false) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if i%100_000 == 99_999 {
			settle()
		}
	}
	b.ReportMetric(float64(n)/float64(b.N), "rows/op")
}

// BenchmarkSession finds the sessions around a record and writes one, as a session aggregation
// does.
func BenchmarkSession(b *testing.B) {
	h, settle := bench(b, graph.Store{Kind: graph.Session})
	key, value, at := make([]byte, 0, 8), make([]byte, 8), int64(0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key = numbered(key, i%benchKeys)
		at++
		for _, err := range h.Sessions.Find(key, at-1000, at+1000, false) {
			if err != nil {
				b.Fatal(err)
			}
		}
		if _, err := h.Sessions.Put(key, at, at, value, at); err != nil {
			b.Fatal(err)
		}
		if i%100_000 == 99_999 {
			settle()
		}
	}
}

// BenchmarkVersions puts a version and looks one up that is not the latest.
func BenchmarkVersions(b *testing.B) {
	h, settle := bench(b, graph.Store{Kind: graph.Versioned})
	key, value, at := make([]byte, 0, 8), make([]byte, 100), int64(0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key = numbered(key, i%benchKeys)
		at++
		if _, _, err := h.Versions.Put(key, value, at); err != nil {
			b.Fatal(err)
		}
		if _, _, err := h.Versions.AsOf(key, at-1); err != nil {
			b.Fatal(err)
		}
		if i%10_000 == 9_999 {
			settle()
		}
	}
}

// BenchmarkWindowJoinOnDisk is BenchmarkWindowJoin over a file that has a part of the rows.
func BenchmarkWindowJoinOnDisk(b *testing.B) {
	s := graph.Store{Name: "s", Kind: graph.Window, Duplicates: true, Retention: time.Hour, Size: time.Minute}
	inner, _, err := lsm.Open(lsm.Options{Path: filepath.Join(b.TempDir(), "0"), NoSync: true})
	require.NoError(b, err)
	e, err := segmented.Wrap(&s, inner)
	require.NoError(b, err)
	h, err := segmented.Handle(&s, e, func() int64 { return 0 })
	require.NoError(b, err)
	key, value, at := make([]byte, 0, 8), make([]byte, 100), int64(0)
	each := func(storage.WindowEntry, error) bool { return true }
	put := func(i int) {
		key = numbered(key, i%benchKeys)
		at += 5
		if _, err := h.Windows.Put(key, at, value, at); err != nil {
			b.Fatal(err)
		}
	}
	flush := func(i int) {
		epoch, err := e.Cut(func(storage.Change) error { return nil })
		require.NoError(b, err)
		e.Settle(epoch, storage.Checkpoint{Offset: int64(i)})
		require.NoError(b, e.Flush(true))
	}
	for i := range 500_000 {
		put(i)
	}
	flush(1)
	inner.Trim()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		put(i)
		h.Windows.Visit(key, at-60_000, at+60_000, each)
		if i%500_000 == 499_999 {
			b.StopTimer()
			flush(i)
			inner.Trim()
			b.StartTimer()
		}
	}
	b.StopTimer()
	require.NoError(b, e.Close(false))
}
