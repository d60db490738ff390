package run_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/run"
)

const damagePage = 1024

// whole is a file of three levels of pages, with tombstones and a row larger than a page.
var whole = sync.OnceValue(func() (w struct {
	model rows
	info  run.Info
	bytes []byte
}) {
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	w.model = rows{}
	path := filepath.Join(dir, "000007.run")
	b, err := run.Create(path, run.Identity{Store: "counts", Sequence: 7}, run.Options{PageSize: damagePage, NoSync: true})
	for i := range 1200 {
		key, row := fmt.Sprintf("key %06d", 2*i), stored(int64(i), fmt.Appendf(nil, "value %d", i))
		switch {
		case i == 600:
			row = stored(int64(i), make([]byte, 3*damagePage))
		case i%7 == 0:
			row = deleted
		}
		w.model[key] = row
		if row == deleted {
			err = errors.Join(err, b.AddDeleted([]byte(key)))
		} else {
			err = errors.Join(err, b.Add([]byte(key), []byte(row)))
		}
	}
	info, e := b.Finish()
	w.info = info
	w.bytes, err = os.ReadFile(path)
	if err = errors.Join(err, e); err != nil {
		panic(err)
	}
	return w
})

// use reads all that a file has in every way. What it reads is right, or an error says that the file is
// damaged: found is whether one did.
func use(t *testing.T, path string, r *run.Reader) (found bool) {
	t.Helper()
	w := whole()
	damaged := func(err error) bool {
		if err == nil {
			return false
		}
		require.ErrorIs(t, err, storage.ErrDamaged)
		require.ErrorContains(t, err, path)
		require.Equal(t, r.Damaged(), err)
		found = true
		return true
	}
	for i := range 300 {
		key := fmt.Sprintf("key %06d", i*9)
		if row, state, err := r.Get(nil, []byte(key)); !damaged(err) {
			require.Equal(t, w.model[key], text(row, state), "%q", key)
		}
	}
	for _, x := range []storage.Range{{}, {Backward: true}, {From: []byte("key 001199")}, {Backward: true, To: []byte("key 001201")}} {
		var walk run.Walk
		n, want := 0, w.model.within(x)
		for walk.Start(run.Files{{Reader: r}}, x, false); walk.Valid(); walk.Next() {
			require.Less(t, n, len(want))
			require.Equal(t, want[n], string(walk.Key()))
			require.Equal(t, w.model[want[n]], text(walk.Row().Stored, walk.Row().State))
			n++
		}
		if !damaged(walk.Err()) {
			require.Equal(t, len(want), n, "a walk that ends early without an error")
		}
	}
	damaged(r.Verify())
	return found
}

// A changed byte is found at the latest when it is touched, and never read.
func TestDamage_AByteChangedBeforeOpening(t *testing.T) {
	rnd := random(t)
	b := whole().bytes
	path := filepath.Join(t.TempDir(), "000007.run")
	atOpening, later := 0, 0
	for at := rnd.IntN(37); at < len(b); at += 1 + rnd.IntN(250) {
		damaged := append([]byte{}, b...)
		damaged[at] ^= 1 << rnd.IntN(8)
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		r, err := run.Open(path, whole().info)
		if err != nil {
			atOpening++
			require.ErrorIs(t, err, storage.ErrDamaged, "byte %d", at)
			require.ErrorContains(t, err, path)
			continue
		}
		later++
		require.True(t, use(t, path, r), "byte %d: nothing was found", at)
		require.NoError(t, r.Close())
	}
	t.Logf("%d found at opening, %d when they were read", atOpening, later)
	assert.Positive(t, atOpening)
	assert.Positive(t, later)
}

// A map shows what happens to the file while it is open.
func TestDamage_AByteChangedUnderAReader(t *testing.T) {
	rnd := random(t)
	b := whole().bytes
	path := filepath.Join(t.TempDir(), "000007.run")
	for range 60 {
		require.NoError(t, os.WriteFile(path, b, 0o600))
		r, err := run.Open(path, whole().info)
		require.NoError(t, err)
		at := 2*damagePage + rnd.IntN(len(b)-4*damagePage)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte{b[at] ^ byte(1+rnd.IntN(255))}, int64(at))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.True(t, use(t, path, r), "byte %d: nothing was found", at)
		require.NoError(t, r.Close())
	}
}

// A filter in which a bit is missing would hide a row: nothing else says that the row is there.
func TestDamage_AFilterThatChanged(t *testing.T) {
	w := whole()
	path := filepath.Join(t.TempDir(), "000007.run")
	// The filter is between the free list, the last page of bbolt, and the table of checksums.
	pages := int(binary.BigEndian.Uint64(w.bytes[len(w.bytes)-24-tailLength(w.bytes)+5:]))
	filter := w.bytes[pages*damagePage:][:len(w.model)*10/8]
	for at := 0; at < len(filter); at += 16 {
		require.NoError(t, os.WriteFile(path, w.bytes, 0o600))
		r, err := run.Open(path, w.info)
		require.NoError(t, err)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt(make([]byte, 16), int64(pages*damagePage+at))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		for key, want := range w.model {
			if row, state, err := r.Get(nil, []byte(key)); err != nil {
				require.ErrorIs(t, err, storage.ErrDamaged)
			} else if text(row, state) != want {
				t.Fatalf("%q is not found", key)
			}
		}
		require.Error(t, r.Damaged())
		require.NoError(t, r.Close())
	}
}

func tailLength(b []byte) int { return int(binary.BigEndian.Uint32(b[len(b)-24:])) }

func TestDamage_AFileCutShort(t *testing.T) {
	b := whole().bytes
	path := filepath.Join(t.TempDir(), "000007.run")
	for _, n := range []int{0, 1, 100, damagePage, 20 * damagePage, len(b) - 1, len(b) - 24, len(b) + 1, len(b) + damagePage} {
		require.NoError(t, os.WriteFile(path, append(append([]byte{}, b[:min(n, len(b))]...), make([]byte, max(0, n-len(b)))...), 0o600))
		_, err := run.Open(path, whole().info)
		require.ErrorIs(t, err, storage.ErrDamaged, "%d bytes of %d", n, len(b))
	}
	_, err := run.Open(path+" is not there", whole().info)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestDamage_AFileCutShortUnderAReader has the process fault: the map is longer than the file.
func TestDamage_AFileCutShortUnderAReader(t *testing.T) {
	b := whole().bytes
	path := filepath.Join(t.TempDir(), "000007.run")
	for _, n := range []int64{0, 5000, int64(len(b)) / 2} {
		require.NoError(t, os.WriteFile(path, b, 0o600))
		r, err := run.Open(path, whole().info)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(path, n))
		require.True(t, use(t, path, r), "%d bytes", n)
		require.ErrorContains(t, r.Damaged(), "page")
		require.NoError(t, r.Close())
		assert.False(t, debug.SetPanicOnFault(false), "the caller's setting is restored")
	}
}

func TestDamage_ExchangedFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "000007.run")
	model := rows{"a": stored(1, []byte("1"))}
	info := write(t, path, whole().info.Identity, run.Options{}, model)
	for name, other := range map[string]struct {
		id    run.Identity
		model rows
	}{
		"of another store":     {run.Identity{Store: "sums__", Sequence: 7}, model},
		"of another partition": {run.Identity{Store: "counts", Partition: 1, Sequence: 7}, model},
		"of another sequence":  {run.Identity{Store: "counts", Sequence: 8}, model},
		"of another day":       {info.Identity, rows{"a": stored(1, []byte("2"))}},
	} {
		write(t, path, other.id, run.Options{}, other.model)
		_, err := run.Open(path, info)
		require.ErrorIs(t, err, storage.ErrDamaged, name)
		require.ErrorContains(t, err, "was written here", name)
	}
}

// A page that was right when it was read first may change later: a merge compares it once more, so that
// no damage is copied to a new file with a new checksum.
func TestDamage_AMergeFindsWhatReadersHaveSeen(t *testing.T) {
	b := whole().bytes
	dir := t.TempDir()
	path := filepath.Join(dir, "000007.run")
	rnd := random(t)
	for range 40 {
		require.NoError(t, os.WriteFile(path, b, 0o600))
		r, err := run.Open(path, whole().info)
		require.NoError(t, err)
		require.False(t, use(t, path, r))
		// Between the meta pages, which are not rows, and the root with the free list and the filter.
		at := 2*damagePage + rnd.IntN(int(whole().info.Length)-8*damagePage)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte{b[at] ^ 0x10}, int64(at))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		var walk run.Walk
		walk.Start(run.Files{{Reader: r, After: []byte{}}}, storage.Range{}, true) // not whole, so it is not moved
		_, err = mergeAll(dir, []run.Input{&walk}, run.MergeOptions{FileBytes: 1 << 20})
		require.ErrorIs(t, err, storage.ErrDamaged, "byte %d", at)
		require.NoError(t, r.Close())
		left, err := filepath.Glob(filepath.Join(dir, "*.run"))
		require.NoError(t, err)
		require.Equal(t, []string{path}, left, "what a failed merge has written is removed")
	}
}

// TestDamage_AnotherFileWrittenOverIt has the table of checksums change with the pages.
func TestDamage_AnotherFileWrittenOverIt(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "000001.run"), filepath.Join(dir, "000002.run")
	id := run.Identity{Store: "counts", Sequence: 1}
	one, two := rows{}, rows{}
	for i := range 1200 {
		one[fmt.Sprintf("key %06d", i)], two[fmt.Sprintf("key %06d", i)] = stored(1, []byte("1")), stored(1, []byte("2"))
	}
	r := open(t, path, write(t, path, id, run.Options{PageSize: damagePage}, one))
	write(t, other, id, run.Options{PageSize: damagePage}, two)
	b, err := os.ReadFile(other)
	require.NoError(t, err)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(b, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, _, err = r.Get(nil, []byte("key 000600"))
	require.ErrorIs(t, err, storage.ErrDamaged)
}

// FuzzDamage changes any bytes, before the file is opened or while it is open, and cuts it.
func FuzzDamage(f *testing.F) {
	n := len(whole().bytes)
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 60 {
		at := uint32(rnd.IntN(n))
		if i%3 == 0 {
			at = uint32(n - 1 - i) // the end, where lengths and checksums are
		}
		f.Add(binary.BigEndian.AppendUint32(nil, at), byte(1+i), uint32(n), i%2 == 0)
		f.Add([]byte{}, byte(0), uint32(rnd.IntN(n)), i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, at []byte, flip byte, length uint32, open bool) {
		path := filepath.Join(t.TempDir(), "000007.run")
		b := append([]byte{}, whole().bytes...)
		for ; len(at) >= 4; at = at[4:] {
			b[binary.BigEndian.Uint32(at)%uint32(len(b))] ^= flip
			flip = flip*3 + 1
		}
		b = b[:min(int(length), len(b))]
		if !open {
			require.NoError(t, os.WriteFile(path, b, 0o600))
		} else {
			require.NoError(t, os.WriteFile(path, whole().bytes, 0o600))
		}
		r, err := run.Open(path, whole().info)
		if err != nil {
			require.ErrorIs(t, err, storage.ErrDamaged)
			return
		}
		if open {
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			require.NoError(t, err)
			_, err = file.WriteAt(b, 0)
			require.NoError(t, err)
			require.NoError(t, file.Truncate(int64(len(b))))
			require.NoError(t, file.Close())
		}
		use(t, path, r)
		require.NoError(t, r.Close())
	})
}

// Panics that are not about the file stay their owner's.
func TestDamage_OtherPanicsGoOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "000007.run")
	require.NoError(t, os.WriteFile(path, whole().bytes, 0o600))
	r := open(t, path, whole().info)
	mine := errors.New("of a decoder")
	assert.PanicsWithValue(t, mine, func() { _ = r.Damage(mine) })
	assert.NoError(t, r.Damaged())
	_, state, err := r.Get(nil, []byte("key 000002"))
	require.NoError(t, err)
	assert.Equal(t, memtable.Live, state)
}
