package statedir_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/internal/storage"
)

// What nobody has used for long goes, if it is of no use; what is open, or young, or needed, stays.
func TestRemoveUnused(t *testing.T) {
	root := t.TempDir()
	d := open(t, root)
	name := func(p int32) statedir.Name { return statedir.Name{Store: "counts", Partition: p} }
	for p := range int32(4) {
		put(t, borrow(t, d, name(p), statedir.OnDisk), "k", 1)
		require.NoError(t, d.Release(name(p), true, start))
	}
	require.NoError(t, d.Close(true))
	d = open(t, root)
	now := time.Now()
	for p, used := range map[string]time.Time{"0": now.Add(-25 * time.Hour), "1": now.Add(-25 * time.Hour), "2": now, "3": now.Add(-25 * time.Hour)} {
		require.NoError(t, os.Chtimes(filepath.Join(d.Path(), "counts", p), used, used))
	}
	borrow(t, d, name(1), statedir.OnDisk) // in use
	removed, rest, err := d.RemoveUnused(now.Add(-24*time.Hour), func(n statedir.Name) bool { return n.Partition != 3 })
	require.NoError(t, err)
	assert.Equal(t, []statedir.Name{name(3)}, rest)
	assert.Equal(t, []statedir.Name{name(0)}, removed)
	names, err := d.List()
	require.NoError(t, err)
	assert.ElementsMatch(t, []statedir.Name{name(1), name(2), name(3)}, names)
	require.NoError(t, d.Release(name(1), true, start))
	assert.False(t, has(t, borrow(t, d, name(0), statedir.OnDisk), "k"), "it begins empty")
	require.NoError(t, d.Release(name(0), true, start))
}

// A store is known by where its changelog stands, in memory or in its files, as long as nobody uses it; after work that was not
// settled only by its files.
func TestPositions(t *testing.T) {
	root := t.TempDir()
	d := open(t, root)
	n := statedir.Name{Store: "counts"}
	at := func() int64 {
		all, err := d.Positions()
		require.NoError(t, err)
		if c, ok := all[n]; ok {
			return c.Offset
		}
		return -1
	}
	assert.EqualValues(t, -1, at())
	e := borrow(t, d, n, statedir.OnDisk)
	put(t, e, "k", 7)
	require.NoError(t, e.Flush(true))
	put(t, e, "k", 9)
	assert.EqualValues(t, -1, at(), "it is in use")
	require.NoError(t, d.ReleaseSettled(n, false, start))
	assert.EqualValues(t, 9, at())
	e = borrow(t, d, n, statedir.OnDisk)
	position, ok := e.Position()
	assert.True(t, ok)
	assert.EqualValues(t, 9, position.Offset)
	require.NoError(t, e.Flush(true))
	put(t, e, "k", 12)
	e.ForgetPosition()
	position, _ = e.Position()
	assert.EqualValues(t, 9, position.Offset, "what is only in memory is not trusted")
	put(t, e, "k", 14)
	require.NoError(t, d.ReleaseSettled(n, false, start))
	require.NoError(t, d.Close(true))
	d = open(t, root)
	assert.EqualValues(t, 14, at(), "of a closed store")

	memory := statedir.Name{Store: "memory"}
	for _, stays := range []bool{true, false} {
		e = borrow(t, d, memory, statedir.InMemory)
		require.NoError(t, e.Restore([]storage.Change{{Key: []byte("k"), Value: []byte("v")}}, storage.Checkpoint{Offset: 3}))
		require.NoError(t, d.ReleaseSettled(memory, stays, start))
		e = borrow(t, d, memory, statedir.InMemory)
		assert.Equal(t, stays, has(t, e, "k"))
		require.NoError(t, d.Release(memory, false, start))
	}
}

// A task that wants a store while the directory closes it, as an idle one, waits for that.
func TestAcquire_WhileIdleStoresAreClosed(t *testing.T) {
	d := open(t, t.TempDir())
	n := statedir.Name{Store: "counts"}
	var closing sync.WaitGroup
	for range 100 {
		put(t, borrow(t, d, n, statedir.OnDisk), "k", 1)
		require.NoError(t, d.Release(n, true, start))
		closing.Go(func() { _ = d.CloseIdle(start.Add(statedir.IdleTime)) })
		assert.True(t, has(t, borrow(t, d, n, statedir.OnDisk), "k"))
		require.NoError(t, d.Release(n, true, start))
		closing.Wait()
	}
}
