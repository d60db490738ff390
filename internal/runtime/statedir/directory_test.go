package statedir_test

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

	"github.com/millstream-go/millstream/internal/runtime/statedir"
	"github.com/millstream-go/millstream/internal/storage"
)

// TestMain is also the process that holds a directory in TestOpen_AnotherProcess.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STATE_TEST_HOLD"); dir != "" {
		_, err := statedir.Open(dir, "app", statedir.Options{})
		fmt.Println("open:", err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

var start = time.UnixMilli(1_700_000_000_000)

func open(t *testing.T, root string) *statedir.Directory {
	t.Helper()
	d, err := statedir.Open(root, "app", statedir.Options{NoSync: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close(false)) })
	return d
}

func borrow(t *testing.T, d *statedir.Directory, n statedir.Name, kind statedir.Kind) storage.Engine {
	t.Helper()
	e, info, err := d.Acquire(n, kind, nil)
	require.NoError(t, err)
	require.Empty(t, info.Quarantined)
	return e
}

func put(t *testing.T, e storage.Engine, key string, offset int64) {
	t.Helper()
	require.NoError(t, e.Put([]byte(key), []byte("v"), 0))
	epoch, err := e.Cut(func(storage.Change) error { return nil })
	require.NoError(t, err)
	e.Settle(epoch, storage.Checkpoint{Offset: offset})
}

func has(t *testing.T, e storage.Engine, key string) bool {
	t.Helper()
	_, _, ok, err := e.Get([]byte(key))
	require.NoError(t, err)
	return ok
}

func TestAcquire_OneTaskAtATime(t *testing.T) {
	d := open(t, t.TempDir())
	n := statedir.Name{Store: "counts", Partition: 3}
	e := borrow(t, d, n, statedir.OnDisk)
	_, _, err := d.Acquire(n, statedir.OnDisk, nil)
	assert.ErrorContains(t, err, "counts-3 is in use")
	put(t, e, "settled", 7)
	require.NoError(t, e.Put([]byte("not settled"), []byte("v"), 0))
	require.NoError(t, d.Release(n, true, start))
	assert.ErrorContains(t, d.Release(n, true, start), "not in use")
	_, _, err = d.Acquire(n, statedir.InMemory, nil)
	assert.ErrorContains(t, err, "another kind")
	again := borrow(t, d, n, statedir.OnDisk)
	assert.Same(t, e, again, "an idle store is still open")
	assert.True(t, has(t, again, "settled"))
	assert.False(t, has(t, again, "not settled"))
	require.NoError(t, d.Release(n, false, start))
	e = borrow(t, d, n, statedir.OnDisk)
	assert.NotSame(t, again, e)
	require.NoError(t, d.Release(n, false, start))
}

func TestCloseIdle_AfterTenMinutes(t *testing.T) {
	root := t.TempDir()
	d := open(t, root)
	n, m := statedir.Name{Store: "counts"}, statedir.Name{Store: "counts", Partition: 1}
	e := borrow(t, d, n, statedir.OnDisk)
	put(t, e, "a", 1)
	require.NoError(t, d.Release(n, true, start))
	f := borrow(t, d, m, statedir.OnDisk)
	require.NoError(t, d.CloseIdle(start.Add(statedir.IdleTime-1)))
	assert.Same(t, e, borrow(t, d, n, statedir.OnDisk))
	require.NoError(t, d.Release(n, true, start))
	require.NoError(t, d.CloseIdle(start.Add(statedir.IdleTime)))
	g := borrow(t, d, n, statedir.OnDisk)
	assert.NotSame(t, e, g)
	assert.True(t, has(t, g, "a"))
	c, ok := g.Checkpoint()
	assert.True(t, ok)
	assert.EqualValues(t, 1, c.Offset)
	assert.FileExists(t, filepath.Join(root, "app", "counts", "0", "root"))
	put(t, f, "b", 1)
	require.NoError(t, d.Release(m, true, start))
	require.NoError(t, d.Release(n, true, start))
	require.NoError(t, d.Close(true))
	d = open(t, root)
	found, err := d.List()
	require.NoError(t, err)
	assert.ElementsMatch(t, []statedir.Name{n, m}, found)
}

func TestRelease_InMemoryIsClosed(t *testing.T) {
	d, err := statedir.Open("", "app", statedir.Options{})
	require.NoError(t, err)
	n := statedir.Name{Store: "counts"}
	put(t, borrow(t, d, n, statedir.InMemory), "a", 1)
	require.NoError(t, d.Release(n, true, start))
	assert.False(t, has(t, borrow(t, d, n, statedir.InMemory), "a"))
	_, _, err = d.Acquire(statedir.Name{Store: "other"}, statedir.OnDisk, nil)
	assert.ErrorContains(t, err, "no state directory")
	assert.ErrorContains(t, d.Close(true), "counts-0 is still in use")
	_, _, err = d.Acquire(n, statedir.InMemory, nil)
	assert.ErrorContains(t, err, "closed")
	assert.NoError(t, d.Close(true))
}

func TestAcquire_NamesStayInTheirDirectory(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../x", ".hidden", "a/b", `a\b`, "a b"} {
		_, err := statedir.Open(t.TempDir(), name, statedir.Options{})
		assert.ErrorContains(t, err, "application name", "%q", name)
		_, _, err = open(t, t.TempDir()).Acquire(statedir.Name{Store: name}, statedir.OnDisk, nil)
		assert.ErrorContains(t, err, "store name", "%q", name)
	}
}

func TestOpen_AnotherProcess(t *testing.T) {
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

	_, err = statedir.Open(root, "app", statedir.Options{})
	assert.ErrorIs(t, err, statedir.ErrInUse)
	assert.ErrorContains(t, err, fmt.Sprintf("process %d on", holder.Process.Pid))
	assert.ErrorContains(t, err, "set another Config.StateDir")

	require.NoError(t, in.Close())
	require.NoError(t, holder.Wait())
	d := open(t, root)
	_, err = statedir.Open(root, "app", statedir.Options{})
	assert.ErrorIs(t, err, statedir.ErrInUse, "an App of this process owns it as well")
	require.NoError(t, d.Close(true))
}

func TestOpen_DirectoryThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := statedir.Open(file, "app", statedir.Options{})
	assert.ErrorContains(t, err, "is not a directory")
	assert.ErrorContains(t, err, "Config.StateDir has to be a directory that this user can write to")
}

// TestAcquire_AThousandStores is about what idle stores cost: no file before the first flush, no
// goroutine, little memory.
func TestAcquire_AThousandStores(t *testing.T) {
	root := t.TempDir()
	d := open(t, root)
	began := time.Now()
	for p := range int32(1000) {
		e := borrow(t, d, statedir.Name{Store: "counts", Partition: p}, statedir.OnDisk)
		if p%10 == 0 {
			put(t, e, "a", 1)
		}
		require.NoError(t, d.Release(statedir.Name{Store: "counts", Partition: p}, true, start))
	}
	t.Logf("made 1,000 stores in %v, %d KiB", time.Since(began), d.Budget().Used()>>10)
	require.NoError(t, d.Close(true))
	d = open(t, root)
	began = time.Now()
	for p := range int32(1000) {
		borrow(t, d, statedir.Name{Store: "counts", Partition: p}, statedir.OnDisk)
		require.NoError(t, d.Release(statedir.Name{Store: "counts", Partition: p}, true, start))
	}
	t.Logf("opened them, 100 with a file, in %v, %d KiB", time.Since(began), d.Budget().Used()>>10)
	assert.Zero(t, d.Budget().Used())
}

func TestList_BelowAnyPath(t *testing.T) {
	for _, root := range []string{"state[prod]", "a*b", "x?", `back\slash`, "{a,b}", "with space", "ü"} {
		root := filepath.Join(t.TempDir(), root)
		d := open(t, root)
		n := statedir.Name{Store: "counts", Partition: 7}
		e := borrow(t, d, n, statedir.OnDisk)
		put(t, e, "k", 1)
		require.NoError(t, e.Flush(true))
		require.NoError(t, d.Release(n, true, start))
		found, err := d.List()
		require.NoError(t, err)
		assert.Equal(t, []statedir.Name{n}, found, root)
	}
}

func TestCheckRoot_Tilde(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, root := range []string{"~", "~/state", "~other/state"} {
		_, err := statedir.Open(root, "app", statedir.Options{})
		assert.ErrorContains(t, err, "only a shell expands", root)
	}
	left, err := os.ReadDir(".")
	require.NoError(t, err)
	assert.Empty(t, left)
	require.NoError(t, statedir.CheckRoot("./~"))
	require.NoError(t, statedir.CheckRoot("/data/~state"))
}
