package memtable_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// An engine looks for a key that ReadAhead has not seen in files: it must see each that the table has,
// whatever collides with it and was removed before it.
func TestReadAhead_SeesEachEntry(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for _, onlyLevel := range []bool{false, true} {
		budget := memtable.NewBudget(0)
		table := memtable.NewTable(budget.Open(true), 1, onlyLevel)
		key := func() []byte { return fmt.Append(nil, "key ", rnd.IntN(2000)) }
		for range 3000 {
			switch rnd.IntN(5) {
			case 0:
				require.NoError(t, table.Delete(key(), 1))
			case 1:
				if rnd.IntN(200) == 0 {
					table.Undo()
				}
			default:
				require.NoError(t, table.Put(key(), make([]byte, rnd.IntN(3000)), 1))
			}
			keys := make([][]byte, 1+rnd.IntN(memtable.AheadKeys))
			for i := range keys {
				keys[i] = key()
			}
			var into [memtable.AheadKeys]uint32
			seen, _ := table.ReadAhead(memtable.HashAll(&into, keys))
			for i, k := range keys {
				if table.Get(k).State != memtable.Absent {
					require.NotZero(t, seen&(1<<i), "%q", k)
				}
			}
			require.Zero(t, seen>>len(keys))
		}
		table.Release()
		budget.Close()
	}
}

// Groups of which no sample is used are left out soon, but for some now and then.
func TestAhead_LeavesOutWhatNobodyUses(t *testing.T) {
	const groups = 100_000
	read := func(usedOf uint32) (n int) {
		var a memtable.Ahead
		for hash := range uint32(groups) {
			if a.Begin(hash + 1) {
				n++
			}
			if hash%usedOf == 0 {
				a.Use(hash + 1)
			}
		}
		return n
	}
	assert.Equal(t, groups, read(1))
	assert.Equal(t, groups, read(2))
	assert.Less(t, read(groups), groups/10)
	assert.Greater(t, read(groups), groups/100, "it must notice when it pays later")
}
