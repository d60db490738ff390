package btree_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage/btree"
)

// FuzzLookUps looks rows up, and walks, in pages whose bytes are changed: it ends, and panics with nothing but what callers recover.
func FuzzLookUps(f *testing.F) {
	const pageSize = 512
	path := f.TempDir() + "/x"
	file, err := os.Create(path)
	require.NoError(f, err)
	b := btree.NewBuilder(file, pageSize)
	for i := range 3000 {
		require.NoError(f, b.Add(fmt.Appendf(nil, "%05d", i*3), make([]byte, 8+i%20)))
	}
	require.NoError(f, b.EndBucket(rowsBucket))
	metas, err := b.Finish()
	require.NoError(f, err)
	_, err = file.WriteAt(metas, 0)
	require.NoError(f, err)
	require.NoError(f, file.Close())
	whole, err := os.ReadFile(path)
	require.NoError(f, err)
	meta, ok := btree.DecodeMeta(whole)
	require.True(f, ok)
	for at := uint32(0); at < uint32(len(whole)); at += 611 {
		f.Add(binary.BigEndian.AppendUint32(nil, at), byte(at))
	}
	last := uint32(len(whole) - 8*pageSize) // branches, and what leads to them
	for at := last; at < uint32(len(whole)); at += 13 {
		f.Add(binary.BigEndian.AppendUint32(nil, at), byte(at>>3))
	}
	f.Fuzz(func(t *testing.T, at []byte, value byte) {
		data := bytes.Clone(whole)
		for ; len(at) >= 4; at = at[4:] {
			data[binary.BigEndian.Uint32(at)%uint32(len(data))] = value
			value = value*3 + 1
		}
		root := btree.Tree{Data: data, PageSize: pageSize, Root: meta.Root}
		recovered := func(f func()) {
			defer func() { _ = recover() }()
			f()
		}
		recovered(func() {
			rows, there := root.Bucket(rowsBucket)
			if !there {
				return
			}
			for i := range 100 {
				recovered(func() { rows.Find(fmt.Appendf(nil, "%05d", i*97)) })
			}
			recovered(func() {
				leaves := btree.NewLeaves(rows, []byte("00000"), []byte("08997"))
				for i := range 30 {
					recovered(func() { leaves.Find(fmt.Appendf(nil, "%05d", i*297)) })
				}
				recovered(func() { lookUpInGroups(leaves) })
			})
			for _, back := range []bool{false, true} {
				recovered(func() { walk(t, rows, back) })
			}
		})
	})
}

func lookUpInGroups(leaves *btree.Leaves) {
	var group btree.Group
	for from := range 9 {
		group.Reset()
		for i := range btree.GroupSize {
			group.Add(leaves, fmt.Appendf(nil, "%05d", from*999+i*57))
		}
		group.Find()
	}
}

func walk(t *testing.T, rows btree.Tree, back bool) {
	var c btree.Cursor
	c.Reset(rows)
	k, _ := c.First()
	if back {
		k, _ = c.Last()
	}
	for n := 0; k != nil; n++ {
		if n > len(rows.Data) {
			t.Error("a walk without an end")
			return
		}
		k, _ = c.Next()
	}
}
