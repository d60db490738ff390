//go:build unix

package statedir_test

import (
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/internal/safefile"
)

func TestAccess_OthersCanWrite(t *testing.T) {
	for _, c := range []struct {
		mode    os.FileMode
		refused bool
		exposed bool
	}{{0o700, false, false}, {0o770, false, false}, {0o755, false, true}, {0o702, true, false}, {0o777, true, false}} {
		root := t.TempDir()
		require.NoError(t, os.Chmod(root, 0o777)) // as shared volumes are
		dir := filepath.Join(root, "app")
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chmod(dir, c.mode))
		d, err := statedir.Open(root, "app", statedir.Options{})
		if c.refused {
			assert.ErrorIs(t, err, statedir.ErrAccess, "%o", c.mode)
			assert.ErrorContains(t, err, dir)
			continue
		}
		require.NoError(t, err, "%o", c.mode)
		_, exposed := d.Exposed()
		assert.Equal(t, c.exposed, exposed, "%o", c.mode)
		require.NoError(t, d.Close(false))
	}
}

// The directory of a third user can only be had, and be tried as another user, by root.
func TestAccess_AnotherOwner(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "app")
	require.NoError(t, os.Mkdir(dir, 0o700))
	if os.Geteuid() != 0 {
		d, err := statedir.Open(root, "app", statedir.Options{})
		require.NoError(t, err, "this user's own")
		require.NoError(t, d.Close(false))
		return
	}
	require.NoError(t, os.Chown(dir, 12345, -1))
	d, err := statedir.Open(root, "app", statedir.Options{})
	require.NoError(t, err, "root may use any: containers run as root over volumes of the host's users")
	require.NoError(t, d.Close(false))

	self, err := os.Executable()
	require.NoError(t, err)
	b, err := os.ReadFile(self)
	require.NoError(t, err)
	binary := filepath.Join(t.TempDir(), "state.test")
	require.NoError(t, os.WriteFile(binary, b, 0o755))
	for path := range parents(root) {
		require.NoError(t, os.Chmod(path, 0o755))
	}
	for path := range parents(filepath.Dir(binary)) {
		require.NoError(t, os.Chmod(path, 0o755))
	}
	c := exec.Command(binary)
	c.Env = append(os.Environ(), "STATE_TEST_HOLD="+root)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12346, Gid: 12346}}
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "belongs to user 12345")
	assert.Contains(t, string(out), statedir.ErrAccess.Error())
}

// parents yields path and the two directories above it, which belong to the test.
func parents(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for range 2 {
			if !yield(path) {
				return
			}
			path = filepath.Dir(path)
		}
	}
}

func TestAccess_LinksAreNotFollowed(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "app")
	precious := filepath.Join(root, "precious")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "counts"), 0o700))
	untouched := func() {
		t.Helper()
		b, err := os.ReadFile(precious)
		require.NoError(t, err)
		assert.Equal(t, "precious", string(b))
	}
	require.NoError(t, os.WriteFile(precious, []byte("precious"), 0o600))

	require.NoError(t, os.Symlink(precious, filepath.Join(dir, ".lock")))
	_, err := statedir.Open(root, "app", statedir.Options{})
	assert.ErrorIs(t, err, safefile.ErrNotRegular)
	untouched()
	require.NoError(t, os.Remove(filepath.Join(dir, ".lock")))

	// The root that is being written, a run file, the root, and the directory of a partition.
	for _, name := range []string{"0/root.new", "1/000001.run", "2/root"} {
		path := filepath.Join(dir, "counts", filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.Symlink(precious, path))
	}
	elsewhere := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(elsewhere, "000001.run"), []byte("of somebody else"), 0o600))
	require.NoError(t, os.Symlink(elsewhere, filepath.Join(dir, "counts", "3")))
	// An earlier format's file that is none.
	require.NoError(t, os.Symlink(precious, filepath.Join(dir, "counts", "1.db")))
	d, err := statedir.Open(root, "app", statedir.Options{})
	require.NoError(t, err)
	for p := range int32(4) {
		n := statedir.Name{Store: "counts", Partition: p}
		e, info, err := d.Acquire(n, statedir.OnDisk, nil)
		require.NoError(t, err)
		assert.Equal(t, p >= 2, info.Quarantined != "", "what was moved aside of partition %d: %q", p, info.Quarantined)
		put(t, e, "k", 1)
		require.NoError(t, e.Flush(true))
		untouched()
		require.NoError(t, d.Release(n, true, start))
	}
	require.NoError(t, d.Close(true))
	untouched()
	assert.FileExists(t, filepath.Join(elsewhere, "000001.run"))
	for p := range 4 {
		info, err := os.Lstat(filepath.Join(dir, "counts", fmt.Sprint(p), "root"))
		require.NoError(t, err)
		assert.True(t, info.Mode().IsRegular())
	}
}
