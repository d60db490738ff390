package btree_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/millstream-go/millstream/internal/storage/btree"
)

var rowsBucket = []byte("rows")

// keysOf makes keys of several kinds: numbers, hashes, words with a common beginning, of any length.
func keysOf(rnd *rand.Rand, kind int) []byte {
	switch kind {
	case 0:
		return binary.BigEndian.AppendUint64(nil, rnd.Uint64N(100_000))
	case 1:
		return binary.BigEndian.AppendUint64(nil, rnd.Uint64())
	case 2:
		return fmt.Appendf(nil, "customer-%d", rnd.IntN(100_000))
	}
	b := make([]byte, rnd.IntN(20))
	for i := range b {
		b[i] = byte(rnd.IntN(3))
	}
	return b
}

// TestFind_IsWhatBboltFinds compares with bbolt on files that it has written in many transactions, with rows of all sizes, deletions
// and pages that are used again.
func TestFind_IsWhatBboltFinds(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for kind := range 4 {
		for _, size := range []int{1 << 10, 16 << 10} {
			db, err := bbolt.Open(filepath.Join(t.TempDir(), "x.db"), 0o600, &bbolt.Options{PageSize: size, NoSync: true, InitialMmapSize: 64 << 20})
			require.NoError(t, err)
			for _, rows := range []int{0, 3, 200, 5000, 5000} {
				require.NoError(t, db.Update(func(tx *bbolt.Tx) error { return change(rnd, tx, kind, rows) }))
				require.NoError(t, db.View(func(tx *bbolt.Tx) error {
					compareFinds(t, rnd, db, tx, kind)
					return nil
				}))
			}
			require.NoError(t, db.Close())
		}
	}
}

func change(rnd *rand.Rand, tx *bbolt.Tx, kind, rows int) error {
	b, err := tx.CreateBucketIfNotExists(rowsBucket)
	if err != nil {
		return err
	}
	for range rows {
		key := rowKey(keysOf(rnd, kind))
		value := make([]byte, rnd.IntN(200))
		if rnd.IntN(500) == 0 {
			value = make([]byte, rnd.IntN(50_000))
		}
		if rnd.IntN(4) == 0 {
			err = b.Delete(key)
		} else {
			err = b.Put(key, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rowKey returns a key that bbolt accepts, whatever key is.
func rowKey(key []byte) []byte { return append([]byte{'r'}, key...) }

// rowsOf returns the bucket of rows as a transaction sees it.
func rowsOf(db *bbolt.DB, tx *bbolt.Tx) btree.Tree {
	info := db.Info()
	start := *(*unsafe.Pointer)(unsafe.Pointer(&info.Data))
	root := btree.Buckets(unsafe.Slice((*byte)(start), tx.Size()), uint64(info.PageSize), uint64(tx.ID()))
	rows, _ := root.Bucket(rowsBucket)
	return rows
}

func compareFinds(t *testing.T, rnd *rand.Rand, db *bbolt.DB, tx *bbolt.Tx, kind int) {
	b := tx.Bucket(rowsBucket)
	x := rowsOf(db, tx)
	n := 0
	require.NoError(t, b.ForEach(func(k, v []byte) error {
		n++
		got := x.Find(k)
		require.NotNil(t, got, "%q", k)
		require.Equal(t, v, got)
		return nil
	}))
	first, last := rowsBetween(b)
	leaves, group := btree.NewLeaves(x, first, last), btree.Group{}
	for range 125 {
		group.Reset()
		var added [][]byte
		for range btree.GroupSize {
			key := rowKey(keysOf(rnd, kind))
			want := b.Get(key)
			require.Equal(t, want, x.Find(key), "%q of %d", key, n)
			require.Equal(t, want, leaves.Find(key), "%q of %d", key, n)
			if group.Add(leaves, key) {
				added = append(added, key)
			}
		}
		group.Find()
		for i, key := range added {
			want := b.Get(key)
			at, ok := group.Row(i)
			require.Equal(t, want != nil, ok, "%q of %d", key, n)
			if ok {
				require.Equal(t, want, leaves.At(at, key))
				require.Nil(t, leaves.At(at, append(key, 0)), "another key")
			}
		}
	}
	require.Nil(t, leaves.Find(nil))
	require.Nil(t, x.Find(nil))
	require.Nil(t, x.Find([]byte{0xff, 0xff}))
}

// rowsBetween returns the first and the last key.
func rowsBetween(b *bbolt.Bucket) (first, last []byte) {
	c := b.Cursor()
	first, _ = c.First()
	last, _ = c.Last()
	return first, last
}

func BenchmarkFind(b *testing.B) {
	const n = 1_000_000
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "x.db"), 0o600, &bbolt.Options{PageSize: 16 << 10, NoSync: true, InitialMmapSize: 1 << 30})
	require.NoError(b, err)
	defer db.Close()
	key := func(i int) []byte { return rowKey(binary.BigEndian.AppendUint64(nil, uint64(i))) }
	require.NoError(b, db.Update(func(tx *bbolt.Tx) error {
		rows, err := tx.CreateBucket(rowsBucket)
		rows.FillPercent = 0.9
		for i := range n {
			if err == nil {
				err = rows.Put(key(i*3), make([]byte, 108))
			}
		}
		return err
	}))
	tx, err := db.Begin(false)
	require.NoError(b, err)
	defer tx.Rollback()
	rows := tx.Bucket(rowsBucket)
	x := rowsOf(db, tx)
	c := rows.Cursor()
	for name, find := range map[string]func(k []byte) []byte{
		"tree":  x.Find,
		"bbolt": func(k []byte) []byte { _, v := c.Seek(k); return v },
	} {
		b.Run(name, func(b *testing.B) {
			rnd := rand.New(rand.NewPCG(1, 2))
			k := key(0)
			for b.Loop() {
				binary.BigEndian.PutUint64(k[1:], rnd.Uint64N(n)*3)
				if find(k) == nil {
					b.Fatal("a row is missing")
				}
			}
		})
	}
}
