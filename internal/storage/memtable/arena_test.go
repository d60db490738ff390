package memtable

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestArena_ManyLargeBlocks has more large blocks than chunks have numbers: they have numbers of their own, so that a store
// of values of 100 KB may be as large as one of small values. Nothing is written to most of them, so they take no memory.
func TestArena_ManyLargeBlocks(t *testing.T) {
	budget := NewBudget(0)
	defer budget.Close()
	a := arena{account: budget.Open(true)}
	defer a.account.Close()
	const blocks = chunkLimit + 1000
	refs, size := make([]ref, blocks), 0
	for i := range refs {
		refs[i], size = a.alloc(largeFrom + 1)
		require.False(t, a.nearLimit(), "after %d blocks", i)
	}
	small, n := a.alloc(100)
	copy(a.bytes(small), "small")
	for i := 0; i < blocks; i += 1000 {
		le.PutUint32(a.bytes(refs[i]), uint32(i))
	}
	for i := 0; i < blocks; i += 1000 {
		require.Equal(t, uint32(i), le.Uint32(a.bytes(refs[i])))
		require.Len(t, a.bytes(refs[i]), size)
	}
	require.Equal(t, "small", string(a.bytes(small)[:5]))
	a.release(refs[7], size)
	again, _ := a.alloc(largeFrom + 1)
	require.Equal(t, refs[7], again, "the number is used again")
	a.release(small, n)
	a.drop()
	require.Zero(t, a.used.Load())
	require.Zero(t, a.account.Used())
}
