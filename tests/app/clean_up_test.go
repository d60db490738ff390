package app_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver/broker"
)

// storesOnDisk returns the directories of the store partitions of an App, and when they were used last.
func storesOnDisk(t *testing.T, stateDir string) map[string]time.Time {
	t.Helper()
	out := map[string]time.Time{}
	roots, err := filepath.Glob(filepath.Join(stateDir, "app", "*", "*", "root"))
	require.NoError(t, err)
	for _, root := range roots {
		info, err := os.Stat(filepath.Dir(root))
		require.NoError(t, err)
		out[filepath.Dir(root)] = info.ModTime()
	}
	return out
}

// Files that were written when their task had left, after the last rebalance, go a day later all the same: their member asks for another
// one. Nothing stops for that, and nothing else goes.
func TestCleanUp_FilesWrittenAfterTheLastRebalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		top := simple(t)
		cfg := config(t, b)
		log := logTo(&cfg)
		first := start(t, top, cfg)
		write(t, b, "in", 0, 100)
		time.Sleep(5 * time.Second)
		require.Len(t, first.Tasks(), 2)
		second := start(t, top, config(t, b))
		time.Sleep(20 * time.Second)
		require.Len(t, first.Tasks(), 1)
		require.Len(t, second.Tasks(), 1)
		assignments := func() int { return len(log.lines("millstream: assigned")) }
		before := assignments()
		id := second.Tasks()[0].ID
		moved := filepath.Join(cfg.StateDir, "app", "counts", id[len(id)-1:])
		time.Sleep(12 * time.Minute)
		used, ok := storesOnDisk(t, cfg.StateDir)[moved]
		require.True(t, ok, "its files were written when it was closed")
		time.Sleep(2 * time.Hour)
		assert.Contains(t, storesOnDisk(t, cfg.StateDir), moved, "a day has not passed")
		assert.Equal(t, before, assignments(), "nothing was asked")
		old := used.Add(-25 * time.Hour)
		require.NoError(t, os.Chtimes(moved, old, old))
		time.Sleep(3 * time.Minute)
		assert.NotContains(t, storesOnDisk(t, cfg.StateDir), moved)
		assert.Equal(t, before+1, assignments())
		assert.Len(t, log.lines("the files of a store were removed"), 1)
		assert.Len(t, log.lines("revoked=0"), before, "only the task that moved was revoked")
		require.Len(t, first.Tasks(), 1)
		time.Sleep(time.Hour)
		assert.Equal(t, before+1, assignments(), "there is nothing more to ask")
		write(t, b, "in", 0, 100)
		time.Sleep(5 * time.Second)
		second.stop()
		first.stop()
		for word, n := range latest(t, b, "counts") {
			assert.EqualValues(t, 2, n, word)
		}
	})
}
