package lsm_test

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// BenchmarkLife takes one store of -rows rows through what stores go through: it is loaded, opened after
// a clean stop and after one without a flush, its rows are read, and changed, uniformly and skewed. Figures
// are with all merges that a part has left behind: cpu-ns/row, written/byte (bytes of files for a byte of
// rows written), space (bytes on disk at the end for a byte of rows), anon-MiB (the most that the process
// had). The parts are of one store, so -benchtime is to be a number of operations, like 1000000x, and all
// parts are to be run.
func BenchmarkLife(b *testing.B) {
	dir := b.TempDir()
	o := lsm.Options{Path: filepath.Join(dir, "0"), PageSize: *benchPage, Budget: memtable.NewBudget(0)}
	l := &life{o: o}
	l.open(b)
	b.Run("load", func(b *testing.B) {
		if b.N == 1 {
			return // package testing calls each part with one operation first
		}
		l.part(b, *benchRows, func() { l.load(b) })
	})
	b.Run("open-stopped", func(b *testing.B) { l.reopen(b, true) })
	b.Run("open-killed", func(b *testing.B) { l.reopen(b, false) })
	defer func() { require.NoError(b, l.e.Close(false)) }()
	b.Run("get", func(b *testing.B) { l.part(b, uint64(b.N), func() { l.change(b, "get") }) })
	b.Run("uniform", func(b *testing.B) { l.part(b, uint64(b.N), func() { l.change(b, "uniform") }) })
	b.Run("zipf", func(b *testing.B) { l.part(b, uint64(b.N), func() { l.change(b, "zipf") }) })
}

type life struct {
	o    lsm.Options
	e    *lsm.Engine
	anon int64
}

func (l *life) open(b *testing.B) {
	e, info, err := lsm.Open(l.o)
	require.NoError(b, err)
	require.Empty(b, info.Reason)
	l.e = e
}

// part runs f, which handles n rows, and reports what it costs.
func (l *life) part(b *testing.B, n uint64, f func()) {
	l.anon = 0
	before := l.e.Stats().Written
	b.ResetTimer()
	began, cpu := time.Now(), cpuTime()
	f()
	took := time.Since(began)
	l.e.AwaitMerges()
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-cpu)/float64(n), "cpu-ns/row")
	b.ReportMetric(float64(n)/took.Seconds()/1e3, "krow/s")
	const row = 108
	b.ReportMetric(float64(l.e.Stats().Written-before)/float64(n*row), "written/byte")
	b.ReportMetric(float64(bytesBelow(l.o.Path))/float64(*benchRows*row), "space")
	b.ReportMetric(float64(l.anon)/(1<<20), "anon-MiB")
	b.ReportMetric(float64(l.e.Stats().Runs), "runs")
}

// load restores all rows, as from a changelog in random order.
func (l *life) load(b *testing.B) {
	batch := make([]storage.Change, 1000)
	for i := range batch {
		batch[i] = storage.Change{Key: make([]byte, 8), Value: make([]byte, 100), Time: 1}
	}
	for n := range *benchRows {
		benchKey(batch[n%1000].Key, n)
		if n%1000 == 999 {
			require.NoError(b, l.e.Restore(batch, storage.Checkpoint{Offset: int64(n + 1)}))
		}
		if n%100_000 == 0 {
			l.anon = max(l.anon, anonymous())
		}
	}
	require.NoError(b, l.e.Flush(true))
}

func (l *life) reopen(b *testing.B, clean bool) {
	require.NoError(b, l.e.Close(clean))
	b.ResetTimer()
	l.open(b)
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed())/1e6, "ms")
}

// change reads rows and writes them, unless they are only to be read.
func (l *life) change(b *testing.B, how string) {
	rnd := rand.New(rand.NewPCG(uint64(b.N), 2))
	skewed := rand.NewZipf(rnd, 1.1, 1, *benchRows-1)
	key, value := make([]byte, 8), make([]byte, 100)
	for i := range b.N {
		if how == "zipf" {
			benchKey(key, skewed.Uint64())
		} else {
			benchKey(key, rnd.Uint64N(*benchRows))
		}
		v, ts, ok, err := l.e.Get(key)
		if err != nil || !ok && b.N > 1 {
			b.Fatal("a row is missing", err)
		}
		if how == "get" {
			continue
		}
		copy(value, v)
		binary.BigEndian.PutUint64(value, binary.BigEndian.Uint64(value)+1)
		if err := l.e.Put(key, value, ts+1); err != nil {
			b.Fatal(err)
		}
		if i%benchEpoch == benchEpoch-1 {
			commit(b, l.e, int64(i))
			l.anon = max(l.anon, anonymous())
		}
	}
}

func bytesBelow(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// anonymous returns how much memory of the process is in no file; 0 where the system does not say.
func anonymous() (n int64) {
	status, _ := os.ReadFile("/proc/self/status")
	if _, rest, ok := strings.Cut(string(status), "RssAnon:"); ok {
		_, _ = fmt.Sscan(rest, &n)
	}
	return n << 10
}
