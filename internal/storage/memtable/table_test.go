package memtable_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

func none(storage.Change) error { return nil }

func TestTable_SteadyStateDoesNotAllocate(t *testing.T) {
	e := memtable.New(nil)
	t.Cleanup(func() { _ = e.Close(false) })
	const n = 10_000
	key, value := make([]byte, 16), bytes.Repeat([]byte("v"), 100)
	i := uint64(0)
	step := func() {
		i++
		binary.BigEndian.PutUint64(key, i%n*0x9e3779b97f4a7c15)
		_, _, _, _ = e.Get(key)
		_ = e.Put(key, value, int64(i))
		if i%1000 == 0 {
			epoch, _ := e.Cut(none)
			e.Settle(epoch, storage.Checkpoint{})
		}
	}
	for range 3 * n {
		step()
	}
	assert.Zero(t, testing.AllocsPerRun(5*n, step))
}

func TestTable_DeletedRowsFreeTheirMemory(t *testing.T) {
	b := memtable.NewBudget(0)
	e := memtable.New(b)
	var after int64
	for round := range 30 {
		for i := range 5000 {
			require.NoError(t, e.Put(fmt.Appendf(nil, "%d of %d", i, round), make([]byte, 50+i%50), 0))
		}
		if round > 0 {
			for i := range 5000 {
				require.NoError(t, e.Delete(fmt.Appendf(nil, "%d of %d", i, round-1), 0))
			}
		}
		epoch, err := e.Cut(none)
		require.NoError(t, err)
		e.Settle(epoch, storage.Checkpoint{})
		if round == 5 {
			after = b.Pinned()
		}
	}
	assert.LessOrEqual(t, b.Pinned(), after+1<<20)
	require.NoError(t, e.Close(false))
	assert.Zero(t, b.Pinned())
	b.Close()
}

// TestOrder_Oracle inserts and removes through epochs, in the orders that keys come in, and
// compares with a sorted list.
func TestOrder_Oracle(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for name, key := range map[string]func(i int) []byte{
		"ascending":         func(i int) []byte { return fmt.Appendf(nil, "the same start of all keys %08d", i) },
		"descending":        func(i int) []byte { return fmt.Appendf(nil, "the same start of all keys %08d", 1_000_000-i) },
		"random":            func(int) []byte { return binary.BigEndian.AppendUint64(nil, rnd.Uint64()) },
		"random with lead":  func(int) []byte { return fmt.Appendf(nil, "user-%d", rnd.Uint64()) },
		"few and clustered": func(i int) []byte { return fmt.Appendf(nil, "%0200d", rnd.IntN(2000)) },
	} {
		t.Run(name, func(t *testing.T) {
			e := memtable.New(nil)
			defer e.Close(false)
			all := map[string]bool{}
			for i := range 20_000 {
				k := key(i)
				require.NoError(t, e.Put(k, []byte{}, 0))
				all[string(k)] = true
				if i == 300 { // in order from here on
					for range e.Scan(storage.Range{}) {
						break
					}
				}
				if i%3 == 0 {
					for k := range all {
						require.NoError(t, e.Delete([]byte(k), 0))
						delete(all, k)
						break
					}
				}
				if i%500 == 0 {
					epoch, err := e.Cut(none)
					require.NoError(t, err)
					e.Settle(epoch, storage.Checkpoint{})
				}
			}
			want := []string{}
			for k := range all {
				want = append(want, k)
			}
			slices.Sort(want)
			got := []string{}
			for row := range e.Scan(storage.Range{}) {
				got = append(got, string(row.Key))
			}
			require.Equal(t, want, got)
			for i := 0; i < len(want); i += 97 {
				for row := range e.Scan(storage.Range{To: []byte(want[i]), ToBefore: true, Backward: true}) {
					require.Equal(t, want[i-1], string(row.Key))
					break
				}
			}
		})
	}
}

func TestTable_EpochNumbersPastThirtyTwoBits(t *testing.T) {
	b := memtable.NewBudget(0)
	table := memtable.NewTable(b.Open(true), 1<<32-3, true)
	defer table.Release()
	for i := range 8 {
		require.NoError(t, table.Put([]byte("a"), []byte{byte(i)}, 0))
		_, err := table.Cut(none)
		require.NoError(t, err)
		require.NoError(t, table.Put([]byte("a"), []byte("undone"), 0))
		table.Undo()
		if i == 0 {
			require.Equal(t, memtable.Absent, table.Get([]byte("a")).State)
			continue
		}
		require.NoError(t, table.Put([]byte("a"), []byte{byte(i)}, 0))
		epoch, err := table.Cut(none)
		require.NoError(t, err)
		table.Settle(epoch)
		require.Equal(t, []byte{byte(i)}, table.Get([]byte("a")).Value())
	}
}

func TestBudget_AsksTheLargestStore(t *testing.T) {
	b := memtable.NewBudget(4 << 20)
	small, large := b.Open(false), b.Open(false)
	asked := ""
	small.OnPressure(func() { asked += "small " })
	large.OnPressure(func() { asked += "large " })
	s, l := memtable.NewTable(small, 1, false), memtable.NewTable(large, 1, false)
	for i := range 25_000 {
		require.NoError(t, l.Put(fmt.Append(nil, i), make([]byte, 150), 0))
	}
	for i := range 5000 {
		require.NoError(t, s.Put(fmt.Append(nil, i), make([]byte, 20), 0))
	}
	assert.Equal(t, "large ", asked, "once, until it has been answered")
	assert.True(t, b.Pressing())
	assert.True(t, large.Asked())
	assert.False(t, large.Asked())
	require.True(t, b.Full())
	room := b.Room()
	select {
	case <-room:
		t.Fatal("there is no room yet")
	default:
	}
	l.Release()
	s.Release()
	<-room
	<-b.Room()
	assert.Zero(t, b.Used())
}
