package safefile_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/safefile"
)

func TestOpen_LinksAreNotFollowed(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(target, []byte("precious"), 0o600))
	for name, call := range map[string]func() error{
		"open":   func() error { _, err := safefile.Open(link); return err },
		"read":   func() error { _, err := safefile.Read(link, 100); return err },
		"write":  func() error { return safefile.Write(link, []byte("other")) },
		"create": func() error { f, err := safefile.Create(link); require.NoError(t, err); return f.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			_ = os.Remove(link)
			require.NoError(t, os.Symlink(target, link))
			if err := call(); err != nil {
				assert.ErrorIs(t, err, safefile.ErrNotRegular)
			}
			b, err := os.ReadFile(target)
			require.NoError(t, err)
			assert.Equal(t, "precious", string(b))
		})
	}
	there, err := safefile.Exists(link)
	require.NoError(t, err)
	assert.True(t, there)
}

func TestOpen_WriteAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	_, err := safefile.Read(path, 100)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	f, err := safefile.Open(path)
	require.NoError(t, err)
	_, err = f.WriteString("one")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	f, err = safefile.Open(path)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	b, err := safefile.Read(path, 100)
	require.NoError(t, err)
	assert.Equal(t, "one", string(b))
	require.NoError(t, safefile.Write(path, []byte("2")))
	b, err = safefile.Read(path, 100)
	require.NoError(t, err)
	assert.Equal(t, "2", string(b))
	b, err = safefile.Read(path, 1)
	require.NoError(t, err)
	assert.Equal(t, "2", string(b))
	_, err = safefile.Read(path, 0)
	require.ErrorIs(t, err, safefile.ErrTooLong)
	_, err = safefile.Open(filepath.Dir(path))
	assert.ErrorIs(t, err, safefile.ErrNotRegular)
}
