package bolt

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

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

// TestFindIsWhatBboltFinds compares with bbolt on files that it has written in many transactions, with rows of all sizes, deletions
// and pages that are used again.
func TestFindIsWhatBboltFinds(t *testing.T) {
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
		key := appendKey(nil, keysOf(rnd, kind))
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

func compareFinds(t *testing.T, rnd *rand.Rand, db *bbolt.DB, tx *bbolt.Tx, kind int) {
	b := tx.Bucket(rowsBucket)
	x := treeOf(db, tx, b)
	if x.data == nil {
		return
	}
	n := 0
	require.NoError(t, b.ForEach(func(k, v []byte) error {
		n++
		got := x.find(k)
		require.NotNil(t, got, "%q", k)
		require.Equal(t, v, got)
		return nil
	}))
	for range 2000 {
		key := appendKey(nil, keysOf(rnd, kind))
		require.Equal(t, b.Get(key), x.find(key), "%q of %d", key, n)
	}
	require.Nil(t, x.find(nil))
	require.Nil(t, x.find([]byte{0xff, 0xff}))
}

func BenchmarkFind(b *testing.B) {
	const n = 1_000_000
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "x.db"), 0o600, &bbolt.Options{PageSize: defaultPageSize, NoSync: true, InitialMmapSize: 1 << 30})
	require.NoError(b, err)
	defer db.Close()
	key := func(i int) []byte { return appendKey(nil, binary.BigEndian.AppendUint64(nil, uint64(i))) }
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
	x, c := treeOf(db, tx, rows), rows.Cursor()
	for name, find := range map[string]func(k []byte) []byte{
		"tree":  x.find,
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
