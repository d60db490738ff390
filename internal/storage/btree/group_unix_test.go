//go:build unix

package btree_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage/btree"
)

// Whoever recovers a fault asks the group which look-up it was in, and so which file: also of a page that is only read ahead. It was
// the last look-up of the group before, which may be of another file.
func TestGroup_SaysInWhichLookUpAFaultWas(t *testing.T) {
	pageSize := max(16<<10, os.Getpagesize())
	path := filepath.Join(t.TempDir(), "x")
	file, err := os.Create(path)
	require.NoError(t, err)
	b := btree.NewBuilder(file, pageSize)
	key := func(i int) []byte { return fmt.Appendf(nil, "%05d", i) }
	for i := range 20_000 {
		require.NoError(t, b.Add(key(i), make([]byte, 100)))
	}
	require.NoError(t, b.EndBucket(rowsBucket))
	metas, err := b.Finish()
	require.NoError(t, err)
	_, err = file.WriteAt(metas, 0)
	require.NoError(t, err)
	meta, ok := btree.DecodeMeta(metas)
	require.True(t, ok)
	info, err := file.Stat()
	require.NoError(t, err)
	data, err := syscall.Mmap(int(file.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	require.NoError(t, err)
	defer func() { require.NoError(t, syscall.Munmap(data)) }()
	root := btree.Tree{Data: data, PageSize: uint64(pageSize), Root: meta.Root}
	rows, ok := root.Bucket(rowsBucket)
	require.True(t, ok)
	rows.InLeaf = 100
	leaves, group := btree.NewLeaves(rows, key(0), key(19_999)), btree.Group{}
	find := func(keys ...int) {
		group.Reset()
		for _, i := range keys {
			require.True(t, group.Add(leaves, key(i)))
		}
		group.Find()
	}
	find(1001, 1002, 1003, 1004)
	require.Equal(t, 3, group.At())

	require.NoError(t, file.Truncate(int64(10*pageSize)))
	require.NoError(t, file.Close())
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	require.Panics(t, func() { find(151, 19_001) })
	require.Equal(t, 1, group.At())
}
