package memtable_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

const benchRows = 1_000_000

// BenchmarkReadModifyWrite reads, changes and writes rows of 100 bytes under a million keys of 16,
// with a cut that settles every 100,000 operations; each row alone, and with groups of keys that are read
// ahead.
func BenchmarkReadModifyWrite(b *testing.B) {
	for _, ahead := range []bool{false, true} {
		b.Run(fmt.Sprint("ahead ", ahead), func(b *testing.B) { readModifyWrite(b, ahead) })
	}
}

func readModifyWrite(b *testing.B, ahead bool) {
	e := filled(b)
	rnd := rand.New(rand.NewPCG(1, 2))
	keys, value := make([][]byte, 16), make([]byte, 100)
	for i := range keys {
		keys[i] = make([]byte, 16)
	}
	ops := 0
	b.ReportAllocs()
	for b.Loop() {
		if ops%len(keys) == 0 {
			for _, key := range keys {
				keyOf(key, rnd.Uint64N(benchRows))
			}
			if ahead {
				e.ReadAhead(keys)
			}
		}
		key := keys[ops%len(keys)]
		v, ts, _, _ := e.Get(key)
		copy(value, v)
		binary.BigEndian.PutUint64(value, binary.BigEndian.Uint64(value)+1)
		if err := e.Put(key, value, ts+1); err != nil {
			b.Fatal(err)
		}
		if ops++; ops%100_000 == 0 {
			epoch, _ := e.Cut(func(storage.Change) error { return nil })
			e.Settle(epoch, storage.Checkpoint{})
		}
	}
}

// BenchmarkPutHot writes rows of a thousand that stay in the processor's cache: what a Put costs
// besides memory.
func BenchmarkPutHot(b *testing.B) {
	e := memtable.New(nil)
	b.Cleanup(func() { _ = e.Close(false) })
	key, value := make([]byte, 16), make([]byte, 100)
	ops := 0
	b.ReportAllocs()
	for b.Loop() {
		keyOf(key, uint64(ops%1000))
		if err := e.Put(key, value, 1); err != nil {
			b.Fatal(err)
		}
		if ops++; ops%100_000 == 0 {
			epoch, _ := e.Cut(func(storage.Change) error { return nil })
			e.Settle(epoch, storage.Checkpoint{})
		}
	}
}

// BenchmarkGet reads random rows of a million.
func BenchmarkGet(b *testing.B) {
	e := filled(b)
	rnd := rand.New(rand.NewPCG(1, 2))
	key := make([]byte, 16)
	b.ReportAllocs()
	for b.Loop() {
		keyOf(key, rnd.Uint64N(benchRows))
		if _, _, ok, _ := e.Get(key); !ok {
			b.Fatal("a row is missing")
		}
	}
}

// BenchmarkScan visits the rows of a million in order; an operation is a row.
func BenchmarkScan(b *testing.B) {
	e := filled(b)
	for range e.Scan(storage.Range{}) {
		break // puts the rows in order
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		for range e.Scan(storage.Range{}) {
			if n++; n == b.N {
				break
			}
		}
	}
}

// BenchmarkInsertInOrder puts new keys into a store that has been scanned.
func BenchmarkInsertInOrder(b *testing.B) {
	e := filled(b)
	for range e.Scan(storage.Range{}) {
		break
	}
	key, n := make([]byte, 16), uint64(benchRows)
	b.ReportAllocs()
	for b.Loop() {
		n++
		keyOf(key, n)
		if err := e.Put(key, key, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func keyOf(key []byte, n uint64) {
	binary.BigEndian.PutUint64(key, n*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(key[8:], n)
}

func filled(b *testing.B) *memtable.Engine {
	budget := memtable.NewBudget(0)
	e := memtable.New(budget)
	b.Cleanup(func() { _ = e.Close(false); budget.Close() })
	key, value := make([]byte, 16), make([]byte, 100)
	for n := range uint64(benchRows) {
		keyOf(key, n)
		if err := e.Restore([]storage.Change{{Key: key, Value: value}}, storage.Checkpoint{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(budget.Pinned())/benchRows, "B/row")
	return e
}
