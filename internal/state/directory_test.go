package state_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/internal/state"
	"github.com/millstream-go/millstream/store"
)

// TestMain is also the process that holds a directory in TestAnotherProcessOwnsTheDirectory.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STATE_TEST_HOLD"); dir != "" {
		_, err := state.Open(dir, "app", state.Options{})
		fmt.Println("open:", err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

var start = time.UnixMilli(1_700_000_000_000)

func open(t *testing.T, root string) *state.Directory {
	t.Helper()
	d, err := state.Open(root, "app", state.Options{NoSync: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close(false)) })
	return d
}

func borrow(t *testing.T, d *state.Directory, n state.Name, kind state.Kind) store.Engine {
	t.Helper()
	e, info, err := d.Borrow(n, kind, nil)
	require.NoError(t, err)
	require.Empty(t, info.Aside)
	return e
}

func put(t *testing.T, e store.Engine, key string, offset int64) {
	t.Helper()
	require.NoError(t, e.Put([]byte(key), []byte("v"), 0))
	epoch, err := e.Cut(func(store.Change) error { return nil })
	require.NoError(t, err)
	e.Settle(epoch, store.Checkpoint{Offset: offset})
}

func has(t *testing.T, e store.Engine, key string) bool {
	t.Helper()
	_, _, ok, err := e.Get([]byte(key))
	require.NoError(t, err)
	return ok
}

func TestStoresAreLentToOneTaskAtATime(t *testing.T) {
	d := open(t, t.TempDir())
	n := state.Name{Store: "counts", Partition: 3}
	e := borrow(t, d, n, state.OnDisk)
	_, _, err := d.Borrow(n, state.OnDisk, nil)
	assert.ErrorContains(t, err, "counts-3 is in use")
	put(t, e, "settled", 7)
	require.NoError(t, e.Put([]byte("not settled"), []byte("v"), 0))
	require.NoError(t, d.Return(n, true, start))
	assert.ErrorContains(t, d.Return(n, true, start), "not lent")
	_, _, err = d.Borrow(n, state.InMemory, nil)
	assert.ErrorContains(t, err, "another kind")
	again := borrow(t, d, n, state.OnDisk)
	assert.Same(t, e, again, "an idle store is still open")
	assert.True(t, has(t, again, "settled"))
	assert.False(t, has(t, again, "not settled"))
	require.NoError(t, d.Return(n, false, start))
	e = borrow(t, d, n, state.OnDisk)
	assert.NotSame(t, again, e)
	require.NoError(t, d.Return(n, false, start))
}

func TestIdleStoresAreClosedAfterTenMinutes(t *testing.T) {
	root := t.TempDir()
	d := open(t, root)
	n, m := state.Name{Store: "counts"}, state.Name{Store: "counts", Partition: 1}
	e := borrow(t, d, n, state.OnDisk)
	put(t, e, "a", 1)
	require.NoError(t, d.Return(n, true, start))
	f := borrow(t, d, m, state.OnDisk)
	require.NoError(t, d.CloseIdle(start.Add(state.IdleTime-1)))
	assert.Same(t, e, borrow(t, d, n, state.OnDisk))
	require.NoError(t, d.Return(n, true, start))
	require.NoError(t, d.CloseIdle(start.Add(state.IdleTime)))
	g := borrow(t, d, n, state.OnDisk)
	assert.NotSame(t, e, g)
	assert.True(t, has(t, g, "a"))
	c, ok := g.Checkpoint()
	assert.True(t, ok)
	assert.EqualValues(t, 1, c.Offset)
	assert.FileExists(t, filepath.Join(root, "app", "counts", "0.db"))
	put(t, f, "b", 1)
	require.NoError(t, d.Return(m, true, start))
	require.NoError(t, d.Return(n, true, start))
	require.NoError(t, d.Close(true))
	d = open(t, root)
	found, err := d.Found()
	require.NoError(t, err)
	assert.ElementsMatch(t, []state.Name{n, m}, found)
}

func TestStoresInMemoryAreNotKept(t *testing.T) {
	d, err := state.Open("", "app", state.Options{})
	require.NoError(t, err)
	n := state.Name{Store: "counts"}
	put(t, borrow(t, d, n, state.InMemory), "a", 1)
	require.NoError(t, d.Return(n, true, start))
	assert.False(t, has(t, borrow(t, d, n, state.InMemory), "a"))
	_, _, err = d.Borrow(state.Name{Store: "other"}, state.OnDisk, nil)
	assert.ErrorContains(t, err, "no state directory")
	assert.ErrorContains(t, d.Close(true), "counts-0 is still in use")
	_, _, err = d.Borrow(n, state.InMemory, nil)
	assert.ErrorContains(t, err, "closed")
	assert.NoError(t, d.Close(true))
}

func TestNamesStayInTheirDirectory(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../x", ".hidden", "a/b", `a\b`, "a b"} {
		_, err := state.Open(t.TempDir(), name, state.Options{})
		assert.ErrorContains(t, err, "application name", "%q", name)
		_, _, err = open(t, t.TempDir()).Borrow(state.Name{Store: name}, state.OnDisk, nil)
		assert.ErrorContains(t, err, "store name", "%q", name)
	}
}

func TestAnotherProcessOwnsTheDirectory(t *testing.T) {
	root := t.TempDir()
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), "STATE_TEST_HOLD="+root)
	in, err := holder.StdinPipe()
	require.NoError(t, err)
	out, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "open: <nil>\n", line)

	_, err = state.Open(root, "app", state.Options{})
	assert.ErrorIs(t, err, state.ErrOwned)
	assert.ErrorContains(t, err, fmt.Sprintf("process %d on", holder.Process.Pid))

	require.NoError(t, in.Close())
	require.NoError(t, holder.Wait())
	d := open(t, root)
	_, err = state.Open(root, "app", state.Options{})
	assert.ErrorIs(t, err, state.ErrOwned, "an App of this process owns it as well")
	require.NoError(t, d.Close(true))
}

// TestAThousandStoresOpenQuickly is about what idle stores cost: no file before the first flush, no goroutine, little memory.
func TestAThousandStoresOpenQuickly(t *testing.T) {
	root := t.TempDir()
	d := open(t, root)
	began := time.Now()
	for p := range int32(1000) {
		e := borrow(t, d, state.Name{Store: "counts", Partition: p}, state.OnDisk)
		if p%10 == 0 {
			put(t, e, "a", 1)
		}
		require.NoError(t, d.Return(state.Name{Store: "counts", Partition: p}, true, start))
	}
	t.Logf("made 1,000 stores in %v, %d KiB", time.Since(began), d.Budget().Used()>>10)
	require.NoError(t, d.Close(true))
	d = open(t, root)
	began = time.Now()
	for p := range int32(1000) {
		borrow(t, d, state.Name{Store: "counts", Partition: p}, state.OnDisk)
		require.NoError(t, d.Return(state.Name{Store: "counts", Partition: p}, true, start))
	}
	t.Logf("opened them, 100 with a file, in %v, %d KiB", time.Since(began), d.Budget().Used()>>10)
	assert.Zero(t, d.Budget().Used())
}
