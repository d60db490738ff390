package memtable

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

// BenchmarkLock measures what it costs a Put that other goroutines may read the table while nobody
// does. Rounds with and without the lock alternate, and the fastest of each counts: other processes
// of the machine only make a round slower.
func BenchmarkLock(b *testing.B) {
	tables := [2]*Table{}
	for i := range tables {
		tables[i] = NewTable(NewBudget(0).Open(true), 1, true)
		defer tables[i].Release()
	}
	tables[1].Share(&Snapshots{})
	key, value := make([]byte, 16), make([]byte, 100)
	const round = 2000
	var fastest [2]time.Duration
	for b.Loop() {
		for i, t := range tables {
			start := time.Now()
			for n := range round {
				binary.BigEndian.PutUint64(key, uint64(n%100)*0x9e3779b97f4a7c15)
				_ = t.Put(key, value, 1)
			}
			if took := time.Since(start); fastest[i] == 0 || took < fastest[i] {
				fastest[i] = took
			}
		}
	}
	for i, name := range []string{"without", "with"} {
		b.ReportMetric(float64(fastest[i].Nanoseconds())/round, fmt.Sprintf("ns/Put-%s", name))
	}
}
