package memtable_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

func commit(t testing.TB, e *memtable.Engine) {
	epoch, err := e.Cut(none)
	require.NoError(t, err)
	e.Settle(epoch, storage.Checkpoint{})
}

// count returns the number of rows of a snapshot, and what the last one is.
func count(t testing.TB, s storage.Snapshot) (n int, last string) {
	for rows := s.Rows(storage.Range{}); ; n++ {
		e, ok, err := rows.Next()
		require.NoError(t, err)
		if !ok {
			return n, last
		}
		last = string(e.Value)
	}
}

// A reader puts a large table in order while the owner adds rows, and undoes some, which removes
// entries.
func TestSnapshot_OrderIsMadeBesideTheOwner(t *testing.T) {
	e := memtable.New(nil)
	defer func() { require.NoError(t, e.Close(false)) }()
	const rows = 100_000
	key := func(n int) []byte { return fmt.Appendf(nil, "key %d", n*7919%1_000_003) }
	for n := range rows {
		require.NoError(t, e.Put(key(n), []byte("settled"), 1))
	}
	commit(t, e)
	var wait sync.WaitGroup
	var done [3]int
	for i := range done {
		s, err := e.Snapshot()
		require.NoError(t, err)
		wait.Go(func() {
			defer s.Close()
			done[i], _ = count(t, s)
		})
	}
	added := 0
	for round := range 20 {
		for range 2000 {
			require.NoError(t, e.Put(key(rows+added), []byte("later"), 1))
			added++
		}
		if round%4 == 3 {
			require.NoError(t, e.Undo())
			added -= 2000
		} else {
			commit(t, e)
		}
	}
	wait.Wait()
	assert.Equal(t, [3]int{rows, rows, rows}, done)
	s, err := e.Snapshot()
	require.NoError(t, err)
	n, _ := count(t, s)
	s.Close()
	assert.Equal(t, rows+added, n)
	inOrder := 0
	last := ""
	for row := range e.Scan(storage.Range{}) {
		require.Greater(t, string(row.Key), last)
		last = string(row.Key)
		inOrder++
	}
	assert.Equal(t, rows+added, inOrder)
}

// What a snapshot has kept is freed when it has been closed, at the owner's next epoch.
func TestSnapshot_WhatItKeepsIsFreed(t *testing.T) {
	b := memtable.NewBudget(0)
	e := memtable.New(b)
	write := func(value string) {
		for n := range 2000 {
			require.NoError(t, e.Put(fmt.Append(nil, n), []byte(value), 1))
		}
		commit(t, e)
	}
	for range 3 {
		write("value")
	}
	without := b.Pinned()
	old, err := e.Snapshot()
	require.NoError(t, err)
	for i := range 10 {
		write(fmt.Sprintf("%05d", i))
	}
	for n := range 1000 {
		require.NoError(t, e.Delete(fmt.Append(nil, n), 1))
	}
	commit(t, e)
	assert.Greater(t, b.Pinned(), without+500<<10)
	n, last := count(t, old)
	assert.Equal(t, 2000, n)
	assert.Equal(t, "value", last)
	young, err := e.Snapshot()
	require.NoError(t, err)
	n, last = count(t, young)
	assert.Equal(t, 1000, n)
	assert.Equal(t, "00009", last)
	old.Close()
	young.Close()
	commit(t, e)
	assert.Less(t, b.Pinned(), without+300<<10)
	left, err := e.Len()
	require.NoError(t, err)
	assert.EqualValues(t, 1000, left)
	require.NoError(t, e.Close(false))
	assert.Zero(t, b.Pinned())
}

// A caller who never goes on with a scan does not have a store in memory keep all that it replaces.
func TestSnapshot_OfAStoreInMemoryIsEnded(t *testing.T) {
	b := memtable.NewBudget(1 << 20)
	e := memtable.New(b)
	defer func() { require.NoError(t, e.Close(false)) }()
	most := int64(0)
	var stopped, read storage.Snapshot
	for i := range 200 {
		for n := range 200 {
			require.NoError(t, e.Put(fmt.Append(nil, n), make([]byte, 100), 1))
		}
		commit(t, e)
		if i == 5 {
			var err error
			stopped, err = e.Snapshot()
			require.NoError(t, err)
		}
		most = max(most, b.Pinned())
	}
	assert.Less(t, most, int64(3<<20))
	_, _, err := stopped.Rows(storage.Range{}).Next()
	require.ErrorIs(t, err, storage.ErrSnapshotEnded)
	read, err = e.Snapshot()
	require.NoError(t, err)
	n, _ := count(t, read)
	assert.Equal(t, 200, n)
	read.Close()
	stopped.Close()
}

// Rows that expire stay for snapshots that were opened before, and are removed after them.
func TestSnapshot_ExpiredRowsStay(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		e := memtable.New(nil)
		for n := range 3000 {
			require.NoError(t, e.Put(fmt.Appendf(nil, "%06d", n), []byte("value"), 1))
		}
		commit(t, e)
		if ordered {
			for range e.Scan(storage.Range{}) {
				break
			}
		}
		s, err := e.Snapshot()
		require.NoError(t, err)
		e.Expire([]byte("0"), []byte("001000"))
		for range 3 {
			commit(t, e)
		}
		n, _ := count(t, s)
		assert.Equal(t, 3000, n)
		s.Close()
		for range 3 {
			commit(t, e)
		}
		left, err := e.Len()
		require.NoError(t, err)
		assert.EqualValues(t, 2000, left)
		require.NoError(t, e.Close(false))
	}
}
