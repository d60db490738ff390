package memtable_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/storagetest"
)

func TestEngine(t *testing.T) {
	storagetest.Run(t, func(testing.TB) storagetest.Store {
		return storagetest.Store{
			Open:  func(testing.TB) storage.Engine { return memtable.New(nil) },
			Large: true,
		}
	})
}

func TestExpiry_DropsRowsAFewAtATime(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		e := memtable.New(nil)
		const rows = 50_000
		for i := range rows {
			require.NoError(t, e.Put(fmt.Appendf(nil, "%06d", i), []byte("value"), 1))
		}
		settle := func() {
			epoch, err := e.Cut(func(storage.Change) error { return nil })
			require.NoError(t, err)
			e.Settle(epoch, storage.Checkpoint{})
		}
		rowsInStore := func() int64 {
			n, err := e.Len()
			require.NoError(t, err)
			return n
		}
		scan := func() {
			for range e.Scan(storage.Range{}) {
				break
			}
		}
		settle()
		if ordered {
			scan()
		}
		e.Expire([]byte("0"), []byte("030000"))
		settle()
		assert.Less(t, rowsInStore(), int64(rows))
		assert.Greater(t, rowsInStore(), int64(rows/2), "a few with each epoch")
		e.Expire([]byte("0"), []byte("035000"))
		for range 20 {
			settle()
		}
		assert.EqualValues(t, 15_000, rowsInStore())
		e.Expire([]byte("0"), []byte("040000"))
		settle()
		scan() // a sweep may be under way
		for range 20 {
			settle()
		}
		assert.EqualValues(t, 10_000, rowsInStore())
		require.NoError(t, e.Close(false))
	}
}
