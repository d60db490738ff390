package lsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/storagetest"
)

// merges notes what a store says of its merges.
type merges struct {
	mu     sync.Mutex
	infos  []lsm.MergeInfo
	behind chan struct{} // has one when flushes have begun to wait
}

func (m *merges) note(i lsm.MergeInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.infos = append(m.infos, i)
	if i.Event == lsm.MergesBehind {
		select {
		case m.behind <- struct{}{}:
		default:
		}
	}
}

func (m *merges) of(event lsm.MergeEvent) (infos []lsm.MergeInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, i := range m.infos {
		if i.Event == event {
			infos = append(infos, i)
		}
	}
	return infos
}

// TestMerge_WhenMergesFallBehindTheOwnerWaits gives merges no place. Flushes wait at MaxRuns runs, memory
// fills, and cuts wait, but hold no place that flushes of other stores need. Once merges have a place, all
// goes on.
func TestMerge_WhenMergesFallBehindTheOwnerWaits(t *testing.T) {
	const epochs, rows = 120, 200
	budget, told := memtable.NewBudget(512<<10), &merges{behind: make(chan struct{}, 1)}
	slots, places := make(chan struct{}, 1), make(chan struct{}, 1)
	places <- struct{}{}
	o := lsm.Options{Path: pathIn(t), NoSync: true, ReplayBytes: 100 << 10, FileBytes: 1 << 20, MaxRuns: 8}
	o.Budget, o.Slots, o.MergeSlots, o.OnMerge = budget, slots, places, told.note
	e := open(t, o)
	value := make([]byte, 100)
	peak, failed := int64(0), make(chan error, 1)
	go func() {
		failed <- func() error {
			for epoch := range epochs {
				for i := range rows {
					if err := e.Put(fmt.Appendf(nil, "key %06d", (epoch*rows+i)*7919%(epochs*rows)), value, 1); err != nil {
						return err
					}
				}
				number, err := e.Cut(func(storage.Change) error { return nil })
				if err != nil {
					return err
				}
				e.Settle(number, storagetest.Checkpoint(int64(epoch)))
				peak = max(peak, budget.Used())
			}
			return nil
		}()
	}()
	<-told.behind
	assert.Empty(t, told.of(lsm.MergesCaughtUp))
	// The runs of the store are as many as there may be, and another store flushes.
	assert.Equal(t, o.MaxRuns, e.Stats().Runs)
	assert.Positive(t, e.Stats().Waiting)
	assert.Positive(t, e.Stats().WaitingBytes)
	other := tiny(pathIn(t))
	other.Slots, other.MergeSlots = slots, places
	beside := open(t, other)
	flush(t, beside, 1, 0, 100, "a value")
	require.NoError(t, beside.Close(true))

	<-places
	require.NoError(t, <-failed)
	require.NoError(t, e.Flush(true))
	e.AwaitMerges()
	assert.LessOrEqual(t, peak, budget.Limit()*5/4, "rows of six times the budget were written")
	n, err := e.Len()
	require.NoError(t, err)
	assert.Equal(t, int64(epochs*rows), n)
	assert.NotEmpty(t, told.of(lsm.MergesCaughtUp))
	assert.Zero(t, e.Stats().Waiting)
	require.NoError(t, e.Close(true))
}

// TestMerge_AStoreIsClosedWhileAFlushWaits: who is told that merges fall behind is told that nobody waits any more.
func TestMerge_AStoreIsClosedWhileAFlushWaits(t *testing.T) {
	told := &merges{behind: make(chan struct{}, 1)}
	o := tiny(pathIn(t))
	o.MaxRuns, o.MergeSlots, o.OnMerge = 2, make(chan struct{}, 1), told.note
	o.MergeSlots <- struct{}{} // no place for this store
	e := open(t, o)
	flush(t, e, 1, 0, 100, "value")
	flush(t, e, 2, 0, 100, "value")
	putRows(t, e, 0, 100, "value")
	settle(t, e, 3)
	require.NoError(t, e.Flush(false))
	<-told.behind
	assert.Empty(t, told.of(lsm.MergesLeft))
	require.NoError(t, e.Close(false))
	left := told.of(lsm.MergesLeft)
	require.Len(t, left, 1)
	assert.Equal(t, 2, left[0].Runs)
	assert.Equal(t, o.Path, left[0].Path)
	assert.Empty(t, told.of(lsm.MergesCaughtUp))
	require.Len(t, told.of(lsm.MergesBehind), 1)

	e = open(t, o)
	putRows(t, e, 0, 100, "value")
	settle(t, e, 4)
	require.NoError(t, e.Flush(false))
	<-told.behind
	<-o.MergeSlots
	require.NoError(t, e.Close(true))
	require.Len(t, told.of(lsm.MergesBehind), 2)
	require.Len(t, told.of(lsm.MergesCaughtUp), 1)
}

func TestOptions_FlushesAndMergesHavePlacesOfTheirOwn(t *testing.T) {
	slots := make(chan struct{}, 1)
	assert.Panics(t, func() { _, _, _ = lsm.Open(lsm.Options{Path: pathIn(t), Slots: slots, MergeSlots: slots}) })
}

func TestMerge_IsToldOf(t *testing.T) {
	told := &merges{}
	o := tiny(pathIn(t))
	o.OnMerge = told.note
	e := open(t, o)
	for i := range int64(6) {
		flush(t, e, i, 0, 1000, fmt.Sprintf("value %d", i))
	}
	e.AwaitMerges()
	began, ended := told.of(lsm.MergeBegins), told.of(lsm.MergeEnds)
	require.NotEmpty(t, ended)
	assert.Len(t, began, len(ended), "all merges are at their end")
	for _, i := range ended {
		assert.Equal(t, o.Path, i.Path)
		assert.GreaterOrEqual(t, i.Runs, 2)
		assert.Equal(t, int64(1000), i.Rows)
		assert.Greater(t, i.Bytes, i.Rows*10)
		assert.Positive(t, i.Took)
	}
	assert.Empty(t, told.of(lsm.MergeFails))

	s := e.Stats()
	assert.Positive(t, s.Filters)
	assert.Less(t, s.Filters, s.Bytes)
	compared := s.Compared
	n, err := e.Len()
	require.NoError(t, err)
	assert.Equal(t, int64(1000), n)
	assert.Greater(t, e.Stats().Compared, compared)
	compared = e.Stats().Compared
	_, err = e.Len()
	require.NoError(t, err)
	assert.Equal(t, compared, e.Stats().Compared, "a page is compared once")
	require.NoError(t, e.Close(true))
}

// TestMerge_ThatFailsIsToldOf has pages of run files change under the store.
func TestMerge_ThatFailsIsToldOf(t *testing.T) {
	told := &merges{}
	o := tiny(pathIn(t))
	o.OnMerge = told.note
	e := open(t, o)
	flush(t, e, 1, 0, 1000, "value")
	files, err := filepath.Glob(filepath.Join(o.Path, "*.run"))
	require.NoError(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		changed, err := os.OpenFile(f, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = changed.WriteAt(make([]byte, len(b)/2), 2048)
		require.NoError(t, err)
		require.NoError(t, changed.Close())
	}
	for i := 2; e.Damaged() == nil && i < 20; i++ {
		putRows(t, e, 0, 1000, "value")
		settle(t, e, int64(i))
		if err := e.Flush(true); err != nil {
			break
		}
		e.AwaitMerges()
	}
	failed := told.of(lsm.MergeFails)
	require.NotEmpty(t, failed)
	require.True(t, errors.Is(failed[0].Err, storage.ErrDamaged), failed[0].Err)
	require.NoError(t, e.Close(false))
}

// TestMerge_WritesNoFasterThanItsPace merges more than a pace grants in a second, and takes as long as that takes.
func TestMerge_WritesNoFasterThanItsPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const second = 2 << 20
		o := pacedOptions(t, lsm.NewPace(second))
		o.MergeSlots = make(chan struct{}, 1)
		o.MergeSlots <- struct{}{}
		e := open(t, o)
		for i := range int64(4) {
			putLarge(t, e, i)
		}
		began, before := time.Now(), e.Stats()
		assert.Zero(t, before.Paced)
		<-o.MergeSlots
		e.AwaitMerges()
		after := e.Stats()
		require.Equal(t, 1, after.Runs)
		// A part of less than a MiB at the end of each file is not waited for, nor its filter and table.
		least := time.Duration((after.Written - before.Written - int64(after.Files)*(1<<20+64<<10)) * int64(time.Second) / second)
		assert.GreaterOrEqual(t, time.Since(began), least)
		assert.Greater(t, least, time.Second)
		assert.Equal(t, time.Since(began), after.Paced, "in the bubble, nothing else takes time")
		require.NoError(t, e.Close(true))
	})
}

// TestMerge_HurriesWhenFlushesWouldWait has a pace that would take years. Flushes never wait so long: a merge that
// falls behind them goes on at once.
func TestMerge_HurriesWhenFlushesWouldWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := pacedOptions(t, lsm.NewPace(1))
		o.MaxRuns = 6
		e := open(t, o)
		began := time.Now()
		for i := range int64(20) {
			putLarge(t, e, i)
		}
		assert.Less(t, time.Since(began), time.Second)
		assert.LessOrEqual(t, e.Stats().Runs, o.MaxRuns+1)
		assert.Greater(t, e.Stats().Written, e.Stats().Bytes*2, "runs were merged")
		// A merge that waits does not keep the store open.
		require.NoError(t, e.Close(true))
		assert.Less(t, time.Since(began), time.Second)
	})
}

// Merges of all stores have few places. One that may take its time leaves its place soon where flushes of another store wait for it.
func TestMerge_HurriesForAnotherStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := pacedOptions(t, lsm.NewPace(64<<10)) // a file takes 48 s
		slow.MergeSlots = make(chan struct{}, 1)
		fast := slow
		fast.Path, fast.MaxRuns, fast.FileBytes = pathIn(t), 6, 64<<10
		first := open(t, slow)
		for i := range int64(4) {
			putLarge(t, first, i)
		}
		synctest.Wait()
		require.Len(t, slow.MergeSlots, 1, "it merges, and waits")
		second := open(t, fast)
		began := time.Now()
		for i := range int64(4 * fast.MaxRuns) {
			putRows(t, second, 0, 100, fmt.Sprint(i))
			settle(t, second, i)
			require.NoError(t, second.Flush(true))
		}
		assert.Less(t, time.Since(began), time.Second)
		require.NoError(t, second.Close(true))
		require.NoError(t, first.Close(true))
	})
}

func pacedOptions(t *testing.T, p *lsm.Pace) lsm.Options {
	return lsm.Options{Path: pathIn(t), NoSync: true, FileBytes: 3 << 20, ReplayBytes: 1 << 30, Factor: 4, Pace: p}
}

// putLarge writes and flushes 2 MiB of rows, the same keys each time the round is the same by four.
func putLarge(t *testing.T, e *lsm.Engine, round int64) {
	value := bytes.Repeat([]byte{byte(round)}, 4<<10)
	for i := range int64(512) {
		require.NoError(t, e.Put(fmt.Appendf(nil, "key %06d", i*4+round%4), value, 1))
	}
	settle(t, e, round)
	require.NoError(t, e.Flush(true))
}

// A merge that goes on after a restart may ask whether to hurry while the first flush notes what it has written.
func TestMerge_DuringTheFirstFlush(t *testing.T) {
	e := open(t, pacedOptions(t, lsm.NewPace(1)))
	assert.False(t, e.Hurries(1<<20))
	require.NoError(t, e.Close(true))
}

// Runs of rows that are only inserted are merged seldom. A store that is opened again does not merge them before it hears that they are.
func TestMerge_InsertOnlyAfterARestart(t *testing.T) {
	o := tiny(pathIn(t))
	group := func(e *lsm.Engine) {
		e.GroupSegments(storage.Segments{Of: func([]byte) storage.Segment { return storage.Segment{} }, InsertOnly: true})
	}
	e := open(t, o)
	group(e)
	flush := func(n int) {
		putRows(t, e, n*10, n*10+10, "value")
		settle(t, e, int64(n))
		require.NoError(t, e.Flush(true))
		e.AwaitMerges()
	}
	n := o.Factor*4 - 2 // two more would be merged
	for i := range n {
		flush(i)
	}
	require.Equal(t, n, e.Stats().Runs)
	require.NoError(t, e.Close(true))
	e = open(t, o)
	e.AwaitMerges()
	group(e)
	flush(n)
	assert.Equal(t, n+1, e.Stats().Runs, "none was merged")
	flush(n + 1)
	assert.Less(t, e.Stats().Runs, n+1)
	require.NoError(t, e.Close(true))
}
