package lsm_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keysFrom returns the keys of some rows of putRows.
func keysFrom(from, n int) [][]byte {
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key %06d", from+i)
	}
	return keys
}

// What is read ahead is of the files of one moment. A row that is written, flushed and out of memory again before
// the look-up comes is not the one that was read ahead.
func TestReadAhead_RowsThatAreReplacedBeforeTheirLookUp(t *testing.T) {
	o := tiny(pathIn(t))
	o.Factor = 8
	e := open(t, o)
	flush(t, e, 1, 0, 500, "old")
	e.Trim()
	keys := keysFrom(100, 16)
	for round := range 6 {
		e.ReadAhead(keys)
		value := fmt.Sprint("new ", round)
		flush(t, e, int64(2+round), 100, 116, value)
		e.Trim()
		for _, key := range keys {
			v, _, ok, err := e.Get(key)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, value, string(v), "%q", key)
		}
		if round%2 == 1 {
			merged(e)
		}
	}
	e.ReadAhead(keys)
	require.NoError(t, e.Truncate())
	for _, key := range keys {
		_, _, ok, err := e.Get(key)
		require.NoError(t, err)
		require.False(t, ok)
	}
	require.NoError(t, e.Close(false))
}

func TestReadAhead_DoesNotAllocate(t *testing.T) {
	e := open(t, tiny(pathIn(t)))
	flush(t, e, 1, 0, 2000, "a value")
	merged(e)
	e.Trim()
	groups := make([][][]byte, 20)
	for i := range groups {
		groups[i] = keysFrom(i*97, 16)
	}
	read := func() {
		for _, keys := range groups {
			e.ReadAhead(keys)
			for _, key := range keys {
				_, _, _, _ = e.Get(key)
			}
		}
	}
	for range 20 { // places get memory for their keys
		read()
	}
	assert.Zero(t, testing.AllocsPerRun(100, read))
	require.NoError(t, e.Close(false))
}
