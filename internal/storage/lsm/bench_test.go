package lsm_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

var (
	benchRows = flag.Uint64("rows", 1_000_000, "rows of the stores of benchmarks")
	benchPage = flag.Int("page", 0, "page size of runs in benchmarks")
)

const benchEpoch = 50_000

// onDisk calls f with what opens a store on the default budget, whose files are synced. Each operation of
// a benchmark is on one row of 8 + 100 bytes.
func onDisk(b *testing.B, f func(b *testing.B, open func() storage.Engine, dir string)) {
	o := lsm.Options{Path: filepath.Join(b.TempDir(), "0"), PageSize: *benchPage, Budget: memtable.NewBudget(0)}
	f(b, func() storage.Engine { return open(b, o) }, o.Path)
}

// report reports CPU, rate and disk of n operations that began at a time and a CPU time.
func report(b *testing.B, e storage.Engine, dir string, n uint64, began time.Time, cpu time.Duration) {
	b.ReportMetric(float64(cpuTime()-cpu)/float64(n), "cpu-ns/row")
	b.ReportMetric(float64(n)/time.Since(began).Seconds()/1e3, "krow/s")
	b.ReportMetric(float64(bytesBelow(dir))/(1<<20), "disk-MiB")
	if l, ok := e.(*lsm.Engine); ok {
		s := l.Stats()
		b.ReportMetric(float64(s.Written)/float64(s.Bytes), "written/byte")
		b.ReportMetric(float64(s.Runs), "runs")
	}
}

// benchKey is the key of row n, spread over all keys.
func benchKey(key []byte, n uint64) { binary.BigEndian.PutUint64(key, n*0x9e3779b97f4a7c15) }

// load restores all rows, as from a changelog in random order.
func load(b *testing.B, e storage.Engine) {
	const size = 10_000
	batch := make([]storage.Change, size)
	for i := range batch {
		batch[i] = storage.Change{Key: make([]byte, 8), Value: make([]byte, 100), Time: 1}
	}
	for n := range *benchRows {
		benchKey(batch[n%size].Key, n)
		if n%size == size-1 {
			require.NoError(b, e.Restore(batch, storage.Checkpoint{Offset: int64(n + 1)}))
		}
	}
	require.NoError(b, e.Flush(true))
}

// BenchmarkLoad restores -rows rows into an empty store.
func BenchmarkLoad(b *testing.B) {
	onDisk(b, func(b *testing.B, open func() storage.Engine, dir string) {
		e := open()
		began, cpu := time.Now(), cpuTime()
		load(b, e)
		report(b, e, dir, *benchRows, began, cpu)
		require.NoError(b, e.Close(true))
	})
}

// BenchmarkRestore restores four stores of one budget, one after the other, with -rows rows together, in batches as they
// are fetched. Keys come in no order.
func BenchmarkRestore(b *testing.B) {
	for b.Loop() {
		budget := memtable.NewBudget(0)
		done := budget.KeepFreed()
		batch := make([]storage.Change, 4000)
		for i := range batch {
			batch[i] = storage.Change{Key: make([]byte, 8), Value: make([]byte, 100), Time: 1}
		}
		began, cpu := time.Now(), cpuTime()
		var stores []storage.Engine
		for range 4 {
			e := open(b, lsm.Options{Path: filepath.Join(b.TempDir(), "0"), PageSize: *benchPage, Budget: budget})
			for n := range *benchRows / 4 {
				at := n % uint64(len(batch))
				if benchKey(batch[at].Key, n); at == uint64(len(batch))-1 {
					require.NoError(b, e.Restore(batch, storage.Checkpoint{Offset: int64(n + 1)}))
				}
			}
			stores = append(stores, e)
		}
		for _, e := range stores {
			require.NoError(b, e.Close(true))
		}
		done()
		b.ReportMetric(float64(cpuTime()-cpu)/float64(*benchRows), "cpu-ns/row")
		b.ReportMetric(float64(*benchRows)/time.Since(began).Seconds()/1e3, "krow/s")
	}
}

// BenchmarkReadChangeWrite reads, changes and writes rows of a store of -rows rows.
func BenchmarkReadChangeWrite(b *testing.B) {
	for _, picked := range []string{"uniform", "zipf"} {
		b.Run(picked, func(b *testing.B) {
			onDisk(b, func(b *testing.B, open func() storage.Engine, dir string) {
				readChangeWrite(b, open(), dir, picked == "zipf")
			})
		})
	}
}

func readChangeWrite(b *testing.B, e storage.Engine, dir string, zipf bool) {
	load(b, e)
	rnd := rand.New(rand.NewPCG(1, 2))
	skewed := rand.NewZipf(rnd, 1.1, 1, *benchRows-1)
	key, value := make([]byte, 8), make([]byte, 100)
	b.ReportAllocs()
	b.ResetTimer()
	began, cpu := time.Now(), cpuTime()
	for i := range b.N {
		if zipf {
			benchKey(key, skewed.Uint64())
		} else {
			benchKey(key, rnd.Uint64N(*benchRows))
		}
		v, ts, ok, err := e.Get(key)
		if err != nil || !ok {
			b.Fatal("a row is missing", err)
		}
		copy(value, v)
		binary.BigEndian.PutUint64(value, binary.BigEndian.Uint64(value)+1)
		if err := e.Put(key, value, ts+1); err != nil {
			b.Fatal(err)
		}
		if i%benchEpoch == benchEpoch-1 {
			commit(b, e, int64(i))
		}
	}
	report(b, e, dir, uint64(b.N), began, cpu)
	b.StopTimer()
	require.NoError(b, e.Close(false))
}

func commit(b *testing.B, e storage.Engine, offset int64) {
	epoch, err := e.Cut(func(storage.Change) error { return nil })
	if err != nil {
		b.Fatal(err)
	}
	e.Settle(epoch, storage.Checkpoint{Offset: offset})
}

// BenchmarkGet reads rows that only files have, alone and in groups that are read ahead.
func BenchmarkGet(b *testing.B) {
	for _, ahead := range []bool{false, true} {
		b.Run(fmt.Sprint("ahead ", ahead), func(b *testing.B) {
			reopened(b, func(b *testing.B, e storage.Engine, dir string) { get(b, e, dir, ahead) })
		})
	}
}

func get(b *testing.B, e storage.Engine, dir string, ahead bool) {
	rnd, keys := rand.New(rand.NewPCG(1, 2)), make([][]byte, 16)
	for i := range keys {
		keys[i] = make([]byte, 8)
	}
	began, cpu := time.Now(), cpuTime()
	for n := range b.N {
		if n%len(keys) == 0 {
			for _, key := range keys {
				benchKey(key, rnd.Uint64N(*benchRows))
			}
			if ahead {
				e.(storage.AheadReader).ReadAhead(keys)
			}
		}
		if _, _, ok, err := e.Get(keys[n%len(keys)]); err != nil || !ok {
			b.Fatal("a row is missing", err)
		}
	}
	report(b, e, dir, uint64(b.N), began, cpu)
}

// BenchmarkGetAbsent looks for rows that are not there.
func BenchmarkGetAbsent(b *testing.B) {
	reopened(b, func(b *testing.B, e storage.Engine, dir string) {
		rnd, key := rand.New(rand.NewPCG(1, 2)), make([]byte, 8)
		began, cpu := time.Now(), cpuTime()
		for range b.N {
			benchKey(key, *benchRows+rnd.Uint64N(*benchRows))
			if _, _, ok, err := e.Get(key); err != nil || ok {
				b.Fatal("a row that was not written", err)
			}
		}
		report(b, e, dir, uint64(b.N), began, cpu)
	})
}

// BenchmarkScan scans all rows; an operation is a row.
func BenchmarkScan(b *testing.B) {
	reopened(b, func(b *testing.B, e storage.Engine, dir string) {
		n := 0
		began, cpu := time.Now(), cpuTime()
		for n < b.N {
			e.(storage.Visitor).Visit(storage.Range{}, func(row storage.Entry, err error) bool {
				if err != nil || len(row.Value) != 100 {
					b.Fatal(fmt.Errorf("a row of %d bytes: %w", len(row.Value), err))
				}
				n++
				return n < b.N
			})
		}
		report(b, e, dir, uint64(b.N), began, cpu)
	})
}

// reopened calls f with a store of -rows rows, none of which is in memory.
func reopened(b *testing.B, f func(b *testing.B, e storage.Engine, dir string)) {
	onDisk(b, func(b *testing.B, open func() storage.Engine, dir string) {
		e := open()
		load(b, e)
		require.NoError(b, e.Close(true))
		e = open()
		b.ReportAllocs()
		b.ResetTimer()
		f(b, e, dir)
		b.StopTimer()
		require.NoError(b, e.Close(false))
	})
}

// BenchmarkSmallFlush changes ten rows of a store of a thousand and flushes them, synced; an operation
// is a flush.
func BenchmarkSmallFlush(b *testing.B) {
	onDisk(b, func(b *testing.B, open func() storage.Engine, dir string) {
		e := open()
		putRows(b, e, 0, 1000, "a value of some bytes")
		commit(b, e, 1)
		require.NoError(b, e.Flush(true))
		b.ResetTimer()
		began, cpu := time.Now(), cpuTime()
		for i := range b.N {
			putRows(b, e, i*10%1000, i*10%1000+10, "another value of some bytes")
			commit(b, e, int64(2+i))
			require.NoError(b, e.Flush(true))
		}
		report(b, e, dir, uint64(b.N), began, cpu)
		b.StopTimer()
		require.NoError(b, e.Close(false))
	})
}
