package memory_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
	"github.com/millstream-go/millstream/store/storetest"
)

func TestEngine(t *testing.T) {
	storetest.Run(t, func(testing.TB) storetest.Store {
		return storetest.Store{
			Open:  func(testing.TB) store.Engine { return memory.New(nil) },
			Large: true,
		}
	})
}

func TestExpiredRowsGoByAndBy(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		e := memory.New(nil)
		const rows = 50_000
		for i := range rows {
			require.NoError(t, e.Put(fmt.Appendf(nil, "%06d", i), []byte("value"), 1))
		}
		settle := func() {
			epoch, err := e.Cut(func(store.Change) error { return nil })
			require.NoError(t, err)
			e.Settle(epoch, store.Checkpoint{})
		}
		there := func() int64 {
			n, err := e.Len()
			require.NoError(t, err)
			return n
		}
		scan := func() {
			for range e.Scan(store.Range{}) {
				break
			}
		}
		settle()
		if ordered {
			scan()
		}
		e.Expire([]byte("0"), []byte("030000"))
		settle()
		assert.Less(t, there(), int64(rows))
		assert.Greater(t, there(), int64(rows/2), "a few with each epoch")
		e.Expire([]byte("0"), []byte("035000"))
		for range 20 {
			settle()
		}
		assert.EqualValues(t, 15_000, there())
		e.Expire([]byte("0"), []byte("040000"))
		settle()
		scan() // a sweep may be under way
		for range 20 {
			settle()
		}
		assert.EqualValues(t, 10_000, there())
		require.NoError(t, e.Close(false))
	}
}
