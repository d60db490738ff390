package lsm_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
)

// A scan of the newest rows of a series does not read the files, which have older ones: after a restart,
// and whether the files are of a flush or of a merge.
func TestSeries_NewRowsAreNotSearchedForInFiles(t *testing.T) {
	of := storage.Series{Class: 'w', Tail: 8}
	key := func(series int, number uint64) []byte {
		return binary.BigEndian.AppendUint64(fmt.Appendf(nil, "w%03d", series), number)
	}
	o := tiny(pathIn(t))
	o.Factor, o.MaxRuns, o.ReplayBytes = 100, 100, 1<<20 // no merge at first, and no flush that the test does not want
	e := open(t, o)
	e.IndexSeries(of)
	put := func(from, to uint64) {
		for n := from; n < to; n++ {
			require.NoError(t, e.Put(key(int(n%100), n), []byte("v"), int64(n)))
		}
		settle(t, e, int64(to))
	}
	visit := func(from, to uint64) (n int) {
		for series := range 100 {
			r := storage.Range{From: key(series, from), To: key(series, to), Series: 4}
			e.Visit(r, func(x storage.Entry, err error) bool {
				require.NoError(t, err)
				require.Equal(t, key(series, uint64(x.Time)), x.Key)
				n++
				return true
			})
		}
		return n
	}
	for i := range uint64(10) {
		put(500*i, 500*(i+1))
		require.NoError(t, e.Flush(true))
	}
	for i, merged := range []bool{false, true} {
		before, from := []uint64{5000, 11_000}[i], uint64(i+1)*10_000
		require.NoError(t, e.Close(true))
		if merged {
			o.Factor, o.MaxRuns = 3, 8
		}
		e = open(t, o)
		e.AwaitMerges()
		e.IndexSeries(of)
		put(from, from+1000)
		compared := e.Stats().Compared
		assert.Zero(t, visit(before, from-1))
		assert.Equal(t, 1000, visit(from, 30_000))
		assert.Equal(t, compared, e.Stats().Compared)
		assert.Equal(t, 1500+1000*i, visit(4500, 30_000))
		assert.Equal(t, 500, visit(1000, 1499))
		assert.Greater(t, e.Stats().Compared, compared)
	}
	require.NoError(t, e.Close(true))
}
