package bolt_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/store/bolt"
	"github.com/millstream-go/millstream/store/memory"
)

// TestFailingFlushesAreRepeated has a file where the store's directory should be, in virtual time.
func TestFailingFlushesAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "store")
		attempts := 0
		budget := memory.NewBudget(0)
		e := open(t, bolt.Options{Path: filepath.Join(dir, "0.db"), NoSync: true, Budget: budget, OnFlush: func(bolt.FlushInfo) { attempts++ }})
		require.NoError(t, os.WriteFile(dir, nil, 0o600))
		putRows(t, e, 0, 100, "value")
		settle(t, e, 1)
		require.NoError(t, e.Flush(false))
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

// TestAFileThatCannotBeOpenedAgainLosesNothing takes the file away while the map has to grow.
func TestAFileThatCannotBeOpenedAgainLosesNothing(t *testing.T) {
	o := bolt.Options{Path: pathIn(t), NoSync: true, PageSize: 4096, RewriteRows: 1000}.SmallMap(128 << 10)
	e := open(t, o)
	putRows(t, e, 0, 500, "value")
	settle(t, e, 1)
	require.NoError(t, e.Flush(true))
	require.NoError(t, os.Rename(o.Path, o.Path+".elsewhere"))
	require.NoError(t, os.Mkdir(o.Path, 0o700))
	for i := 1; i < 20; i++ { // in place, until the map is full and the file is not where it was
		putRows(t, e, i*500, (i+1)*500, "a value of some bytes, so that the file grows")
		settle(t, e, int64(i))
		if e.Flush(true) != nil {
			break
		}
	}
	require.Error(t, e.Healthy())
	e.Trim()
	_, _, _, err := e.Get([]byte("key 000007"))
	assert.Error(t, err, "a row that cannot be read is not a missing row")
	require.NoError(t, os.Remove(o.Path))
	require.NoError(t, os.Rename(o.Path+".elsewhere", o.Path))
	putRows(t, e, 0, 5000, "new value") // enough for a new file
	settle(t, e, 30)
	require.NoError(t, e.Flush(true))
	n, err := e.Len()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, n, int64(5000))
	_, _, ok, err := e.Get([]byte("key 000007"))
	require.NoError(t, err)
	assert.True(t, ok)
	require.NoError(t, e.Close(true))
}
