package storagetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
)

// openSnapshot is a snapshot of a history, and the rows that were settled when it was opened.
type openSnapshot struct {
	storage.Snapshot
	rows map[string]Row
	step int
	scan storage.RowReader // under way; nil: none
	r    storage.Range
	left []Row // what scan has to return
}

// mostSnapshots is how many snapshots a history has open at once. Some stay open for long.
const mostSnapshots = 6

func (h *history) snapshot() {
	if len(h.snapshots) == mostSnapshots {
		h.closeSnapshot()
	}
	s, err := h.engine.(storage.Snapshotter).Snapshot()
	require.NoError(h.t, err)
	h.snapshots = append(h.snapshots, &openSnapshot{Snapshot: s, rows: maps.Clone(h.before[0]), step: h.steps})
}

func (h *history) closeSnapshot() {
	if n := len(h.snapshots); n > 0 {
		i := h.rand.IntN(n)
		h.snapshots[i].Close()
		h.snapshots[i].Close()
		h.snapshots = slices.Delete(h.snapshots, i, i+1)
	}
}

// readSnapshot compares an open snapshot with the model: a row, a whole scan, or some rows of one that
// goes on with a later step.
func (h *history) readSnapshot() {
	n := len(h.snapshots)
	if n == 0 {
		return
	}
	i := h.rand.IntN(n)
	s := h.snapshots[i]
	var err error
	switch h.rand.IntN(3) {
	case 0:
		err = h.readRow(s)
	case 1:
		err = h.readRows(s, 1<<30)
	default:
		err = h.readRows(s, h.rand.IntN(100))
	}
	// A snapshot that keeps too much is ended, which says so.
	if errors.Is(err, storage.ErrSnapshotEnded) {
		h.ended++
		s.Close()
		h.snapshots = slices.Delete(h.snapshots, i, i+1)
		return
	}
	require.NoError(h.t, err)
	h.reads++
}

func (h *history) readRow(s *openSnapshot) error {
	key := h.key()
	value, at, ok, err := s.AppendTo([]byte("before"), key)
	if err != nil {
		return err
	}
	want, there := s.rows[string(key)]
	require.Equal(h.t, there, ok, "key %q at step %d of the snapshot of step %d", key, h.steps, s.step)
	require.Equal(h.t, "before"+want.Value, string(value), "step %d, snapshot of step %d", h.steps, s.step)
	require.Equal(h.t, want.Time, at)
	return nil
}

func (h *history) readRows(s *openSnapshot, limit int) error {
	if s.scan == nil {
		s.r = h.anyRange()
		s.scan, s.left = s.Rows(s.r), s.left[:0]
		for _, k := range slices.Sorted(maps.Keys(s.rows)) {
			if s.r.Contains([]byte(k)) {
				s.left = append(s.left, s.rows[k])
			}
		}
		if s.r.Backward {
			slices.Reverse(s.left)
		}
	}
	for ; limit > 0; limit-- {
		e, ok, err := s.scan.Next()
		if err != nil {
			return err
		}
		if len(s.left) != 0 != ok {
			require.Fail(h.t, "a scan ends at another row",
				"range %+v at step %d of the snapshot of step %d: %q comes, %d rows "+
					"are left", s.r, h.steps, s.step, e.Key, len(s.left))
		}
		if !ok {
			s.scan = nil
			return nil
		}
		if got := (Row{string(e.Key), string(e.Value), e.Time}); got != s.left[0] {
			require.Equal(h.t, s.left[0], got, "range %+v at step %d of the snapshot of step %d", s.r, h.steps, s.step)
		}
		s.left = s.left[1:]
	}
	return nil
}

// unavailable checks that snapshots of a store that was closed or truncated say so.
func (h *history) unavailable() {
	for _, s := range h.snapshots {
		_, _, _, err := s.AppendTo(nil, h.key())
		if !errors.Is(err, storage.ErrSnapshotEnded) {
			require.ErrorIs(h.t, err, storage.ErrUnavailable)
		}
		_, ok, err := s.Rows(storage.Range{}).Next()
		require.Error(h.t, err)
		require.False(h.t, ok)
		s.Close()
	}
	h.snapshots = nil
}

// Transfers has readers beside an owner. Each epoch moves amounts between accounts, and inserts and
// deletes rows, so that the sum of all accounts is the same after each epoch, and in the middle of one
// hardly ever. Each account has the number of the epoch that wrote it. A snapshot has to have the sum,
// no epoch that was not settled when it was read, and the same rows whenever it is read again. Readers
// of a store that is closed get an error.
func Transfers(t *testing.T, e storage.Engine, epochs int) {
	const accounts, each, readers = 300, 1000, 3
	key := func(n int) []byte { return fmt.Appendf(nil, "account-%05d", n) }
	row := func(amount int64, epoch int) []byte {
		return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(amount)), uint64(epoch))
	}
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	var settled, begun atomic.Int64 // epochs
	commit := func(epoch int) {
		n, err := e.Cut(func(storage.Change) error { return nil })
		require.NoError(t, err)
		begun.Store(int64(epoch)) // a reader may see it from the next line on
		e.Settle(n, Checkpoint(int64(epoch)))
		settled.Store(int64(epoch))
	}
	for n := range accounts {
		require.NoError(t, e.Put(key(n), row(each, 0), 0))
	}
	commit(0)

	// read reads all rows of a snapshot, and returns their sum and the newest epoch among them.
	read := func(s storage.Snapshot) (rows map[string]string, sum, newest int64, err error) {
		rows = map[string]string{}
		for reader := s.Rows(storage.Range{}); ; {
			e, ok, err := reader.Next()
			if err != nil || !ok {
				return rows, sum, newest, err
			}
			if !assert.Len(t, e.Value, 16) {
				return rows, sum, newest, nil
			}
			rows[string(e.Key)] = string(e.Value)
			sum += int64(binary.BigEndian.Uint64(e.Value))
			newest = max(newest, int64(binary.BigEndian.Uint64(e.Value[8:])))
		}
	}
	ended := func(err error) bool {
		return errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrSnapshotEnded)
	}
	var wait sync.WaitGroup
	var scans, closed atomic.Int64
	for i := range readers {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		wait.Go(func() {
			for !t.Failed() {
				oldest := settled.Load()
				s, err := e.(storage.Snapshotter).Snapshot()
				if err != nil {
					assert.ErrorIs(t, err, storage.ErrUnavailable)
					closed.Add(1)
					return
				}
				latest := begun.Load()
				rows, sum, newest, err := read(s)
				for again := rnd.IntN(3); err == nil && again > 0; again-- {
					scans.Add(1)
					assert.EqualValues(t, accounts*each, sum, "the sum of all accounts")
					assert.LessOrEqual(t, newest, latest, "rows that were not settled")
					assert.GreaterOrEqual(t, newest, oldest, "rows that were settled are missing")
					for k, v := range rows {
						var value []byte
						if value, _, _, err = s.AppendTo(nil, []byte(k)); err != nil {
							break
						}
						if !assert.Equal(t, v, string(value), "a look-up and a scan differ") {
							break
						}
					}
					var second map[string]string
					if err == nil {
						second, _, _, err = read(s)
					}
					if err == nil {
						assert.Equal(t, rows, second, "two scans of one snapshot differ")
					}
				}
				if err != nil && !ended(err) {
					assert.NoError(t, err)
				}
				s.Close()
			}
		})
	}
	present := map[int]int64{}
	for n := range accounts {
		present[n] = each
	}
	next := accounts
	transfer := func(rows map[int]int64, epoch int) {
		all := slices.Sorted(maps.Keys(rows))
		for range 1 + rnd.IntN(60) {
			from, to := all[rnd.IntN(len(all))], all[rnd.IntN(len(all))]
			amount := rnd.Int64N(50)
			if rnd.IntN(8) == 0 { // all of it, to a new account
				if _, ok := rows[from]; !ok {
					continue
				}
				amount, to = rows[from], next
				next++
			}
			if _, ok := rows[from]; !ok || from == to {
				continue
			}
			rows[from] -= amount
			rows[to] += amount
			require.NoError(t, e.Put(key(to), row(rows[to], epoch), 0))
			if to >= accounts && rows[from] == 0 {
				delete(rows, from)
				require.NoError(t, e.Delete(key(from), 0))
				continue
			}
			require.NoError(t, e.Put(key(from), row(rows[from], epoch), 0))
		}
		// A transfer from an account to itself writes nothing. Each epoch has a row, by which readers know it.
		for _, n := range all {
			if amount, ok := rows[n]; ok {
				require.NoError(t, e.Put(key(n), row(amount, epoch), 0))
				return
			}
		}
	}
	// It goes on until readers have read: they may not run before it is at its end.
	for epoch := 1; (epoch <= epochs || scans.Load() < readers) && !t.Failed(); epoch++ {
		if rnd.IntN(10) == 0 {
			transfer(maps.Clone(present), 1<<30) // and is undone
			if rnd.IntN(2) == 0 {
				_, err := e.Cut(func(storage.Change) error { return nil })
				require.NoError(t, err)
			}
			require.NoError(t, e.Undo())
		}
		if rnd.IntN(20) == 0 {
			require.NoError(t, e.Flush(rnd.IntN(4) == 0))
		}
		transfer(present, epoch)
		commit(epoch)
	}
	require.NoError(t, e.Close(false))
	wait.Wait()
	assert.EqualValues(t, readers, closed.Load(), "readers that have noticed the end")
	t.Log("scans:", scans.Load())
}
