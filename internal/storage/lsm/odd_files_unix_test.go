//go:build linux || darwin

package lsm_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/storagetest"
)

// What has the name of a file of the store and is none of its files is removed, whatever it is, and other
// names are left alone.
func TestOpen_OddFiles(t *testing.T) {
	o := tiny(pathIn(t))
	e := open(t, o)
	flush(t, e, 1, 0, 500, "rows")
	merged(e)
	want := storagetest.Rows(t, e, storage.Range{})
	require.NoError(t, e.Close(true))

	elsewhere := filepath.Join(t.TempDir(), "precious")
	require.NoError(t, os.WriteFile(elsewhere, []byte("precious"), 0o600))
	at := func(name string) string { return filepath.Join(o.Path, name) }
	for _, name := range []string{"root.new", "900000.run", "99999999999999999999.run", ".run", "-1.run"} {
		require.NoError(t, os.MkdirAll(at(name+"/a/b"), 0o700))
	}
	require.NoError(t, os.Symlink(elsewhere, at("900001.run")))
	require.NoError(t, os.Symlink(filepath.Dir(elsewhere), at("900002.run")))
	require.NoError(t, os.Symlink("nowhere", at("900003.run")))
	require.NoError(t, syscall.Mkfifo(at("900004.run"), 0o600))
	require.NoError(t, os.WriteFile(at("900005.run"), nil, 0))
	require.NoError(t, os.MkdirAll(at("other/a"), 0o700))
	require.NoError(t, os.WriteFile(at("root.old"), []byte("x"), 0))

	e, info, err := lsm.Open(o)
	require.NoError(t, err)
	require.Empty(t, info.Reason)
	require.Equal(t, want, storagetest.Rows(t, e, storage.Range{}))
	flush(t, e, 2, 0, 500, "others")
	merged(e)
	assert.Len(t, runFiles(t, o.Path), e.Stats().Files)
	require.NoError(t, e.Close(true))
	assert.FileExists(t, elsewhere)
	assert.DirExists(t, at("other/a"))
	assert.FileExists(t, at("root.old"))
}

// A root whose length cannot be right is damage, and not read into memory.
func TestDamage_RootOfATerabyte(t *testing.T) {
	d := newDamaged(t)
	path := filepath.Join(d.o.Path, "root")
	require.NoError(t, os.Truncate(path, 1<<40))
	e, info, err := lsm.Open(d.o)
	require.NoError(t, err)
	assert.Equal(t, path, info.File)
	assert.Contains(t, info.Reason, "too long: it has 1099511627776 bytes")
	assert.NotEmpty(t, info.Quarantined)
	n, err := e.Len()
	require.NoError(t, err)
	assert.Zero(t, n)
	require.NoError(t, e.Close(true))
}
