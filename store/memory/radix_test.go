package memory

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// tableOf returns a table of n random keys of up to most bytes, many of which share their beginnings.
func tableOf(t testing.TB, rnd *rand.Rand, n, most int) *Table {
	x := NewTable(NewBudget(1<<30).Open(false), 1, false)
	for range n {
		key := binary.BigEndian.AppendUint64([]byte("lead"), rnd.Uint64()>>rnd.IntN(64))
		require.NoError(t, x.Put(key[:rnd.IntN(min(most, len(key)))+1], []byte("v"), 1))
	}
	return x
}

func TestOrderOfAnyKeys(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for _, n := range []int{1, radixFrom - 1, radixFrom, 20_000} {
		for _, most := range []int{3, 8, 12} {
			x := tableOf(t, rnd, n, most)
			o := x.inOrder()
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
			require.Equal(t, x.Entries(), seen)
			x.Release()
		}
	}
}

func BenchmarkOrder(b *testing.B) {
	const n = 100_000
	x := tableOf(b, rand.New(rand.NewPCG(1, 2)), n, 12)
	defer x.Release()
	for b.Loop() {
		o := &order{t: x, arena: arena{account: x.arena.account}}
		o.build()
		o.arena.drop()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(x.Entries()), "ns/entry")
}
