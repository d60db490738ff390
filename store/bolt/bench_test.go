package bolt_test

import (
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/bolt"
	"github.com/millstream-go/millstream/store/memory"
)

const (
	benchRows  = 1_000_000
	benchEpoch = 100_000
)

// BenchmarkReadModifyWrite reads, changes and writes rows of 100 bytes under a million keys of 16, with a cut that settles every
// 100,000 operations, on the default budget and with synced flushes.
func BenchmarkReadModifyWrite(b *testing.B) {
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, benchRows-1)
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name string
		pick func() uint64
	}{
		{"uniform", func() uint64 { return rnd.Uint64N(benchRows) }},
		{"zipf", zipf.Uint64},
	} {
		b.Run(c.name, func(b *testing.B) { readModifyWrite(b, c.pick) })
	}
}

func readModifyWrite(b *testing.B, pick func() uint64) {
	flushes, flushed := 0, time.Duration(0)
	budget := memory.NewBudget(0)
	e := open(b, bolt.Options{Path: filepath.Join(b.TempDir(), "0.db"), Budget: budget, OnFlush: func(i bolt.FlushInfo) {
		flushes++
		flushed += i.Took
	}})
	load(b, e)
	key, value := make([]byte, 16), make([]byte, 100)
	ops, peak := 0, int64(0)
	b.ReportAllocs()
	flushes, flushed = 0, 0
	began := cpuTime()
	for b.Loop() {
		keyOf(key, pick())
		v, ts, ok, err := e.Get(key)
		if err != nil || !ok {
			b.Fatal("a row is missing", err)
		}
		copy(value, v)
		binary.BigEndian.PutUint64(value, binary.BigEndian.Uint64(value)+1)
		if err := e.Put(key, value, ts+1); err != nil {
			b.Fatal(err)
		}
		if ops++; ops%benchEpoch == 0 {
			peak = max(peak, budget.Used())
			commit(b, e, int64(ops))
		}
	}
	b.ReportMetric(float64(cpuTime()-began)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mop/s")
	b.ReportMetric(float64(flushes), "flushes")
	b.ReportMetric(flushed.Seconds(), "flush-s")
	b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
	require.NoError(b, e.Close(true))
}

func keyOf(key []byte, n uint64) {
	binary.BigEndian.PutUint64(key, n*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(key[8:], n)
}

func commit(b *testing.B, e *bolt.Engine, offset int64) {
	epoch, err := e.Cut(func(store.Change) error { return nil })
	if err != nil {
		b.Fatal(err)
	}
	e.Settle(epoch, store.Checkpoint{Offset: offset})
}

// BenchmarkRestore restores a million rows into an empty store, in the random order of a changelog; an operation is a row.
func BenchmarkRestore(b *testing.B) {
	e := open(b, bolt.Options{Path: filepath.Join(b.TempDir(), "0.db")})
	b.ResetTimer()
	began := cpuTime()
	load(b, e)
	b.ReportMetric(float64(cpuTime()-began)/benchRows, "cpu-ns/row")
	b.ReportMetric(benchRows/b.Elapsed().Seconds()/1e6, "Mrow/s")
	require.NoError(b, e.Close(false))
}

func load(b *testing.B, e *bolt.Engine) {
	const size = 10_000
	batch := make([]store.Change, size)
	for i := range batch {
		batch[i] = store.Change{Key: make([]byte, 16), Value: make([]byte, 100), Time: 1}
	}
	for n := range uint64(benchRows) {
		keyOf(batch[n%size].Key, n)
		if n%size == size-1 {
			require.NoError(b, e.Restore(batch, store.Checkpoint{Offset: int64(n + 1)}))
		}
	}
	require.NoError(b, e.Flush(true))
}

// BenchmarkGetFromFile reads rows that only the file has.
func BenchmarkGetFromFile(b *testing.B) {
	o := bolt.Options{Path: filepath.Join(b.TempDir(), "0.db"), NoSync: true}
	e := open(b, o)
	load(b, e)
	require.NoError(b, e.Close(true))
	e = open(b, o)
	defer e.Close(false)
	rnd := rand.New(rand.NewPCG(1, 2))
	key := make([]byte, 16)
	b.ReportAllocs()
	for b.Loop() {
		keyOf(key, rnd.Uint64N(benchRows))
		if _, _, ok, err := e.Get(key); err != nil || !ok {
			b.Fatal("a row is missing", err)
		}
	}
}
