package lsm_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/storagetest"
)

// damaged is a closed store of several runs, some of several files.
type damaged struct {
	o    lsm.Options
	rows map[string]storagetest.Row
}

func newDamaged(t testing.TB) damaged {
	d := damaged{o: tiny(pathIn(t)), rows: map[string]storagetest.Row{}}
	d.o.Factor = 6
	e := open(t, d.o)
	for round, n := range []int{900, 200, 30, 5} {
		putRows(t, e, 0, n, fmt.Sprintf("a value of round %d", round))
		require.NoError(t, e.Delete(fmt.Appendf(nil, "key %06d", n), 1))
		settle(t, e, int64(100*(round+1)))
		require.NoError(t, e.Flush(true))
		merged(e)
	}
	for _, r := range storagetest.Rows(t, e, storage.Range{}) {
		d.rows[r.Key] = r
	}
	require.NoError(t, e.Close(true))
	return d
}

// files returns the files of the store: the run files and the root.
func (d damaged) files(t testing.TB) []string {
	return append(runFiles(t, d.o.Path), filepath.Join(d.o.Path, "root"))
}

// check reads in all ways. What it reads is right, or the error is that of damage; it returns whether
// there was one.
func (d damaged) check(t testing.TB, e *lsm.Engine) (found bool) {
	t.Helper()
	for i := range 950 {
		if i%32 == 0 { // the others are looked up alone
			e.ReadAhead(keysFrom(i, 16))
		}
		key := fmt.Sprintf("key %06d", i)
		v, ms, ok, err := e.Get([]byte(key))
		if err != nil {
			require.ErrorIs(t, err, storage.ErrDamaged)
			found = true
			continue
		}
		want, there := d.rows[key]
		require.Equal(t, there, ok, key)
		if ok {
			require.Equal(t, want, storagetest.Row{Key: key, Value: string(v), Time: ms})
		}
	}
	found = d.checkSnapshot(t, e) || found
	for _, r := range []storage.Range{{}, {Backward: true}} {
		n := 0
		var failed error
		for row, err := range e.Scan(r) {
			if failed = err; err != nil {
				require.ErrorIs(t, err, storage.ErrDamaged)
				found = true
				break
			}
			require.Equal(t, d.rows[string(row.Key)], storagetest.Row{Key: string(row.Key), Value: string(row.Value), Time: row.Time})
			n++
		}
		if failed == nil {
			require.Len(t, d.rows, n, "a scan that ends early without an error")
		}
	}
	return found
}

// checkSnapshot is check for what other goroutines read.
func (d damaged) checkSnapshot(t testing.TB, e *lsm.Engine) (found bool) {
	s, err := e.Snapshot()
	require.NoError(t, err)
	defer s.Close()
	for i := 0; i < 950; i += 7 {
		key := fmt.Sprintf("key %06d", i)
		v, ms, ok, err := s.AppendTo(nil, []byte(key))
		if err != nil {
			require.ErrorIs(t, err, storage.ErrDamaged)
			found = true
			continue
		}
		want, there := d.rows[key]
		require.Equal(t, there, ok, key)
		if ok {
			require.Equal(t, want, storagetest.Row{Key: key, Value: string(v), Time: ms})
		}
	}
	for _, r := range []storage.Range{{}, {Backward: true}} {
		rows, n := s.Rows(r), 0
		for {
			row, ok, err := rows.Next()
			if err != nil {
				require.ErrorIs(t, err, storage.ErrDamaged)
				found = true
				break
			}
			if !ok {
				require.Len(t, d.rows, n, "a scan that ends early without an error")
				break
			}
			require.Equal(t, d.rows[string(row.Key)], storagetest.Row{Key: string(row.Key), Value: string(row.Value), Time: row.Time})
			n++
		}
	}
	return found
}

// TestDamage_AnyByteOfAnyFile changes a byte of a file, before the store is opened or while it is open.
// It is found at opening, when it is read, or by the merge that reads it last; no row is ever wrong.
func TestDamage_AnyByteOfAnyFile(t *testing.T) {
	rnd := random(t)
	n := 60
	if testing.Short() {
		n = 15
	}
	atOpening, later, harmless := 0, 0, 0
	for round := 0; round < n || atOpening == 0 || later == 0; round++ {
		require.Less(t, round, 2000, "damage that is never found at opening, or never after it")
		d := newDamaged(t)
		files := d.files(t)
		victim := files[rnd.IntN(len(files))]
		if rnd.IntN(2) == 0 {
			changeByte(t, rnd, victim)
		}
		e, info, err := lsm.Open(d.o)
		require.NoError(t, err)
		if info.Reason != "" {
			atOpening++
			require.FileExists(t, info.Quarantined)
			require.NoDirExists(t, d.o.Path)
			require.Empty(t, storagetest.Rows(t, e, storage.Range{}))
			_, ok := e.Checkpoint()
			require.False(t, ok, "the store is restored in full")
			flush(t, e, 1, 0, 100, "restored")
			require.NoError(t, e.Close(true))
			continue
		}
		changeByte(t, rnd, victim)
		told := 0
		e.OnDamage(func() { told++ })
		if !d.check(t, e) {
			harmless++ // the root, which is not read again, or a page of no rows
			require.NoError(t, e.Damaged())
			require.NoError(t, e.Close(false))
			continue
		}
		later++
		require.Equal(t, 1, told)
		require.ErrorContains(t, e.Damaged(), victim)
		require.ErrorIs(t, e.Healthy(), storage.ErrDamaged)
		require.NoError(t, e.Put([]byte("in memory"), []byte("x"), 1))
		_, _, ok, err := e.Get([]byte("in memory"))
		require.NoError(t, err, "memory is still read")
		require.True(t, ok)
		info, err = e.Discard()
		require.NoError(t, err)
		require.FileExists(t, info.Quarantined)
		require.NoDirExists(t, d.o.Path)
		e, again, err := lsm.Open(d.o)
		require.NoError(t, err)
		require.Empty(t, again)
		require.NoError(t, e.Close(false))
	}
	t.Logf("%d found at opening, %d when they were read, %d where nobody reads", atOpening, later, harmless)
}

func changeByte(t testing.TB, rnd *rand.Rand, path string) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return // moved aside
	}
	require.NoError(t, err)
	at := rnd.IntN(len(b))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{b[at] ^ byte(1+rnd.IntN(255))}, int64(at))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// TestDamage_FilesThatAreNotTheirs takes files away, cuts them, and exchanges them with others.
func TestDamage_FilesThatAreNotTheirs(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, d damaged, files []string){
		"a run file is missing":  func(t *testing.T, _ damaged, files []string) { require.NoError(t, os.Remove(files[0])) },
		"a run file is cut":      func(t *testing.T, _ damaged, files []string) { require.NoError(t, os.Truncate(files[0], 5000)) },
		"a run file is empty":    func(t *testing.T, _ damaged, files []string) { require.NoError(t, os.Truncate(files[0], 0)) },
		"a run file is a folder": func(t *testing.T, _ damaged, files []string) { asFolder(t, files[0]) },
		"the root is empty": func(t *testing.T, d damaged, _ []string) {
			require.NoError(t, os.Truncate(filepath.Join(d.o.Path, "root"), 0))
		},
		"the folder is a file": func(t *testing.T, d damaged, _ []string) {
			require.NoError(t, os.RemoveAll(d.o.Path))
			require.NoError(t, os.WriteFile(d.o.Path, []byte("no folder"), 0o600))
		},
		"the root is a folder": func(t *testing.T, d damaged, _ []string) { asFolder(t, filepath.Join(d.o.Path, "root")) },
		"two run files are exchanged": func(t *testing.T, _ damaged, files []string) {
			require.NoError(t, os.Rename(files[0], files[0]+".x"))
			require.NoError(t, os.Rename(files[1], files[0]))
			require.NoError(t, os.Rename(files[0]+".x", files[1]))
		},
		"a run file of another store": func(t *testing.T, d damaged, files []string) {
			other := newDamaged(t)
			b, err := os.ReadFile(filepath.Join(other.o.Path, filepath.Base(files[len(files)-2])))
			require.NoError(t, err)
			b[len(b)/2] ^= 1
			require.NoError(t, os.WriteFile(files[0], b, 0o600))
		},
		"the root of another partition": func(t *testing.T, d damaged, _ []string) {
			o := d.o
			o.Path, o.Partition = pathIn(t), 1
			e := open(t, o)
			flush(t, e, 1, 0, 10, "x")
			require.NoError(t, e.Close(true))
			b, err := os.ReadFile(filepath.Join(o.Path, "root"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(d.o.Path, "root"), b, 0o600))
		},
		"the root of an older day": func(t *testing.T, d damaged, files []string) {
			root := filepath.Join(d.o.Path, "root")
			old, err := os.ReadFile(root)
			require.NoError(t, err)
			e := open(t, d.o)
			for i := range 12 { // until the files of the old root are merged
				flush(t, e, int64(1000+i), 0, 900, "another value")
			}
			merged(e)
			require.NoError(t, e.Close(true))
			require.NotContains(t, runFiles(t, d.o.Path), files[0])
			require.NoError(t, os.WriteFile(root, old, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDamaged(t)
			harm(t, d, runFiles(t, d.o.Path))
			e, info, err := lsm.Open(d.o)
			require.NoError(t, err)
			assert.NotEmpty(t, info.Reason)
			assert.Empty(t, storagetest.Rows(t, e, storage.Range{}))
			assert.NoDirExists(t, d.o.Path)
			flush(t, e, 1, 0, 100, "restored")
			require.NoError(t, e.Close(true))
			require.NoError(t, lsm.Remove(d.o.Path))
			left, err := os.ReadDir(filepath.Dir(d.o.Path))
			require.NoError(t, err)
			for _, f := range left {
				assert.Equal(t, info.Quarantined, filepath.Join(filepath.Dir(d.o.Path), f.Name()), "Remove leaves what was moved aside")
			}
		})
	}
}

func asFolder(t *testing.T, path string) {
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o700))
}

// TestDamage_AMergeStopsAndSaysWhy damages a page that no reader has read: the merge finds it, the
// files stay, and nothing of the page is copied.
func TestDamage_AMergeStopsAndSaysWhy(t *testing.T) {
	d := newDamaged(t)
	d.o.Factor = 2
	e := open(t, d.o)
	merged(e)
	files := runFiles(t, d.o.Path)
	for _, name := range files {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		b[2*1024+100] ^= 1 // the first leaf
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt(b[2*1024+100:2*1024+101], 2*1024+100)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	told := make(chan struct{})
	e.OnDamage(func() { close(told) })
	for i := range 20 {
		putRows(t, e, 0, 900, fmt.Sprintf("value %d", i))
		settle(t, e, int64(1000+i))
		if err := e.Flush(true); err != nil {
			require.ErrorIs(t, err, storage.ErrDamaged)
			break
		}
	}
	<-told
	require.ErrorIs(t, e.Healthy(), storage.ErrDamaged)
	info, err := e.Discard()
	require.NoError(t, err)
	assert.Contains(t, files, filepath.Join(d.o.Path, filepath.Base(damagedFile(info))))
	assert.FileExists(t, info.Quarantined)
}

// damagedFile returns the file that the reason of a quarantine names.
func damagedFile(i lsm.Info) (name string) {
	_, _ = fmt.Sscanf(i.Reason, "%q", &name)
	return name
}

func TestOpen_AnUnknownVersionIsAnErrorAndTheFilesStay(t *testing.T) {
	d := newDamaged(t)
	root := filepath.Join(d.o.Path, "root")
	b, err := os.ReadFile(root)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(root, lsm.WithVersion(b, 9), 0o600))
	before := d.files(t)
	for range 2 {
		_, info, err := lsm.Open(d.o)
		assert.ErrorIs(t, err, storage.ErrVersion)
		assert.ErrorContains(t, err, "9, known is 1")
		assert.Empty(t, info)
	}
	assert.Equal(t, before, d.files(t))
}

// FuzzDecodeRoot gives the decoder bytes with a checksum that is right, which a disk alone cannot do.
func FuzzDecodeRoot(f *testing.F) {
	d := newDamaged(f)
	b, err := os.ReadFile(filepath.Join(d.o.Path, "root"))
	require.NoError(f, err)
	f.Add(b)
	f.Add(b[:60])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, lsm.WithVersion(b, 1)} {
			again, err := lsm.DecodeRoot(b, d.o)
			if err == nil {
				require.Equal(t, b, again)
				continue
			}
			require.True(t, errors.Is(err, storage.ErrDamaged) || errors.Is(err, storage.ErrVersion), err)
		}
	})
}

// TestGoldenRoot opens a store of each version that there has been.
func TestGoldenRoot(t *testing.T) {
	golden := filepath.Join("testdata", "v1")
	o := lsm.Options{Path: pathIn(t), Store: "golden", Partition: 2, PageSize: 1024, NoSync: true}
	want := []storagetest.Row{
		{Key: "", Value: "empty key", Time: -1}, {Key: "a", Value: "2", Time: 1_700_000_000_000}, {Key: "empty value", Value: "", Time: 2},
	}
	if *rewrite {
		e := open(t, o)
		require.NoError(t, e.Put([]byte(""), []byte("empty key"), -1))
		require.NoError(t, e.Put([]byte("a"), []byte("1"), 1))
		require.NoError(t, e.Put([]byte("deleted"), []byte("1"), 1))
		require.NoError(t, e.Put([]byte("empty value"), []byte{}, 2))
		settle(t, e, 41)
		require.NoError(t, e.Flush(true))
		require.NoError(t, e.Put([]byte("a"), []byte("2"), 1_700_000_000_000))
		require.NoError(t, e.Delete([]byte("deleted"), 3))
		settle(t, e, 42)
		require.NoError(t, e.Flush(true))
		require.NoError(t, e.Close(true))
		require.NoError(t, os.RemoveAll(golden))
		require.NoError(t, os.CopyFS(golden, os.DirFS(o.Path)))
		require.NoError(t, os.RemoveAll(o.Path))
	}
	require.NoError(t, os.CopyFS(o.Path, os.DirFS(golden)))
	before, err := os.ReadFile(filepath.Join(golden, "root"))
	require.NoError(t, err)
	again, err := lsm.DecodeRoot(before, o)
	require.NoError(t, err)
	require.Equal(t, before, again, "the format has changed: it needs a new version")
	e := open(t, o)
	c, ok := e.Checkpoint()
	assert.True(t, ok)
	assert.Equal(t, storagetest.Checkpoint(42), c)
	assert.Equal(t, want, storagetest.Rows(t, e, storage.Range{}))
	require.NoError(t, e.Put([]byte("b"), []byte("written by this version"), 3))
	settle(t, e, 43)
	require.NoError(t, e.Close(true))
}
