package bolt_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/millstream-go/millstream/store/bolt"
	"github.com/millstream-go/millstream/store/storetest"
)

// inFile returns the number of rows that the file of a closed store has.
func inFile(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.View(func(tx *bbolt.Tx) error {
		n = tx.Bucket([]byte("rows")).Stats().KeyN
		return nil
	}))
	return n
}

func TestAFileIsWrittenAnewOnceAGoodPartHasExpired(t *testing.T) {
	o := bolt.Options{Path: pathIn(t), NoSync: true, PageSize: 4096}
	e := open(t, o)
	const rows = 20_000
	putRows(t, e, 0, rows, "a value of some bytes")
	settle(t, e, 1)
	require.NoError(t, e.Flush(true))
	for i, step := range []struct{ upTo, left int }{{rows / 10, rows}, {rows / 2, rows / 2}} {
		e.Expire([]byte("key "), fmt.Appendf(nil, "key %06d", step.upTo))
		require.NoError(t, e.Put(fmt.Appendf(nil, "other %d", i), []byte("x"), 1))
		settle(t, e, int64(2+i))
		require.NoError(t, e.Close(true))
		assert.InDelta(t, step.left, inFile(t, o.Path), 200)
		checkFile(t, o.Path)
		e = open(t, o)
	}
	c, ok := e.Checkpoint()
	require.True(t, ok)
	assert.Equal(t, storetest.Checkpoint(3), c)
	require.NoError(t, e.Close(true))
}
