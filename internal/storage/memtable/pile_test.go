package memtable

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
)

// loadedRow is what a table should have of a key; no value: a deletion.
type loadedRow struct {
	value []byte
	time  int64
}

// loader loads rows into a table and knows what it should have.
type loader struct {
	table *Table
	want  map[string]loadedRow
	n     int64
}

func newLoader(t *testing.T, budget *Budget, series storage.Series) *loader {
	account := budget.Open(false)
	l := &loader{table: NewTable(account, 1, false), want: map[string]loadedRow{}}
	l.table.IndexSeries(series)
	t.Cleanup(func() {
		l.table.Release()
		require.Zero(t, account.Used())
	})
	return l
}

func (l *loader) load(t *testing.T, key, value []byte) {
	l.n++
	require.NoError(t, l.table.Load(key, value, l.n))
	l.want[string(key)] = loadedRow{bytes.Clone(value), l.n}
}

func (l *loader) keys() []string { return slices.Sorted(maps.Keys(l.want)) }

func (l *loader) requireRow(t *testing.T, key string, row Row) {
	want := l.want[key]
	require.Equal(t, want.time, row.Time(), "the newest row of %x", key)
	require.Equal(t, want.value == nil, row.State == Deleted)
	require.True(t, bytes.Equal(want.value, row.Value()))
}

// requireWalk walks over the table, which has to have each key once, in order. each is called at every row.
func (l *loader) requireWalk(t *testing.T, w *Walk, each func(i int)) {
	keys := l.keys()
	for i, key := range keys {
		each(i)
		require.True(t, w.Valid(), "%d of %d rows", i, len(keys))
		require.Equal(t, key, string(w.Key()))
		l.requireRow(t, key, w.Row())
		w.Next()
	}
	require.False(t, w.Valid())
}

// requireReads looks all rows up, and scans them.
func (l *loader) requireReads(t *testing.T) {
	for key := range l.want {
		l.requireRow(t, key, l.table.Get([]byte(key)))
	}
	require.Equal(t, Absent, l.table.Get([]byte("none")).State)
	require.Equal(t, len(l.want), l.table.Entries())
	l.requireCursor(t)
}

func (l *loader) requireCursor(t *testing.T) {
	c := l.table.Cursor()
	c.Start(storage.Range{})
	for _, key := range l.keys() {
		require.True(t, c.Valid())
		require.Equal(t, key, string(c.Key()))
		l.requireRow(t, key, c.Row())
		c.Next()
	}
	require.False(t, c.Valid())
}

func never(int) {}

// loadedKeys are kinds of keys, in the orders in which they come.
func loadedKeys(rnd *rand.Rand) map[string]func(i int) []byte {
	return map[string]func(i int) []byte{
		"any":             func(int) []byte { return binary.BigEndian.AppendUint64(nil, rnd.Uint64()) },
		"ascending":       func(i int) []byte { return fmt.Appendf(nil, "key %08d", i) },
		"descending":      func(i int) []byte { return fmt.Appendf(nil, "key %08d", 1_000_000-i) },
		"few":             func(int) []byte { return fmt.Appendf(nil, "%0100d", rnd.IntN(500)) },
		"some again":      func(i int) []byte { return fmt.Appendf(nil, "user-%d", rnd.IntN(6*i+10)) },
		"of any length":   func(int) []byte { return bytes.Repeat([]byte{byte(rnd.IntN(3))}, rnd.IntN(3000)) },
		"one among lead":  func(i int) []byte { return fmt.Appendf(nil, "%s%d", []string{"", "lead"}[min(1, i%5000)], i) },
		"clustered":       func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)<<(rnd.IntN(2)*40)) },
		"of other kinds":  func(i int) []byte { return append([]byte{byte(i / 4000)}, fmt.Append(nil, rnd.Uint64())...) },
		"ending in zeros": func(i int) []byte { return append(fmt.Append(nil, i/9%3000), make([]byte, i%9)...) },
	}
}

func loadedValue(rnd *rand.Rand) []byte {
	switch n := rnd.IntN(100); {
	case n < 10:
		return nil
	case n < 12:
		return make([]byte, rnd.IntN(5000))
	case n == 12:
		return make([]byte, largeFrom+rnd.IntN(5000))
	}
	return binary.BigEndian.AppendUint64(nil, rnd.Uint64())
}

// TestLoad_Oracle loads rows as a restore does, some of them of keys that came before, and compares what a walk and
// reads find with the newest row of each key. The walk is begun before anything is read, and goes on afterwards.
func TestLoad_Oracle(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for name, key := range loadedKeys(rnd) {
		for _, n := range []int{1, 100, splitAt, 12_000} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				l := newLoader(t, NewBudget(1<<30), storage.Series{})
				for i := range n {
					l.load(t, key(i), loadedValue(rnd))
				}
				l.requireWalk(t, l.table.Walk(false), never)
				readAt := rnd.IntN(n)
				l.requireWalk(t, l.table.Walk(false), func(i int) {
					if i == readAt {
						l.requireReads(t)
					}
				})
				l.requireReads(t)
				for i := range 100 {
					l.load(t, key(n+i), loadedValue(rnd))
				}
				l.requireReads(t)
				l.requireWalk(t, l.table.Walk(false), never)
			})
		}
	}
}

// TestLoad_AfterOtherCalls loads rows into tables that were scanned, written or emptied before.
func TestLoad_AfterOtherCalls(t *testing.T) {
	for name, before := range map[string]func(*loader){
		"scanned": func(l *loader) { l.requireCursor(t) },
		"read":    func(l *loader) { l.table.Get([]byte("x")) },
		"written": func(l *loader) {
			require.NoError(t, l.table.Put([]byte("x"), []byte("v"), 7))
			epoch, err := l.table.Cut(func(storage.Change) error { return nil })
			require.NoError(t, err)
			l.table.Settle(epoch)
			l.want["x"] = loadedRow{[]byte("v"), 7}
		},
		"undone": func(l *loader) {
			require.NoError(t, l.table.Put([]byte("x"), []byte("v"), 7))
			l.table.Undo()
		},
		"released": func(l *loader) {
			l.load(t, []byte("gone"), []byte("v"))
			l.table.Release()
			clear(l.want)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoader(t, NewBudget(0), storage.Series{})
			before(l)
			for i := range 5000 {
				l.load(t, fmt.Append(nil, i%4500), []byte("value"))
			}
			l.requireWalk(t, l.table.Walk(false), never)
			l.requireReads(t)
		})
	}
}

// TestLoad_Series loads windows, in the order of their times and in none, and finds those of each series.
func TestLoad_Series(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	of := storage.Series{Class: 2, Tail: 8}
	for _, disorder := range []int{1, 1000} {
		l := newLoader(t, NewBudget(0), of)
		for i := range 9000 {
			key := binary.BigEndian.AppendUint16([]byte{of.Class}, uint16(rnd.IntN(50)))
			l.load(t, binary.BigEndian.AppendUint64(key, uint64(i+rnd.IntN(disorder))), loadedValue(rnd))
		}
		l.requireWalk(t, l.table.Walk(false), never)
		c := l.table.Cursor()
		seen := 0
		for s := range uint16(50) {
			prefix := binary.BigEndian.AppendUint16([]byte{of.Class}, s)
			from := binary.BigEndian.AppendUint64(slices.Clone(prefix), 0)
			to := binary.BigEndian.AppendUint64(slices.Clone(prefix), 1<<40)
			r := storage.Range{From: from, To: to, Series: len(prefix)}
			require.True(t, l.table.MayHave(r))
			for c.Start(r); c.Valid() && !r.Past(c.Key()); c.Step(r) {
				l.requireRow(t, string(c.Key()), c.Row())
				seen++
			}
		}
		require.Equal(t, len(l.want), seen)
		l.requireReads(t)
	}
}

// TestLoad_RowsOfFewKeysTakeLittleMemory loads many rows of few keys: only the newest are to be kept.
func TestLoad_RowsOfFewKeysTakeLittleMemory(t *testing.T) {
	l := newLoader(t, NewBudget(1<<30), storage.Series{})
	for i := range 300_000 {
		l.load(t, fmt.Append(nil, i%1000), make([]byte, 100))
	}
	require.Less(t, l.table.Bytes(), int64(4<<20))
	l.requireWalk(t, l.table.Walk(false), never)
	l.requireReads(t)
}

// TestLoad_ReadBesideWalk reads a table on one goroutine, and opens a snapshot of it on another, while a third
// walks over it as a flush does.
func TestLoad_ReadBesideWalk(t *testing.T) {
	testReadBesideWalk(t, 10_000)
	// The race detector sees small tables alone: the memory of large ones is not Go's.
	for range 100 {
		testReadBesideWalk(t, 30)
	}
}

func testReadBesideWalk(t *testing.T, rows int) {
	var all Snapshots
	l := newLoader(t, NewBudget(0), storage.Series{Class: 2, Tail: 8})
	l.table.Share(&all)
	for i := range rows {
		// Of all lengths: reading ahead reads one byte of 64.
		l.load(t, binary.BigEndian.AppendUint64([]byte{2, byte(i)}, uint64(i*7919%10_007)), make([]byte, i%60))
	}
	keys := l.keys()
	var wg sync.WaitGroup
	walks := make(chan struct{})
	wg.Go(func() {
		// The first part is read when the walk is made: beside who ends the pile, too.
		close(walks)
		seen := 0
		for w := l.table.Walk(false); w.Valid(); w.Next() {
			if seen++; string(w.Row().Key) != keys[seen-1] {
				t.Errorf("row %d is another one", seen)
				return
			}
		}
		if seen != len(keys) {
			t.Errorf("%d of %d rows", seen, len(keys))
		}
	})
	wg.Go(func() {
		x, err := all.Open(func() (uint64, []*Table, func()) { return 0, []*Table{l.table}, nil })
		if err != nil {
			t.Error(err)
			return
		}
		defer x.Close()
		for _, key := range keys {
			if _, state, err := x.AppendTo(nil, []byte(key)); err != nil || state != Live {
				t.Errorf("a row is %d: %v", state, err)
				return
			}
		}
	})
	<-walks
	l.table.Bytes()
	l.requireReads(t)
	wg.Wait()
}

// TestBudget_KeepFreed keeps what tables free while a restore goes on, within the limit, and not afterwards.
func TestBudget_KeepFreed(t *testing.T) {
	b := NewBudget(16 << 20)
	defer b.Close()
	pooled := func() int64 {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.pool.bytes
	}
	fill := func(value int) *Table {
		table := NewTable(b.Open(false), 1, false)
		for i := 0; table.Bytes() < 12<<20; i++ {
			require.NoError(t, table.Load(fmt.Append(nil, i), make([]byte, value), 1))
		}
		return table
	}
	fill(100).Release()
	require.LessOrEqual(t, pooled(), b.Limit()/8)
	first, second := b.KeepFreed(), b.KeepFreed()
	table := fill(100)
	held := table.Bytes()
	table.Release()
	require.GreaterOrEqual(t, pooled(), held*3/4)
	large := fill(1 << 20) // of other memory
	require.LessOrEqual(t, pooled()+b.Used(), b.Limit()+b.Limit()/8)
	large.Release()
	first()
	fill(100).Release()
	require.Greater(t, pooled(), b.Limit()/8)
	second()
	require.LessOrEqual(t, pooled(), b.Limit()/8)
}
