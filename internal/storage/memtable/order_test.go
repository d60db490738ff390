package memtable

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// tableOf returns a table of n random keys of up to most bytes, many of which share their
// beginnings.
func tableOf(t testing.TB, rnd *rand.Rand, n, most int) *Table {
	table := NewTable(NewBudget(1<<30).Open(false), 1, false)
	for range n {
		key := binary.BigEndian.AppendUint64([]byte("lead"), rnd.Uint64()>>rnd.IntN(64))
		require.NoError(t, table.Put(key[:rnd.IntN(min(most, len(key)))+1], []byte("v"), 1))
	}
	return table
}

func TestOrder_AnyKeys(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for _, n := range []int{1, radixFrom - 1, radixFrom, 20_000} {
		for _, most := range []int{3, 8, 12} {
			table := tableOf(t, rnd, n, most)
			o := table.inOrder()
			last, seen := []byte(nil), 0
			for i := range o.leaves {
				l := o.leaf(i)
				for j := range l.len() {
					key := o.key(l.ref(j))
					if seen > 0 {
						require.Negative(t, slices.Compare(last, key))
					}
					last, seen = key, seen+1
				}
			}
			require.Equal(t, table.Entries(), seen)
			table.Release()
		}
	}
}

// Keys whose first differences lie behind any number of prefixes, ends of other keys and zeros among
// them, are sorted by what follows.
func TestSortByKey_DeepTies(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 20 {
		var keys [][]byte
		parts := 1 + rnd.IntN(5)
		for range 5000 {
			var key []byte
			for range 1 + rnd.IntN(parts) {
				key = append(key, make([]byte, rnd.IntN(20))...)
				key = append(key, byte(rnd.IntN(3)))
			}
			keys = append(keys, binary.BigEndian.AppendUint16(key, uint16(rnd.IntN(2000))))
		}
		slices.SortFunc(keys, bytes.Compare)
		keys = slices.CompactFunc(keys, bytes.Equal)
		all := make([]sortEntry, len(keys))
		for i, at := range rnd.Perm(len(keys)) {
			all[i] = sortEntry{digitsOf(keys[at]), ref(at)}
		}
		sortByKey(all, func(r ref) []byte { return keys[r] })
		for i, e := range all {
			require.Equal(t, ref(i), e.ref)
			require.Equal(t, digitsOf(keys[i]), e.prefix, "the prefix is as before")
		}
	}
}

// tableOfWindows returns a table of keys as a store of windows has them: those of a segment have one prefix.
func tableOfWindows(b *testing.B) *Table {
	table := NewTable(NewBudget(1<<30).Open(false), 1, false)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		key := append([]byte{2, 0x80, 0, 0, 0, 0, 0, 3, byte(rnd.IntN(2))}, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255)
		key = binary.BigEndian.AppendUint32(key, rnd.Uint32N(1_000_000))
		require.NoError(b, table.Put(binary.BigEndian.AppendUint64(key, 1_700_000_000_000), []byte("v"), 1))
	}
	return table
}

// BenchmarkOrder_Windows sorts keys as a store of windows has them.
func BenchmarkOrder_Windows(b *testing.B) {
	table := tableOfWindows(b)
	defer table.Release()
	for b.Loop() {
		o := &order{table: table, arena: arena{account: table.arena.account}}
		o.build()
		o.arena.drop()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(table.Entries()), "ns/entry")
}

func BenchmarkOrder(b *testing.B) {
	const n = 100_000
	table := tableOf(b, rand.New(rand.NewPCG(1, 2)), n, 12)
	defer table.Release()
	for b.Loop() {
		o := &order{table: table, arena: arena{account: table.arena.account}}
		o.build()
		o.arena.drop()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(table.Entries()), "ns/entry")
}
