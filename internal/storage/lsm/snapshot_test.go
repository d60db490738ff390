package lsm_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/storagetest"
)

func snapshot(t testing.TB, e storage.Engine) storage.Snapshot {
	s, err := e.(storage.Snapshotter).Snapshot()
	require.NoError(t, err)
	return s
}

// rowsOf reads all rows of a snapshot.
func rowsOf(t testing.TB, s storage.Snapshot) []storagetest.Row {
	rows := []storagetest.Row{}
	for reader := s.Rows(storage.Range{}); ; {
		e, ok, err := reader.Next()
		require.NoError(t, err)
		if !ok {
			return rows
		}
		rows = append(rows, storagetest.Row{Key: string(e.Key), Value: string(e.Value), Time: e.Time})
	}
}

// A snapshot has its rows while the files that had them are merged away, and the files go with it.
func TestSnapshot_KeepsItsFilesOverMerges(t *testing.T) {
	e := open(t, tiny(pathIn(t)))
	defer func() { require.NoError(t, e.Close(false)) }()
	flush(t, e, 1, 0, 500, "first")
	merged(e)
	putRows(t, e, 100, 200, "second, in memory")
	settle(t, e, 2)
	s := snapshot(t, e)
	want := storagetest.Rows(t, e, storage.Range{})
	begun := s.Rows(storage.Range{})
	for i := range 250 { // rows of a scan that is under way
		row, ok, err := begun.Next()
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, want[i].Value, string(row.Value))
	}
	for i := range 12 {
		flush(t, e, int64(3+i), 0, 600, fmt.Sprint("later ", i))
		merged(e)
	}
	require.NotEqual(t, want, storagetest.Rows(t, e, storage.Range{}))
	require.Equal(t, want, rowsOf(t, s))
	for i := 250; i < len(want); i++ {
		row, ok, err := begun.Next()
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, want[i].Value, string(row.Value))
	}
	listed := e.Stats().Files
	require.Greater(t, e.OpenFiles(), listed, "files of the snapshot alone")
	s.Close()
	assert.Equal(t, listed, e.OpenFiles())
}

// A snapshot that is never closed, as that of a caller who stops in the middle of a scan for ever,
// keeps neither the store from being closed nor its files.
func TestSnapshot_CloseDoesNotWaitForAReaderThatStops(t *testing.T) {
	o := tiny(pathIn(t))
	e := open(t, o)
	flush(t, e, 1, 0, 500, "rows")
	s := snapshot(t, e)
	rows := s.Rows(storage.Range{})
	_, ok, err := rows.Next()
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, e.Close(true))
	assert.Zero(t, e.OpenFiles())
	require.NoError(t, os.RemoveAll(o.Path))
	for range 500 { // some rows were read ahead
		if _, ok, err = rows.Next(); !ok {
			break
		}
	}
	require.ErrorIs(t, err, storage.ErrUnavailable)
	_, _, _, err = s.AppendTo(nil, []byte("key 000001"))
	require.ErrorIs(t, err, storage.ErrUnavailable)
	_, err = e.Snapshot()
	require.ErrorIs(t, err, storage.ErrUnavailable)
	s.Close()
}

// What snapshots keep in memory is bounded, and leaves the stores the room that they have without.
func TestSnapshot_KeepsNoMoreThanTheBudget(t *testing.T) {
	budget := memtable.NewBudget(2 << 20)
	o := lsm.Options{Path: pathIn(t), NoSync: true, Budget: budget}
	e := open(t, o)
	var all []storage.Snapshot
	var want [][]storagetest.Row
	most, peak := int64(0), int64(0)
	for i := range 120 {
		putRows(t, e, i%30*500, (i%30+1)*500, fmt.Sprintf("a value of some bytes, so that memory is used %d", i))
		settle(t, e, int64(i))
		if i%10 == 0 {
			all = append(all, snapshot(t, e))
			want = append(want, storagetest.Rows(t, e, storage.Range{}))
		}
		most, peak = max(most, budget.Retained()), max(peak, budget.Used())
	}
	assert.Positive(t, most)
	assert.LessOrEqual(t, most, budget.Limit())
	assert.LessOrEqual(t, peak, budget.Limit()*5/4, "the stores have the room that they have without readers")
	ended := 0
	for i, s := range all {
		_, ok, err := s.Rows(storage.Range{}).Next()
		if err != nil {
			require.ErrorIs(t, err, storage.ErrSnapshotEnded)
			require.False(t, ok)
			ended++
			continue
		}
		require.Equal(t, want[i], rowsOf(t, s))
	}
	t.Logf("%d of %d were ended", ended, len(all))
	assert.Positive(t, ended)
	assert.Less(t, ended, len(all), "the newest go on")
	for _, s := range all {
		s.Close()
	}
	settle(t, e, 1000)
	assert.Zero(t, budget.Retained())
	require.NoError(t, e.Close(false))
	assert.Zero(t, budget.Used())
}

// One scan over a store that is written all the time, memtables turning over, comes to its end.
func TestSnapshot_ALongScanBesideWrites(t *testing.T) {
	budget := memtable.NewBudget(2 << 20)
	var flushes atomic.Int64
	o := lsm.Options{Path: pathIn(t), NoSync: true, Budget: budget, OnFlush: func(lsm.FlushInfo) { flushes.Add(1) }}
	e := open(t, o)
	defer func() { require.NoError(t, e.Close(false)) }()
	flush(t, e, 1, 0, 20_000, "before")
	putRows(t, e, 0, 1000, "in memory")
	settle(t, e, 2)
	s := snapshot(t, e)
	defer s.Close()
	rows, n := s.Rows(storage.Range{}), 0
	for {
		row, ok, err := rows.Next()
		require.NoError(t, err)
		if !ok {
			break
		}
		if n < 1000 {
			require.Equal(t, "in memory", string(row.Value))
		} else {
			require.Equal(t, "before", string(row.Value))
		}
		if n++; n%100 == 0 {
			putRows(t, e, n/100%30*500, (n/100%30+1)*500+300, "a value that is written while the scan is under way, of some bytes")
			settle(t, e, int64(2+n))
		}
	}
	assert.Equal(t, 20_000, n)
	assert.Greater(t, flushes.Load(), int64(4))
}
