package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/testdriver/broker"
)

// asEarlier replaces the directory of a store by files of the earlier format, of each of its partitions.
func asEarlier(t *testing.T, cfg millstream.Config, store string, partitions ...string) {
	t.Helper()
	dir := filepath.Join(cfg.StateDir, "app", store)
	for _, p := range partitions {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, p)))
		// They begin as databases of bbolt do.
		b := append(make([]byte, 16), "\xed\xda\x0c\xed\x02\x00\x00\x00\x00\x40\x00\x00"...)
		require.NoError(t, os.WriteFile(filepath.Join(dir, p+".db"), append(b, make([]byte, 64<<10)...), 0o600))
	}
}

// An update to this format restores what the changelogs have. It is said once for each store.
func TestEarlierFormat_IsRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		var said reports
		cfg := said.in(config(t, b))
		everyKey(t, b, "in")
		runToEnd(t, simple(t), cfg)
		asEarlier(t, cfg, "counts", "0", "1")
		everyKey(t, b, "in")
		app := runToEnd(t, simple(t), cfg)
		assert.Positive(t, app.Stats().Restored)
		assert.Zero(t, app.Stats().Damaged)
		for k, n := range latest(t, b, "counts") {
			assert.EqualValues(t, 2, n, k)
		}
		assert.Equal(t, 1, strings.Count(said.log.String(), "level="), "%s", &said.log)
		assert.Contains(t, said.log.String(), "of an earlier format; it is restored from its changelog")
		assert.Contains(t, said.log.String(), "store=counts files=2")
		left, err := filepath.Glob(filepath.Join(cfg.StateDir, "app", "counts", "*.db"))
		require.NoError(t, err)
		assert.Empty(t, left)

		everyKey(t, b, "in")
		app = runToEnd(t, simple(t), cfg)
		assert.Zero(t, app.Stats().Restored, "the state is there")
		assert.Equal(t, 1, strings.Count(said.log.String(), "level="), "%s", &said.log)
	})
}

// The rows of a store without a changelog are nowhere else: the start fails, and the files stay.
func TestEarlierFormat_WithoutChangelogIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker.Start(t, broker.Virtual(), broker.Topic("in", 2), broker.Topic("counts", 2))
		cfg := config(t, b)
		everyKey(t, b, "in")
		runToEnd(t, simple(t, store.NoChangelog()), cfg)
		asEarlier(t, cfg, "counts", "1")
		old := filepath.Join(cfg.StateDir, "app", "counts", "1.db")
		for range 2 {
			app, err := millstream.New(simple(t, store.NoChangelog()), cfg)
			require.NoError(t, err)
			err = app.RunToEnd(noSync(t.Context()))
			require.ErrorContains(t, err, `store "counts", made at`)
			require.ErrorContains(t, err, "has files of an earlier format ("+old+")")
			require.ErrorContains(t, err, "give the store another name, or delete these files")
			require.FileExists(t, old)
		}
		require.NoError(t, os.Remove(old))
		runToEnd(t, simple(t, store.NoChangelog()), cfg)
	})
}
