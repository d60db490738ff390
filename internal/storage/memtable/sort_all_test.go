package memtable

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSortAll_AnyKeys sorts keys of many kinds, and compares with a sort of the keys themselves.
func TestSortAll_AnyKeys(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	kinds := loadedKeys(rnd)
	// Bytes that differ so seldom that no sample shows it, in front of those that differ often and behind them.
	kinds["seldom in front"] = func(i int) []byte {
		return binary.BigEndian.AppendUint64([]byte{byte(max(0, rnd.IntN(3000)-2997)), 7}, uint64(rnd.IntN(1<<20)))
	}
	kinds["seldom shorter"] = func(i int) []byte {
		key := binary.BigEndian.AppendUint64([]byte("of all"), uint64(rnd.IntN(1<<20)))
		return key[:len(key)-max(0, rnd.IntN(3000)-2990)]
	}
	kinds["windows"] = func(i int) []byte {
		key := []byte{2, 0x80, 0, 0, 0, 0, 0, 3, byte(rnd.IntN(2))}
		for _, c := range binary.BigEndian.AppendUint64(nil, uint64(rnd.IntN(1<<18))) {
			if key = append(key, c); c == 0 {
				key = append(key, 0xff)
			}
		}
		return binary.BigEndian.AppendUint64(append(key, 0, 0), uint64(rnd.IntN(3)))
	}
	for name, key := range kinds {
		for _, n := range []int{1, radixFrom - 1, 3 * radixFrom, 20_000} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				table := NewTable(NewBudget(1<<30).Open(false), 1, false)
				defer table.Release()
				var want [][]byte
				for i := range n {
					k := key(i)
					require.NoError(t, table.Put(k, []byte("v"), 1))
					want = append(want, k)
				}
				slices.SortFunc(want, bytes.Compare)
				want = slices.CompactFunc(want, bytes.Equal)
				i := 0
				for w := table.Walk(false); w.Valid(); w.Next() {
					require.Less(t, i, len(want))
					require.Equal(t, want[i], w.Key())
					require.Equal(t, want[i], w.Row().Key)
					i++
				}
				assert.Equal(t, len(want), i)
				assert.Nil(t, table.order.Load(), "a walk needs no order")
			})
		}
	}
}

// TestKeyDigits_Ascend compares the numbers of pairs of keys with the keys.
func TestKeyDigits_Ascend(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		var keys [][]byte
		for range 2 + rnd.IntN(40) {
			key := make([]byte, rnd.IntN(80))
			for i := range key {
				key[i] = byte(max(0, rnd.IntN(20)-17))
			}
			keys = append(keys, key)
		}
		d := digitsFor(keys[:1+rnd.IntN(len(keys))])
		slices.SortFunc(keys, bytes.Compare)
		last := uint64(0)
		for _, key := range keys {
			if digits, ok := d.of(key); ok {
				require.LessOrEqual(t, last, digits, "%x of %v", key, d.at)
				last = digits
			}
		}
	}
}

// BenchmarkSortAll_Windows is BenchmarkOrder_Windows for a walk.
func BenchmarkSortAll_Windows(b *testing.B) {
	table := tableOfWindows(b)
	defer table.Release()
	for b.Loop() {
		table.sortAll()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(table.Entries()), "ns/entry")
}

func BenchmarkSortAll(b *testing.B) {
	table := tableOf(b, rand.New(rand.NewPCG(1, 2)), 100_000, 12)
	defer table.Release()
	for b.Loop() {
		table.sortAll()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(table.Entries()), "ns/entry")
}
