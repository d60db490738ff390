package lsm_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

const readRows = 200_000

// readStore has most of its rows in runs, and a tenth of them in memory, too.
func readStore(b *testing.B) *lsm.Engine {
	e := open(b, lsm.Options{Path: pathIn(b), NoSync: true, Budget: memtable.NewBudget(0)})
	b.Cleanup(func() { require.NoError(b, e.Close(false)) })
	key, value := make([]byte, 16), make([]byte, 100)
	for n := range uint64(readRows) {
		benchKey(key, n)
		require.NoError(b, e.Put(key, value, 1))
	}
	settle(b, e, 1)
	require.NoError(b, e.Flush(true))
	merged(e)
	e.Trim()
	for n := range uint64(readRows / 10) {
		benchKey(key, n)
		require.NoError(b, e.Put(key, value, 2))
	}
	settle(b, e, 2)
	return e
}

// BenchmarkOutsideGet is a look-up from outside: a snapshot, a row, the end of the snapshot.
func BenchmarkOutsideGet(b *testing.B) {
	e := readStore(b)
	key, buf := make([]byte, 16), make([]byte, 0, 128)
	b.ReportAllocs()
	n, cpu := uint64(0), cpuTime()
	defer func() { b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(n), "ns-CPU/op") }()
	for b.Loop() {
		n++
		benchKey(key, n*7919%readRows)
		s, err := e.Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		if _, _, ok, err := s.AppendTo(buf, key); err != nil || !ok {
			b.Fatal(ok, err)
		}
		s.Close()
	}
}

// BenchmarkOutsideScan is a row of a scan from outside, beside a row of the owner's own scan.
func BenchmarkOutsideScan(b *testing.B) {
	for _, outside := range []bool{false, true} {
		b.Run(fmt.Sprintf("outside=%t", outside), func(b *testing.B) {
			e := readStore(b)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				if !outside {
					for range e.Scan(storage.Range{}) {
						if n++; n == b.N {
							break
						}
					}
					continue
				}
				s, err := e.Snapshot()
				require.NoError(b, err)
				for rows := s.Rows(storage.Range{}); n < b.N; n++ {
					_, ok, err := rows.Next()
					if err != nil {
						b.Fatal(err)
					}
					if !ok {
						break
					}
				}
				s.Close()
			}
		})
	}
}

// BenchmarkPutBesideReaders is a Put of the owner, with a commit every 10,000, while nobody reads, while
// a goroutine looks rows up as fast as it can, and while one scans as fast as it can. The rows that the
// readers have read are beside it, and the CPU of the owner's thread: other processes do not count.
func BenchmarkPutBesideReaders(b *testing.B) {
	for _, readers := range []string{"none", "gets", "scans"} {
		b.Run(readers, func(b *testing.B) {
			e := readStore(b)
			var stop atomic.Bool
			var rows atomic.Int64
			var wait sync.WaitGroup
			if readers != "none" {
				wait.Go(func() { readUntil(e, readers == "scans", &stop, &rows) })
			}
			key, value := make([]byte, 16), make([]byte, 100)
			b.ReportAllocs()
			n := uint64(0)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			cpu := threadTime()
			for b.Loop() {
				n++
				binary.BigEndian.PutUint64(value, n)
				benchKey(key, n*7919%readRows)
				if err := e.Put(key, value, 3); err != nil {
					b.Fatal(err)
				}
				if n%10_000 == 0 {
					commit(b, e, int64(n))
				}
			}
			stop.Store(true)
			wait.Wait()
			b.ReportMetric(float64(rows.Load())/float64(n), "rows-read/op")
			b.ReportMetric(float64((threadTime()-cpu).Nanoseconds())/float64(n), "owner-ns-CPU/op")
		})
	}
}

func readUntil(e *lsm.Engine, scan bool, stop *atomic.Bool, rows *atomic.Int64) {
	key, buf := make([]byte, 16), make([]byte, 0, 128)
	for n := uint64(0); !stop.Load(); n++ {
		s, err := e.Snapshot()
		if err != nil {
			return
		}
		if !scan {
			benchKey(key, n*7919%readRows)
			_, _, _, _ = s.AppendTo(buf, key)
			rows.Add(1)
		}
		for reader := s.Rows(storage.Range{}); scan && !stop.Load(); rows.Add(1) {
			if _, ok, err := reader.Next(); !ok || err != nil {
				break
			}
		}
		s.Close()
	}
}
