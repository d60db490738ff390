package lsm_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/storagetest"
)

// TestFlush_OneThatFailsIsRepeated has a file where the store's directory should be, in virtual time.
func TestFlush_OneThatFailsIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "store")
		attempts := 0
		budget := memtable.NewBudget(0)
		e := open(t, lsm.Options{Path: filepath.Join(dir, "0"), NoSync: true, Budget: budget, OnFlush: func(lsm.FlushInfo) { attempts++ }})
		require.NoError(t, os.WriteFile(dir, nil, 0o600))
		putRows(t, e, 0, 100, "value")
		settle(t, e, 1)
		_ = e.Flush(false) // it says so if the first attempt has failed already
		synctest.Wait()
		require.Error(t, e.Healthy())
		require.Equal(t, 1, attempts)
		require.Error(t, e.Flush(true), "a flush that is waited for is tried at once")
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Greater(t, attempts, 8)
		assert.Less(t, attempts, 20, "less and less often")
		_, _, ok, err := e.Get([]byte("key 000007"))
		require.NoError(t, err)
		assert.True(t, ok)
		_, ok = e.Checkpoint()
		assert.False(t, ok)

		require.NoError(t, os.Remove(dir))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.NoError(t, e.Healthy())
		c, ok := e.Checkpoint()
		assert.True(t, ok)
		assert.EqualValues(t, 1, c.Offset)
		e.Trim()
		assert.Less(t, budget.Used(), int64(8<<10), "what is on disk need not be in memory")
		require.NoError(t, e.Close(false))
	})
}

// TestMerge_OneThatFailsIsRepeated has a directory in the place of each new root, so that neither merges nor
// flushes are listed. What was listed is read meanwhile, and files that no root lists do not pile up.
func TestMerge_OneThatFailsIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := tiny(pathIn(t))
		o.Factor = 2
		failed, merged := 0, 0
		o.OnMerge = func(m lsm.MergeInfo) {
			assert.Equal(t, o.Path, m.Path)
			switch m.Event {
			case lsm.MergeFails:
				failed++
			case lsm.MergeEnds:
				merged++
			default:
			}
		}
		inTheWay, begun := filepath.Join(o.Path, "root.new"), false
		o.Hook = func(p crashpoint.Point) {
			if p == crashpoint.MergeBegin && !begun {
				begun = os.MkdirAll(filepath.Join(inTheWay, "full"), 0o700) == nil
			}
		}
		e := open(t, o)
		for i := 0; !begun; i++ {
			flush(t, e, 2, 100*i, 100*i+200, "value")
			synctest.Wait()
		}
		require.Error(t, e.Healthy())
		n, err := e.Len()
		require.NoError(t, err)
		files := runFiles(t, o.Path)
		putRows(t, e, 0, 100, "another value")
		settle(t, e, 3)
		require.Error(t, e.Flush(true))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Error(t, e.Healthy())
		assert.Equal(t, files, runFiles(t, o.Path))
		assert.Greater(t, failed, 8)
		assert.Less(t, failed, 20, "less and less often")
		assert.Zero(t, merged)
		again, err := e.Len()
		require.NoError(t, err)
		assert.Equal(t, n, again)
		c, _ := e.Checkpoint()
		assert.EqualValues(t, 2, c.Offset)

		require.NoError(t, os.RemoveAll(inTheWay))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		assert.NoError(t, e.Healthy())
		assert.Positive(t, merged)
		c, _ = e.Checkpoint()
		assert.EqualValues(t, 3, c.Offset)
		require.NoError(t, e.Close(false))
		e = open(t, o)
		again, err = e.Len()
		require.NoError(t, err)
		assert.Equal(t, n, again)
		require.NoError(t, e.Close(false))
	})
}

func TestCheckpoint_OfSeveralPartitions(t *testing.T) {
	o := lsm.Options{Path: pathIn(t), NoSync: true}
	e := open(t, o)
	for _, offsets := range [][]int64{{3, 0, 4}, {3, 1, 4, 2}, {}} {
		want := storagetest.Checkpoint(7)
		want.Offsets = offsets
		require.NoError(t, e.Put([]byte("a"), []byte("1"), 0))
		epoch, err := e.Cut(func(storage.Change) error { return nil })
		require.NoError(t, err)
		e.Settle(epoch, want)
		require.NoError(t, e.Close(true))
		e = open(t, o)
		c, ok := e.Checkpoint()
		assert.True(t, ok)
		assert.Equal(t, want, c)
	}
	require.NoError(t, e.Close(false))
}
