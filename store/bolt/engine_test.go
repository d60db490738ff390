package bolt_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/bolt"
	"github.com/millstream-go/millstream/store/memory"
	"github.com/millstream-go/millstream/store/storetest"
)

// TestMain is also the child of the crash tests: a process that may be killed or panic.
func TestMain(m *testing.M) {
	if child := os.Getenv("BOLT_TEST_CHILD"); child != "" {
		runChild(child)
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, o bolt.Options) *bolt.Engine {
	t.Helper()
	e, _, err := bolt.Open(o)
	require.NoError(t, err)
	return e
}

func pathIn(t testing.TB) string { return filepath.Join(t.TempDir(), "store", "0.db") }

func TestEngine(t *testing.T) {
	tight := bolt.Options{NoSync: true, TransactionBytes: 20 << 10, PageSize: 4096, ReplayBytes: 100 << 10}
	rewriting := tight
	rewriting.RewriteRows = 40
	for name, options := range map[string]bolt.Options{
		"default":                     {NoSync: true},
		"many small transactions":     tight,
		"maps that have to grow":      tight.SmallMap(128 << 10),
		"no room for maps":            tight.Exclusive(),
		"one flush of many at a time": {NoSync: true, Slots: make(chan struct{}, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t testing.TB) storetest.Store {
				o := options
				o.Path = pathIn(t)
				o.Budget = memory.NewBudget(1 << 20)
				return storetest.Store{
					Open:   func(t testing.TB) store.Engine { return open(t, o) },
					Reopen: func(t testing.TB) store.Engine { return open(t, o) },
					Large:  name == "default",
					Steps:  1500,
				}
			})
		})
	}
}

func settle(t testing.TB, e store.Engine, offset int64) {
	t.Helper()
	epoch, err := e.Cut(func(store.Change) error { return nil })
	require.NoError(t, err)
	e.Settle(epoch, storetest.Checkpoint(offset))
}

func putRows(t testing.TB, e store.Engine, from, to int, value string) {
	t.Helper()
	for i := from; i < to; i++ {
		require.NoError(t, e.Put(fmt.Appendf(nil, "key %06d", i), []byte(value), int64(i)))
	}
}

func TestAStoreThatIsNeverWrittenHasNoFile(t *testing.T) {
	path := pathIn(t)
	e := open(t, bolt.Options{Path: path})
	settle(t, e, 0)
	require.NoError(t, e.Close(false))
	assert.NoFileExists(t, path)
}

func TestTheMapGrowsUnderReaders(t *testing.T) {
	o := bolt.Options{Path: pathIn(t), NoSync: true, TransactionBytes: 64 << 10, PageSize: 4096}.SmallMap(256 << 10)
	e := open(t, o)
	for round := range 8 {
		putRows(t, e, round*5000, (round+1)*5000, "a value of some bytes, so that the file grows")
		settle(t, e, int64(round))
		require.NoError(t, e.Flush(false))
		n := 0
		for _, err := range e.Scan(store.Range{}) {
			require.NoError(t, err)
			n++
		}
		require.Equal(t, (round+1)*5000, n)
		require.NoError(t, e.Flush(true))
	}
	assert.Greater(t, e.Mapped(), 1<<20)
	require.NoError(t, e.Close(true))
	assert.Greater(t, open2(t, o), 1<<20, "opened again, the map fits the file")
}

// TestNewFilesAreWhatBboltExpects checks files that flushes have written page by page with bbolt's own check.
func TestNewFilesAreWhatBboltExpects(t *testing.T) {
	o := bolt.Options{Path: pathIn(t), NoSync: true, PageSize: 1024, RewriteRows: 1}
	for _, rows := range []int{1, 10, 300, 20_000} {
		for name, key := range map[string]func(i int) string{
			"short keys": func(i int) string { return fmt.Sprint(i * 7919 % 20_000) },
			"long keys":  func(i int) string { return fmt.Sprintf("%0*d", 1+i%50*i%3000, i) },
		} {
			for range 2 {
				e := open(t, o)
				for i := range min(rows, 3000+5000*len(name)%7919) {
					require.NoError(t, e.Put([]byte(key(i)), make([]byte, i%700*i%3000), 1))
				}
				settle(t, e, int64(rows))
				want := storetest.Rows(t, e, store.Range{})
				require.NoError(t, e.Close(true))
				checkFile(t, o.Path)
				e = open(t, o)
				require.Equal(t, want, storetest.Rows(t, e, store.Range{}))
				require.NoError(t, e.Close(true))
			}
			require.NoError(t, bolt.Remove(o.Path))
		}
	}
}

func checkFile(t *testing.T, path string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		return nil
	}))
}

func open2(t *testing.T, o bolt.Options) int {
	e := open(t, o)
	defer e.Close(false)
	return e.Mapped()
}

func TestAFileThatIsMostlyFreeIsCompactedAtOpen(t *testing.T) {
	o := bolt.Options{Path: pathIn(t), NoSync: true, PageSize: 4096}.SmallMap(1 << 20)
	e := open(t, o)
	putRows(t, e, 0, 20_000, "a value of some bytes, so that the file grows")
	settle(t, e, 1)
	require.NoError(t, e.Flush(true))
	for i := range 19_000 {
		require.NoError(t, e.Delete(fmt.Appendf(nil, "key %06d", i), 0))
		if i%1000 == 999 { // few enough to be written in place
			settle(t, e, 2)
			require.NoError(t, e.Flush(true))
		}
	}
	require.NoError(t, e.Close(true))
	before, err := os.Stat(o.Path)
	require.NoError(t, err)
	e, info, err := bolt.Open(o)
	require.NoError(t, err)
	defer e.Close(false)
	assert.True(t, info.Compacted)
	after, err := os.Stat(o.Path)
	require.NoError(t, err)
	assert.Less(t, after.Size(), before.Size()/2)
	n, err := e.Len()
	require.NoError(t, err)
	assert.EqualValues(t, 1000, n)
	c, ok := e.Checkpoint()
	assert.True(t, ok)
	assert.Equal(t, storetest.Checkpoint(2), c)
}

func TestPressureSealsAndFlushes(t *testing.T) {
	budget := memory.NewBudget(2 << 20)
	flushes, asked := 0, 0
	e := open(t, bolt.Options{Path: pathIn(t), NoSync: true, Budget: budget, OnFlush: func(bolt.FlushInfo) { flushes++ }})
	e.OnPressure(func() { asked++ })
	peak := int64(0)
	for i := range 100 {
		putRows(t, e, i*500, (i+1)*500, "a value of some bytes, so that memory is used")
		settle(t, e, int64(i))
		peak = max(peak, budget.Used())
	}
	require.NoError(t, e.Close(false))
	assert.Positive(t, asked)
	assert.Greater(t, flushes, 2)
	assert.LessOrEqual(t, peak, budget.Limit()*5/4)
	assert.Zero(t, budget.Used())
}

// TestStoresShareABudget has several owners write at once to stores that together have far more rows than memory.
func TestStoresShareABudget(t *testing.T) {
	const owners, rows = 4, 20_000
	budget, slots := memory.NewBudget(3<<20), make(chan struct{}, 1)
	failed := make(chan error, owners)
	for owner := range owners {
		e := open(t, bolt.Options{Path: pathIn(t), NoSync: true, Budget: budget, Slots: slots})
		go func() {
			failed <- func() error {
				for i := range rows * (owner + 1) / owners {
					if err := e.Put(fmt.Appendf(nil, "%d", i*7919%rows), make([]byte, 80), 0); err != nil {
						return err
					}
					if i%200 == 0 {
						epoch, err := e.Cut(func(store.Change) error { return nil })
						if err != nil {
							return err
						}
						e.Settle(epoch, storetest.Checkpoint(int64(i)))
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

func TestFlushesByReplayDebtAndByAge(t *testing.T) {
	flushed := make(chan bolt.FlushInfo, 100)
	o := bolt.Options{Path: pathIn(t), NoSync: true, ReplayBytes: 10_000, OnFlush: func(i bolt.FlushInfo) { flushed <- i }}
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
	c := storetest.Checkpoint(1)
	for range 3 { // cut at an age, settled, flushed
		c.Time = c.Time.Add(6 * time.Minute)
		c.Offset++
		epoch, err := e.Cut(func(store.Change) error { return nil })
		require.NoError(t, err)
		e.Settle(epoch, c)
	}
	assert.NoError(t, (<-flushed).Err)
	require.NoError(t, e.Flush(true))
	on, _ := e.Checkpoint()
	assert.Greater(t, on.Offset, int64(1))
	require.NoError(t, e.Close(false))
}

func TestFlushWritesWhatIsSettledAndNothingElse(t *testing.T) {
	o := bolt.Options{Path: pathIn(t), NoSync: true}
	e := open(t, o)
	putRows(t, e, 0, 10, "settled")
	settle(t, e, 10)
	putRows(t, e, 5, 15, "cut")
	_, err := e.Cut(func(store.Change) error { return nil })
	require.NoError(t, err)
	putRows(t, e, 0, 20, "current")
	require.NoError(t, e.Flush(true))
	require.NoError(t, e.Close(false))

	e = open(t, o)
	defer e.Close(false)
	c, ok := e.Checkpoint()
	assert.True(t, ok)
	assert.Equal(t, storetest.Checkpoint(10), c)
	rows := storetest.Rows(t, e, store.Range{})
	assert.Len(t, rows, 10)
	for _, r := range rows {
		assert.Equal(t, "settled", r.Value)
	}
}
