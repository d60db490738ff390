package lsm_test

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/crashpoint"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/storagetest"
)

var crashes = flag.Int("crashes", 200, "crashes at random points, and power losses")

// points are those at which a store's goroutines may end.
var points = append([]crashpoint.Point{crashpoint.FlushBegin, crashpoint.FlushHalf, crashpoint.FlushDone}, crashpoint.StorePoints()...)

// crashOptions make many small files.
func crashOptions(path string) lsm.Options {
	return lsm.Options{Path: path, Store: "crashes", PageSize: 1024, FileBytes: 20 << 10, Factor: 3, MaxRuns: 8}
}

// TestCrash_AtEachPoint kills a store's goroutines at a random one of the points, opens what is there
// and replays the rest, again and again on the same files.
func TestCrash_AtEachPoint(t *testing.T) {
	rnd := random(t)
	n := *crashes / 2
	if testing.Short() {
		n = 18
	}
	met := map[crashpoint.Point]int{}
	w, o, end := storagetest.Workload{Seed: rnd.Uint64()}, crashOptions(pathIn(t)), 0
	o.NoSync = true
	// On until each point was met: a store may end before it comes to the one that is to kill it.
	for i := 0; i < n || len(met) < len(points); i++ {
		require.Less(t, i, 20*n, "points that are never met: %v", met)
		if i%40 == 0 { // a new store
			w, end = storagetest.Workload{Seed: rnd.Uint64()}, 0
			require.NoError(t, lsm.Remove(o.Path))
		}
		at, passes := points[i%len(points)], int64(1+rnd.IntN(4))
		if at == crashpoint.MergeDone {
			passes = 1 // far fewer merges end than files are written
		}
		left := atomic.Int64{}
		left.Store(passes)
		died := atomic.Bool{}
		o.Hook = func(p crashpoint.Point) {
			if died.Load() || p == at && left.Add(-1) == 0 {
				died.Store(true)
				panic(crashpoint.Dead)
			}
		}
		e := open(t, o)
		require.NoError(t, w.CheckAccepted(e, end), "%v", at)
		require.NoError(t, w.Restore(e, end), "%v", at)
		for range 60 {
			require.NoError(t, w.Write(e, end))
			end++
			if err := e.Flush(rnd.IntN(2) == 0); err != nil {
				require.ErrorIs(t, err, crashpoint.Dead)
			}
			if died.Load() {
				break
			}
			if rnd.IntN(3) == 0 || at == crashpoint.MergeDone {
				merged(e)
			}
		}
		require.NoError(t, w.Check(e, end), "memory still has all rows")
		require.NoError(t, e.Close(false))
		if died.Load() {
			met[at]++
		}
		o.Hook = nil
		e = open(t, o)
		require.NoError(t, w.CheckAccepted(e, end), "after %v", at)
		require.NoError(t, w.Restore(e, end), "after %v", at)
		require.NoError(t, w.Check(e, end), "after %v", at)
		if rnd.IntN(3) == 0 {
			require.NoError(t, e.Flush(true))
			merged(e)
			require.NoError(t, w.Check(e, end), "merged after %v", at)
			require.Len(t, runFiles(t, o.Path), e.Stats().Files, "nothing is left over after %v", at)
		}
		require.NoError(t, e.Close(rnd.IntN(2) == 0))
	}
	t.Logf("crashes: %v", met)
}

// child runs this test binary as another process.
func child(what, path string, seed uint64, end int) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "LSM_TEST_CHILD="+what, "LSM_TEST_PATH="+path,
		"LSM_TEST_SEED="+strconv.FormatUint(seed, 10), "LSM_TEST_END="+strconv.Itoa(end))
	return c
}

// runChild is main of a child.
func runChild(what string) {
	seed, _ := strconv.ParseUint(os.Getenv("LSM_TEST_SEED"), 10, 64)
	end, _ := strconv.Atoi(os.Getenv("LSM_TEST_END"))
	w, path := storagetest.Workload{Seed: seed}, os.Getenv("LSM_TEST_PATH")
	var err error
	switch what {
	case "verify":
		err = childVerify(w, path, end)
	case "write":
		err = childWrite(w, path, end)
	case "write and sync":
		err = childSync(w, path, end)
	case "full disk":
		err = childFullDisk(w, path)
	default:
		err = fmt.Errorf("%q is no child", what)
	}
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// childVerify opens what is at path, says how many epochs it has, restores what it lacks and compares.
func childVerify(w storagetest.Workload, path string, end int) error {
	e, info, err := lsm.Open(crashOptions(path))
	if err != nil {
		return err
	}
	if info.Reason != "" {
		fmt.Println("aside:", info.Reason)
	}
	c, _ := e.Checkpoint()
	fmt.Println("epochs", c.Offset/storagetest.EpochChanges)
	return errors.Join(w.CheckAccepted(e, end), w.Restore(e, end), w.Check(e, end), e.Close(true))
}

// childWrite goes on from epoch end for ever. It says which epoch it is about to settle.
func childWrite(w storagetest.Workload, path string, end int) error {
	e, _, err := lsm.Open(crashOptions(path))
	if err != nil {
		return err
	}
	if err := w.Restore(e, end); err != nil {
		return err
	}
	for n := end; ; n++ {
		fmt.Println(n)
		if err := w.Write(e, n); err != nil {
			return err
		}
		if n%3 == 0 {
			if err := e.Flush(n%2 == 0); err != nil {
				return err
			}
		}
	}
}

// childSync writes epochs, and says what is safe.
func childSync(w storagetest.Workload, path string, end int) error {
	e, _, err := lsm.Open(crashOptions(path))
	if err != nil {
		return err
	}
	for n := range end {
		if err := w.Write(e, n); err != nil {
			return err
		}
		if n == end/2 {
			if err := e.Close(true); err != nil {
				return err
			}
			fmt.Printf("safe %d\n", n+1)
			if e, _, err = lsm.Open(crashOptions(path)); err != nil {
				return err
			}
		}
		if err := e.Flush(true); err != nil {
			return err
		}
		fmt.Printf("safe %d\n", n+1)
	}
	return e.Close(true)
}

func output(t testing.TB, c *exec.Cmd) (string, error) {
	t.Helper()
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s%.2000s", err, out, errs.String())
	}
	return string(out), err
}

// TestCrash_KillNine kills a writing process, again and again, at any moment, and goes on where it
// stopped.
func TestCrash_KillNine(t *testing.T) {
	rnd := random(t)
	seed := rnd.Uint64()
	path, end, found := pathIn(t), 0, 0
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	for range rounds {
		end = killAfter(t, path, seed, end, 1+rnd.IntN(30))
		if len(runFiles(t, path)) > 0 {
			found++
		}
		out, err := output(t, child("verify", path, seed, end))
		require.NoError(t, err)
		assert.NotContains(t, out, "aside")
	}
	t.Logf("%d epochs; %d of %d kills left files", end, found, rounds)
	assert.Positive(t, found)
}

// killAfter runs a writer from epoch end until it has begun some more epochs, and returns how many may
// be settled.
func killAfter(t *testing.T, path string, seed uint64, end, epochs int) int {
	c := child("write", path, seed, end)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	lines := bufio.NewScanner(out)
	for range epochs {
		require.True(t, lines.Scan())
	}
	require.NoError(t, c.Process.Kill())
	last := lines.Text()
	for lines.Scan() {
		last = lines.Text()
	}
	_ = c.Wait() // it was killed
	n, err := strconv.Atoi(last)
	require.NoError(t, err, "child: %s", last)
	return n + 1
}

// TestCrash_RandomHistoriesWithMerges runs a random history whose goroutines are at random places when
// the store is closed without a flush.
func TestCrash_RandomHistoriesWithMerges(t *testing.T) {
	rnd := rand.New(rand.NewPCG(random(t).Uint64(), 1))
	o := crashOptions(pathIn(t))
	o.NoSync = true
	w, end := storagetest.Workload{Seed: rnd.Uint64()}, 0
	for range 20 {
		e := open(t, o)
		require.NoError(t, w.Restore(e, end))
		for range rnd.IntN(20) {
			require.NoError(t, w.Write(e, end))
			end++
			require.NoError(t, e.Flush(false))
		}
		require.NoError(t, w.Check(e, end))
		n := 0
		for _, err := range e.Scan(storage.Range{Backward: true}) {
			require.NoError(t, err)
			n++
		}
		require.Len(t, w.Rows(end), n)
		require.NoError(t, e.Close(false))
	}
}

// TestCrash_AMergeBesideAFlusherThatDied has a merge wait for its place until the flusher has died between
// the root on disk and the list in memory.
func TestCrash_AMergeBesideAFlusherThatDied(t *testing.T) {
	o := tiny(pathIn(t))
	o.Factor, o.MergeSlots = 2, make(chan struct{}, 1)
	o.MergeSlots <- struct{}{}
	var deadly atomic.Bool
	crashed := make(chan struct{})
	o.Crashed = func() { close(crashed) }
	o.Hook = func(p crashpoint.Point) {
		if p == crashpoint.RootReplaced && deadly.Load() {
			panic(crashpoint.Dead)
		}
	}
	e := open(t, o)
	for i := range 4 {
		flush(t, e, int64(i), 100*i, 100*i+200, "value")
	}
	deadly.Store(true)
	putRows(t, e, 0, 200, "value") // as large as the others, so that it is merged with them
	settle(t, e, 10)
	require.ErrorIs(t, e.Flush(true), crashpoint.Dead)
	<-crashed
	<-o.MergeSlots
	merged(e)
	require.NoError(t, e.Close(false))
	o.Hook, o.Crashed = nil, nil
	e = open(t, o)
	n, err := e.Len()
	require.NoError(t, err)
	require.EqualValues(t, 500, n)
	require.NoError(t, e.Close(true))
}
