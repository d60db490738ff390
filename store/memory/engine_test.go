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
	e := memory.New(nil)
	const rows = 20_000
	for i := range rows {
		require.NoError(t, e.Put(fmt.Appendf(nil, "%06d", i), []byte("value"), 1))
	}
	settle := func() {
		epoch, err := e.Cut(func(store.Change) error { return nil })
		require.NoError(t, err)
		e.Settle(epoch, store.Checkpoint{})
	}
	settle()
	e.Expire([]byte("0"), []byte("015000"))
	settle()
	n, err := e.Len()
	require.NoError(t, err)
	assert.Less(t, n, int64(rows))
	assert.Greater(t, n, int64(rows/2), "a few with each epoch")
	for range 10 {
		settle()
	}
	n, err = e.Len()
	require.NoError(t, err)
	assert.EqualValues(t, 5000, n)
	require.NoError(t, e.Close(false))
}
