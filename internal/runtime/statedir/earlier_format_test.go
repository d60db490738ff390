package statedir_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/runtime/statedir"
)

// earlierBytes begin as a database of bbolt does.
func earlierBytes() []byte {
	b := make([]byte, 4*4096)
	binary.NativeEndian.PutUint16(b[8:], 4)           // a meta page
	binary.NativeEndian.PutUint32(b[16:], 0xED0CDAED) // bbolt's
	binary.NativeEndian.PutUint32(b[20:], 2)
	return b
}

// TestEarlierFormat_ReplacedByTheFirstFlush opens stores that have a file of the earlier format: it stays until
// there is another one, and nobody reads it.
func TestEarlierFormat_ReplacedByTheFirstFlush(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "app", "counts")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "3.db"), 0o700))
	for _, name := range []string{"0.db", "0.db.new", "0.db.suspect", "1.db", "x.db", "01.db", "0.db.corrupt"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), earlierBytes(), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "2.db"), nil, 0o600)) // a process died before it was written
	d := open(t, root)
	earlier := func(want ...statedir.EarlierFile) {
		t.Helper()
		files, err := d.EarlierFiles("counts")
		require.NoError(t, err)
		assert.Equal(t, want, files)
	}
	zero, one := filepath.Join(dir, "0.db"), filepath.Join(dir, "1.db")
	earlier(statedir.EarlierFile{Path: zero}, statedir.EarlierFile{Path: one})
	found, err := d.List()
	require.NoError(t, err)
	assert.Empty(t, found, "no state that could be of use")
	none, err := d.EarlierFiles("others")
	require.NoError(t, err)
	assert.Empty(t, none)

	n := statedir.Name{Store: "counts"}
	e := borrow(t, d, n, statedir.OnDisk)
	_, ok := e.Checkpoint()
	assert.False(t, ok, "the store is restored from the beginning of its changelog")
	put(t, e, "k", 1)
	assert.FileExists(t, zero)
	require.NoError(t, e.Flush(true))
	for _, name := range []string{"0.db", "0.db.new", "0.db.suspect"} {
		assert.NoFileExists(t, filepath.Join(dir, name))
	}
	assert.FileExists(t, filepath.Join(dir, "0.db.corrupt"), "what was moved aside stays")
	earlier(statedir.EarlierFile{Path: one})
	require.NoError(t, d.Release(n, false, start))

	// A power loss that undid the removal.
	require.NoError(t, os.WriteFile(zero, earlierBytes(), 0o600))
	earlier(statedir.EarlierFile{Path: zero, Replaced: true}, statedir.EarlierFile{Path: one})
	e = borrow(t, d, n, statedir.OnDisk)
	assert.True(t, has(t, e, "k"))
	assert.NoFileExists(t, zero)
	require.NoError(t, d.Release(n, true, start))
	for _, name := range []string{"1.db", "2.db", "x.db", "01.db"} {
		assert.FileExists(t, filepath.Join(dir, name), "of no store that was opened")
	}
}
