//go:build unix

package memtable_test

import (
	"os"
	"runtime/debug"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// A value may be memory of a file that cannot be read. The Put panics, and the store can be used, read
// from outside and closed all the same.
func TestPut_OfMemoryThatCannotBeRead(t *testing.T) {
	unreadable, err := syscall.Mmap(-1, 0, os.Getpagesize(), syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	require.NoError(t, err)
	defer func() { require.NoError(t, syscall.Munmap(unreadable)) }()
	e := memtable.New(nil)
	func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		assert.Panics(t, func() { _ = e.Put([]byte("k"), unreadable[:10], 1) })
	}()
	require.NoError(t, e.Undo())
	require.NoError(t, e.Put([]byte("k"), []byte("v"), 1))
	commit(t, e)
	s, err := e.Snapshot()
	require.NoError(t, err)
	n, last := count(t, s)
	s.Close()
	assert.Equal(t, 1, n)
	assert.Equal(t, "v", last)
	require.NoError(t, e.Close(false))
}
