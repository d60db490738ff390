package lsm_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/storagetest"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files of the current version")

// TestMain is also the child of the crash tests: a process that may be killed.
func TestMain(m *testing.M) {
	if child := os.Getenv("LSM_TEST_CHILD"); child != "" {
		runChild(child)
		return
	}
	goleak.VerifyTestMain(m)
}

// random returns a source of random numbers, whose seed is in the output of a test that fails.
func random(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

func open(t testing.TB, o lsm.Options) *lsm.Engine {
	t.Helper()
	e, info, err := lsm.Open(o)
	require.NoError(t, err)
	require.Empty(t, info)
	return e
}

func pathIn(t testing.TB) string { return filepath.Join(t.TempDir(), "store", "0") }

// tiny makes stores of a few rows flush, merge and split all the time.
func tiny(path string) lsm.Options {
	return lsm.Options{Path: path, Store: "tiny", NoSync: true, PageSize: 1024, FileBytes: 12 << 10, Factor: 3, MaxRuns: 8, ReplayBytes: 20 << 10}
}

func TestEngine(t *testing.T) {
	small := tiny("")
	small.ReplayBytes = 4 << 10
	wide := tiny("")
	wide.Factor, wide.FileBytes = 8, 200<<10
	all := map[string]lsm.Options{
		"default":                       {NoSync: true},
		"tiny files":                    tiny(""),
		"a flush for nearly each epoch": small,
		"large runs and large steps":    wide,
		"one flush and merge at a time": {NoSync: true, ReplayBytes: 30 << 10, FileBytes: 30 << 10, PageSize: 2048, Slots: make(chan struct{}, 1), MergeSlots: make(chan struct{}, 1)},
		"as few runs as there can be":   {NoSync: true, ReplayBytes: 10 << 10, FileBytes: 8 << 10, PageSize: 1024, Factor: 2, MaxRuns: 3},
		"a file for each row":           {NoSync: true, ReplayBytes: 20 << 10, FileBytes: 1, PageSize: 1024, MaxRuns: 6},
	}
	if testing.Short() {
		all = map[string]lsm.Options{"tiny files": all["tiny files"]}
	}
	for name, options := range all {
		t.Run(name, func(t *testing.T) {
			storagetest.Run(t, func(t testing.TB) storagetest.Store {
				o := options
				o.Path = pathIn(t)
				o.Budget = memtable.NewBudget(1 << 20)
				steps, histories := 1200, 5
				if o.FileBytes == 1 || testing.Short() {
					steps, histories = 150, 1
				}
				return storagetest.Store{
					Open:      func(t testing.TB) storage.Engine { return open(t, o) },
					Reopen:    func(t testing.TB) storage.Engine { return open(t, o) },
					Large:     name == "default",
					Steps:     steps,
					Histories: histories,
				}
			})
		})
	}
}

// TestEngine_TheSettingsDoNotMatter runs one history under random settings: all of them end with the
// same rows.
func TestEngine_TheSettingsDoNotMatter(t *testing.T) {
	rnd := random(t)
	n := 8
	if testing.Short() {
		n = 2
	}
	w := storagetest.Workload{Seed: rnd.Uint64()}
	for range n {
		o := lsm.Options{
			Path: pathIn(t), NoSync: true, PageSize: 1 << (10 + rnd.IntN(5)), FileBytes: 1 << (11 + rnd.IntN(10)),
			Factor: 2 + rnd.IntN(7), MaxRuns: 2 + rnd.IntN(20), ReplayBytes: 1 << (12 + rnd.IntN(8)), Budget: memtable.NewBudget(1 << (16 + rnd.IntN(6))),
		}
		e := open(t, o)
		for epoch := range 20 {
			require.NoError(t, w.Write(e, epoch), "%+v", o)
			switch rnd.IntN(6) {
			case 0:
				require.NoError(t, e.Flush(true), "%+v", o)
			case 1:
				require.NoError(t, e.Flush(false), "%+v", o)
			case 2:
				require.NoError(t, e.Close(rnd.IntN(2) == 0), "%+v", o)
				e = open(t, o)
				require.NoError(t, w.Restore(e, epoch+1), "%+v", o)
			case 3:
				merged(e)
			}
		}
		require.NoError(t, w.Check(e, 20), "%+v", o)
		require.NoError(t, e.Close(true))
		e = open(t, o)
		require.NoError(t, w.Check(e, 20), "%+v", o)
		require.NoError(t, e.Healthy())
		require.NoError(t, e.Close(false))
	}
}

func settle(t testing.TB, e storage.Engine, offset int64) {
	t.Helper()
	epoch, err := e.Cut(func(storage.Change) error { return nil })
	require.NoError(t, err)
	e.Settle(epoch, storagetest.Checkpoint(offset))
}

func putRows(t testing.TB, e storage.Engine, from, to int, value string) {
	t.Helper()
	for i := from; i < to; i++ {
		require.NoError(t, e.Put(fmt.Appendf(nil, "key %06d", i), []byte(value), int64(i)))
	}
}

// flush flushes some rows.
func flush(t testing.TB, e *lsm.Engine, offset int64, from, to int, value string) {
	t.Helper()
	putRows(t, e, from, to, value)
	settle(t, e, offset)
	require.NoError(t, e.Flush(true))
}

// merged waits until nothing is to be merged.
func merged(e *lsm.Engine) { e.AwaitMerges() }

func runFiles(t testing.TB, path string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(path, "*.run"))
	require.NoError(t, err)
	return names
}

func TestOpen_AStoreThatIsNeverWrittenHasNoFiles(t *testing.T) {
	path := pathIn(t)
	e := open(t, lsm.Options{Path: path})
	settle(t, e, 0)
	require.NoError(t, e.Close(false))
	assert.NoDirExists(t, path)
}

func TestOpen_FilesThatTheRootDoesNotListAreRemoved(t *testing.T) {
	o := tiny(pathIn(t))
	e := open(t, o)
	flush(t, e, 1, 0, 100, "value")
	require.NoError(t, e.Close(true))
	listed := runFiles(t, o.Path)
	for _, name := range []string{"999999.run", "root.new"} {
		require.NoError(t, os.WriteFile(filepath.Join(o.Path, name), []byte("half a file"), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(o.Path, "notes.txt"), []byte("of somebody else"), 0o600))
	e = open(t, o)
	assert.Equal(t, listed, runFiles(t, o.Path))
	assert.NoFileExists(t, filepath.Join(o.Path, "root.new"))
	assert.FileExists(t, filepath.Join(o.Path, "notes.txt"))
	require.NoError(t, e.Close(false))
}

// TestMerge_BoundsRunsSpaceAndFiles writes the same rows again and again.
func TestMerge_BoundsRunsSpaceAndFiles(t *testing.T) {
	o := tiny(pathIn(t))
	e := open(t, o)
	rnd := random(t)
	const rows = 3000
	flush(t, e, 1, 0, rows, "a value of some bytes, at the beginning")
	merged(e)
	bottom := e.Stats().Bytes
	for round := range 60 {
		for range 150 {
			require.NoError(t, e.Put(fmt.Appendf(nil, "key %06d", rnd.IntN(rows)), fmt.Appendf(nil, "a value of some bytes, round %3d", round), 1))
		}
		settle(t, e, int64(round))
		require.NoError(t, e.Flush(true))
		require.LessOrEqual(t, e.Stats().Runs, o.MaxRuns+1)
	}
	merged(e)
	s := e.Stats()
	t.Logf("%+v, the bottom had %d bytes", s, bottom)
	assert.Less(t, s.Bytes, 2*bottom)
	assert.Less(t, s.Runs, 3*o.Factor)
	n, err := e.Len()
	require.NoError(t, err)
	assert.EqualValues(t, rows, n)
	assert.Equal(t, s.Files, e.OpenFiles(), "no file is open that no version has")
	require.NoError(t, e.Close(true))
	assert.Zero(t, e.OpenFiles())
	assert.Len(t, runFiles(t, o.Path), s.Files, "what was merged is removed")
}

// TestMerge_DeletedRowsLeaveNothing deletes all rows: at the bottom tombstones are dropped too.
func TestMerge_DeletedRowsLeaveNothing(t *testing.T) {
	o := tiny(pathIn(t))
	o.FileBytes = 60 << 10
	e := open(t, o)
	flush(t, e, 1, 0, 2000, "a value")
	merged(e)
	for i := range 2000 {
		require.NoError(t, e.Delete(fmt.Appendf(nil, "key %06d", i), 1))
	}
	settle(t, e, 2)
	require.NoError(t, e.Flush(true))
	for i := range 40 { // something to be merged with
		flush(t, e, int64(3+i), 5000+i*20, 5000+i*20+20, "another value of some more bytes, so that there are runs")
	}
	merged(e)
	n, err := e.Len()
	require.NoError(t, err)
	assert.EqualValues(t, 800, n)
	s := e.Stats()
	assert.Less(t, s.Bytes, int64(300<<10), "%+v", s)
	require.NoError(t, e.Close(true))
}

// TestMerge_TombstonesStayAboveTheBottom merges runs above the oldest: a tombstone that were left out
// there would show the row in the oldest run again.
func TestMerge_TombstonesStayAboveTheBottom(t *testing.T) {
	o := tiny(pathIn(t))
	o.FileBytes, o.MaxRuns = 1<<20, 100
	e := open(t, o)
	flush(t, e, 1, 0, 3000, "a value")
	for i := range 12 {
		require.NoError(t, e.Delete(fmt.Appendf(nil, "key %06d", i), 1))
		flush(t, e, int64(2+i), 5000+i*20, 5000+i*20+20, "another value")
		merged(e)
	}
	s := e.Stats()
	assert.Greater(t, s.Runs, 1)
	assert.Less(t, s.Runs, 8, "runs above the oldest were merged")
	n, err := e.Len()
	require.NoError(t, err)
	assert.EqualValues(t, 3000-12+12*20, n)
	assert.EqualValues(t, -12, missing(t, e, 3000))
	require.NoError(t, e.Close(true))
}

// TestMerge_AscendingKeysAreWrittenOnce: files that no newer run touches are moved, not written again.
func TestMerge_AscendingKeysAreWrittenOnce(t *testing.T) {
	o := tiny(pathIn(t))
	e := open(t, o)
	for i := range 60 {
		flush(t, e, int64(i), i*200, (i+1)*200, "a value of some bytes, one after the other")
	}
	merged(e)
	s := e.Stats()
	t.Logf("%+v", s)
	assert.Less(t, s.Written, s.Bytes*3/2, "bytes written a byte")
	assert.LessOrEqual(t, s.Runs, 2*o.Factor)
	require.NoError(t, e.Close(true))
}

// TestMerge_GoesOnAfterARestart closes the store in the middle of merges.
func TestMerge_GoesOnAfterARestart(t *testing.T) {
	o := tiny(pathIn(t))
	o.FileBytes = 6 << 10
	e := open(t, o)
	rows := 0
	for i := range 40 {
		putRows(t, e, i*37%400, i*37%400+150, fmt.Sprintf("a value of some bytes, round %d", i))
		rows = max(rows, i*37%400+150)
		settle(t, e, int64(i))
		require.NoError(t, e.Flush(true))
		require.NoError(t, e.Close(i%2 == 0)) // merges stop where they are
		e = open(t, o)
		n, err := e.Len()
		require.NoError(t, err)
		require.EqualValues(t, rows, n-missing(t, e, rows))
	}
	merged(e)
	assert.Less(t, e.Stats().Runs, 3*o.Factor)
	require.NoError(t, e.Close(true))
}

// missing returns how many of the first n rows are not there, as a negative number.
func missing(t testing.TB, e *lsm.Engine, n int) (m int64) {
	for i := range n {
		_, _, ok, err := e.Get(fmt.Appendf(nil, "key %06d", i))
		require.NoError(t, err)
		if !ok {
			m--
		}
	}
	return m
}

// TestVersion_AScanSeesOneState flushes and merges under an open scan: its files stay until it ends.
func TestVersion_AScanSeesOneState(t *testing.T) {
	o := tiny(pathIn(t))
	flushed := make(chan lsm.FlushInfo, 100)
	o.OnFlush = func(i lsm.FlushInfo) { flushed <- i }
	e := open(t, o)
	flush(t, e, 1, 0, 2000, "one")
	merged(e)
	first := runFiles(t, o.Path)
	putRows(t, e, 0, 2000, "two")
	settle(t, e, 2)
	require.NoError(t, e.Flush(false)) // goes on while the scan is open
	<-flushed
	n := 0
	for row, err := range e.Scan(storage.Range{}) {
		require.NoError(t, err)
		require.Equal(t, "two", string(row.Value))
		if n++; n == 1000 {
			assert.NoError(t, (<-flushed).Err)
			e.AwaitMerges() // the files of the scan's version are replaced
			assert.Subset(t, runFiles(t, o.Path), first, "a reader has them")
		}
	}
	require.Equal(t, 2000, n)
	require.NoError(t, e.Flush(true))
	merged(e)
	assert.Len(t, runFiles(t, o.Path), e.Stats().Files)
	assert.NotSubset(t, runFiles(t, o.Path), first, "the last reader has closed them")
	require.NoError(t, e.Close(true))
}

func TestFlush_WritesWhatIsSettledAndNothingElse(t *testing.T) {
	o := lsm.Options{Path: pathIn(t), NoSync: true}
	e := open(t, o)
	putRows(t, e, 0, 10, "settled")
	settle(t, e, 10)
	putRows(t, e, 5, 15, "cut")
	_, err := e.Cut(func(storage.Change) error { return nil })
	require.NoError(t, err)
	putRows(t, e, 0, 20, "current")
	require.NoError(t, e.Flush(true))
	require.NoError(t, e.Close(false))

	e = open(t, o)
	defer e.Close(false)
	c, ok := e.Checkpoint()
	assert.True(t, ok)
	assert.Equal(t, storagetest.Checkpoint(10), c)
	rows := storagetest.Rows(t, e, storage.Range{})
	assert.Len(t, rows, 10)
	for _, r := range rows {
		assert.Equal(t, "settled", r.Value)
	}
}

func TestFlush_ByReplayDebtAndByAge(t *testing.T) {
	flushed := make(chan lsm.FlushInfo, 100)
	o := lsm.Options{Path: pathIn(t), NoSync: true, ReplayBytes: 10_000, OnFlush: func(i lsm.FlushInfo) { flushed <- i }}
	e := open(t, o)
	for range 20 {
		putRows(t, e, 0, 20, "the same few rows again and again")
		settle(t, e, 1)
	}
	assert.NoError(t, (<-flushed).Err)
	require.NoError(t, e.Flush(true))
	for len(flushed) > 0 {
		<-flushed
	}
	c := storagetest.Checkpoint(1)
	for range 3 {
		c.Time = c.Time.Add(6 * time.Minute)
		c.Offset++
		epoch, err := e.Cut(func(storage.Change) error { return nil })
		require.NoError(t, err)
		e.Settle(epoch, c)
	}
	assert.NoError(t, (<-flushed).Err)
	require.NoError(t, e.Flush(true))
	on, _ := e.Checkpoint()
	assert.Greater(t, on.Offset, int64(1))
	require.NoError(t, e.Close(false))
}

// A checkpoint with the time of a clock that was ahead is replaced as soon as the clock is right.
func TestFlush_WhenTheClockWasAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flushes := 0
		o := lsm.Options{Path: pathIn(t), NoSync: true, OnFlush: func(lsm.FlushInfo) { flushes++ }}
		commit := func(e *lsm.Engine, c storage.Checkpoint) {
			epoch, err := e.Cut(func(storage.Change) error { return nil })
			require.NoError(t, err)
			e.Settle(epoch, c)
			synctest.Wait()
		}
		now, ahead := storagetest.Checkpoint(2), storagetest.Checkpoint(1)
		ahead.Time = now.Time.Add(9000 * time.Hour)
		e := open(t, o)
		putRows(t, e, 0, 20, "rows")
		commit(e, ahead)
		require.NoError(t, e.Close(true))
		require.Equal(t, 1, flushes)

		e = open(t, o)
		on, _ := e.Checkpoint()
		require.Equal(t, ahead, on)
		commit(e, now)
		require.Equal(t, 2, flushes)
		on, _ = e.Checkpoint()
		require.Equal(t, now, on)
		now.Time, now.Offset = now.Time.Add(-time.Second), now.Offset+1
		commit(e, now)
		require.Equal(t, 2, flushes, "a clock that is set back a little costs no flush")
		require.NoError(t, e.Close(false))
	})
}

func TestExpire_DropsWholeFilesWithoutReadingThem(t *testing.T) {
	o := tiny(pathIn(t))
	e := open(t, o)
	const rows = 20_000
	flush(t, e, 1, 0, rows, "a value of some bytes")
	merged(e)
	before := e.Stats()
	e.Expire([]byte("key "), fmt.Appendf(nil, "key %06d", rows/2))
	require.NoError(t, e.Put([]byte("other"), []byte("x"), 1))
	settle(t, e, 2)
	require.NoError(t, e.Flush(true))
	after := e.Stats()
	t.Logf("before %+v, after %+v", before, after)
	assert.InDelta(t, before.Bytes/2, after.Bytes, 60<<10)
	assert.Less(t, after.Written-before.Written, int64(60<<10), "nothing is written for it")
	require.NoError(t, e.Close(true))
	assert.Len(t, runFiles(t, o.Path), after.Files)
	e = open(t, o)
	n, err := e.Len()
	require.NoError(t, err)
	assert.InDelta(t, rows/2, n, 500)
	assert.Len(t, storagetest.Rows(t, e, storage.Range{From: fmt.Appendf(nil, "key %06d", rows/2), To: []byte("key 999999")}), rows/2,
		"nothing is missing that has not expired")
	c, ok := e.Checkpoint()
	require.True(t, ok)
	assert.Equal(t, storagetest.Checkpoint(2), c)
	require.NoError(t, e.Close(true))
}

// Rows of a segment go with their files, wherever they are: in one flush with rows of other segments and with
// rows that never expire, and in files of merges.
func TestExpire_SegmentsGoWithTheirFiles(t *testing.T) {
	for _, merge := range []bool{false, true} {
		o := tiny(pathIn(t))
		o.FileBytes, o.ReplayBytes = 1<<20, 1<<30
		if !merge {
			o.Factor, o.MaxRuns = 100, 100
		}
		e := open(t, o)
		// Keys are a class, the number of the segment, and a name: all of 'v' expire, none of 'm' and 'n'.
		e.GroupSegments(storage.Segments{Of: func(key []byte) storage.Segment {
			if key[0] != 'v' {
				return storage.Segment{}
			}
			return storage.Segment{Class: 'v', Number: int64(key[1])}
		}})
		const segments, flushes = 8, 12
		for i := range flushes {
			require.NoError(t, e.Put([]byte("meta"), fmt.Append(nil, i), int64(i)))
			require.NoError(t, e.Put([]byte("n"), fmt.Append(nil, i), int64(i)))
			for s := range segments {
				for n := range 100 {
					require.NoError(t, e.Put(fmt.Appendf(nil, "v%d%d %d", s, n, i), make([]byte, 200), int64(i)))
				}
			}
			settle(t, e, int64(i))
			require.NoError(t, e.Flush(true))
			e.AwaitMerges()
		}
		before := e.Stats()
		e.Expire([]byte("v"), []byte("v6"))
		require.NoError(t, e.Put([]byte("meta"), []byte("last"), 1))
		settle(t, e, flushes)
		require.NoError(t, e.Flush(true))
		after := e.Stats()
		t.Logf("before %+v, after %+v", before, after)
		assert.Less(t, after.Bytes, before.Bytes*(segments-6+1)/segments)
		e.Trim() // tables that were flushed last
		n, err := e.Len()
		require.NoError(t, err)
		assert.EqualValues(t, 2+flushes*100*(segments-6), n, "all of the others are there")
		require.NoError(t, e.Close(true))
	}
}

// Rows that are only inserted are written once or twice, where others are written once for each tier, unless
// scans read many runs each. There are never too many: no flush waits for ever.
func TestMerge_OfRowsThatAreOnlyInserted(t *testing.T) {
	const flushes, rows, perSegment = 60, 100, 15
	written := func(insertOnly bool, width uint64) float64 {
		o := tiny(pathIn(t))
		o.FileBytes, o.Factor, o.MaxRuns, o.ReplayBytes = 1<<20, 4, 24, 1<<30
		e := open(t, o)
		e.IndexSeries(storage.Series{Class: 'v', Tail: 8})
		e.GroupSegments(storage.Segments{
			Of:         func(key []byte) storage.Segment { return storage.Segment{Class: 'v', Number: int64(key[1])} },
			InsertOnly: insertOnly,
		})
		key := func(n, number uint64) []byte {
			return binary.BigEndian.AppendUint64(fmt.Appendf(nil, "v%c%03d", 'a'+byte(number/perSegment), n), number)
		}
		for i := range uint64(flushes) {
			for n := range uint64(rows) {
				require.NoError(t, e.Put(key(n, i), make([]byte, 200), int64(i)))
				for range 15 {
					first := i - min(i%perSegment, width)
					found := uint64(0)
					e.Visit(storage.Range{From: key(n, first), To: key(n, i), Series: 5}, func(_ storage.Entry, err error) bool {
						require.NoError(t, err)
						found++
						return true
					})
					require.Equal(t, i-first+1, found)
				}
			}
			if i%perSegment == perSegment-1 && i > perSegment {
				e.Expire([]byte("v"), fmt.Appendf(nil, "v%c", 'a'+byte(i/perSegment)-1))
			}
			settle(t, e, int64(i))
			require.NoError(t, e.Flush(true))
			e.AwaitMerges()
			e.Trim()
			require.LessOrEqual(t, e.Stats().Runs, 4*o.MaxRuns/2)
		}
		require.NoError(t, e.Close(true))
		return float64(e.Stats().Written) / (flushes * rows * (200 + 30))
	}
	lazy, wide, other := written(true, 1), written(true, 100), written(false, 1)
	t.Logf("each row is written %.2f times; %.2f when scans read many runs; %.2f when it may be replaced", lazy, wide, other)
	assert.Less(t, lazy, 2.6)
	assert.Greater(t, wide, lazy+0.5)
	assert.Greater(t, other, lazy+0.5)
}

func TestMemory_PressureSealsAndFlushes(t *testing.T) {
	budget := memtable.NewBudget(2 << 20)
	flushes, asked := 0, 0
	o := lsm.Options{Path: pathIn(t), NoSync: true, Budget: budget, OnFlush: func(lsm.FlushInfo) { flushes++ }}
	e := open(t, o)
	e.OnPressure(func() { asked++ })
	peak := int64(0)
	for i := range 100 {
		putRows(t, e, i*500, (i+1)*500, "a value of some bytes, so that memory is used")
		settle(t, e, int64(i))
		peak = max(peak, budget.Used())
	}
	require.NoError(t, e.Flush(true)) // what was sealed last is counted too
	require.NoError(t, e.Close(false))
	assert.Positive(t, asked)
	assert.Greater(t, flushes, 3)
	assert.LessOrEqual(t, peak, budget.Limit()*5/4)
	assert.Zero(t, budget.Used())
}

// TestMemory_StoresShareABudget has several owners write at once to stores that together have far more
// rows than memory.
func TestMemory_StoresShareABudget(t *testing.T) {
	const owners, rows = 4, 20_000
	budget, slots, merges := memtable.NewBudget(3<<20), make(chan struct{}, 1), make(chan struct{}, 1)
	failed := make(chan error, owners)
	for owner := range owners {
		o := lsm.Options{Path: pathIn(t), NoSync: true, Budget: budget, Slots: slots, MergeSlots: merges, FileBytes: 200 << 10}
		e := open(t, o)
		go func() {
			failed <- func() error {
				for i := range rows * (owner + 1) / owners {
					if err := e.Put(fmt.Appendf(nil, "%d", i*7919%rows), make([]byte, 80), 0); err != nil {
						return err
					}
					if i%200 == 0 {
						epoch, err := e.Cut(func(storage.Change) error { return nil })
						if err != nil {
							return err
						}
						e.Settle(epoch, storagetest.Checkpoint(int64(i)))
					}
				}
				n, err := e.Len()
				if err == nil && n != int64(rows*(owner+1)/owners) {
					err = fmt.Errorf("store %d has %d rows", owner, n)
				}
				return errors.Join(err, e.Close(true))
			}()
		}()
	}
	for range owners {
		require.NoError(t, <-failed)
	}
	assert.Zero(t, budget.Used())
}

func TestGet_AllocatesNothing(t *testing.T) {
	o := tiny(pathIn(t))
	e := open(t, o)
	for i := range 5 {
		flush(t, e, int64(i), i*100, 3000, fmt.Sprintf("a value of some bytes, round %d", i))
	}
	merged(e)
	e.Trim()
	for _, key := range keysFrom(0, 3000) { // the first look-up in a file makes the index of its leaves
		_, _, _, err := e.Get(key)
		require.NoError(t, err)
	}
	key, i := []byte("key 000000"), 0
	assert.Zero(t, testing.AllocsPerRun(2000, func() {
		i = (i + 7) % 3500
		key = fmt.Appendf(key[:0], "key %06d", i)
		if _, _, ok, err := e.Get(key); err != nil || ok != (i < 3000) {
			t.Error(i, ok, err)
		}
	})-testing.AllocsPerRun(2000, func() {
		i = (i + 7) % 3500
		key = fmt.Appendf(key[:0], "key %06d", i)
	}))
	require.NoError(t, e.Close(true))
}

// TestFiles_NoNumberTwice takes numbers of files on two goroutines, as the flusher and the merger do,
// while files are opened.
func TestFiles_NoNumberTwice(t *testing.T) {
	e := open(t, lsm.Options{Path: pathIn(t)})
	defer func() { require.NoError(t, e.Close(false)) }()
	const each = 100_000
	var taken [2][]uint64
	var wait sync.WaitGroup
	for i := range taken {
		wait.Go(func() { taken[i] = e.Numbers(each) })
	}
	wait.Wait()
	all := append(taken[0], taken[1]...)
	slices.Sort(all)
	assert.Equal(t, 2*each, len(slices.Compact(all)))
}
