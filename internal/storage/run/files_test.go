package run_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/run"
)

var (
	rewrite  = flag.Bool("rewrite", false, "write the golden file of the current version")
	seedFlag = flag.Uint64("seed", 0, "run random tests with this seed")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// random returns a source of random numbers, whose seed is in the output of a test that fails.
func random(t testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// rows are a model of a file: keys with what is stored; "d" is a tombstone.
type rows map[string]string

const deleted = "d"

func (r rows) keys() []string { return slices.Sorted(maps.Keys(r)) }

// stored returns a row as files have it.
func stored(time int64, value []byte) string {
	return string(append(binary.BigEndian.AppendUint64(nil, uint64(time)), value...))
}

// randomKey returns keys of several kinds: hashes, words with a common beginning, short ones of few
// bytes, and long ones.
func randomKey(rnd *rand.Rand, kind int) string {
	switch kind {
	case 0:
		return string(binary.BigEndian.AppendUint64(nil, rnd.Uint64()))
	case 1:
		return fmt.Sprintf("customer-%d", rnd.IntN(30_000))
	case 2:
		b := make([]byte, rnd.IntN(12))
		for i := range b {
			b[i] = byte(rnd.IntN(3)) * 0x7f
		}
		return string(b)
	}
	return fmt.Sprintf("%0*d", 1+rnd.IntN(3000), rnd.IntN(1000))
}

func randomRows(rnd *rand.Rand, n, kind, tombstones int) rows {
	r := rows{}
	for range n {
		key := randomKey(rnd, kind)
		switch {
		case rnd.IntN(100) < tombstones:
			r[key] = deleted
		case rnd.IntN(300) == 0:
			r[key] = stored(rnd.Int64(), bytes.Repeat([]byte{'L'}, rnd.IntN(60_000)))
		default:
			r[key] = stored(rnd.Int64(), bytes.Repeat([]byte{byte('a' + rnd.IntN(26))}, rnd.IntN(200)))
		}
	}
	return r
}

func write(t testing.TB, path string, id run.Identity, o run.Options, r rows) run.Info {
	t.Helper()
	o.NoSync = true
	b, err := run.Create(path, id, o)
	require.NoError(t, err)
	for _, k := range r.keys() {
		if r[k] == deleted {
			require.NoError(t, b.AddDeleted([]byte(k)))
		} else {
			require.NoError(t, b.Add([]byte(k), []byte(r[k])))
		}
	}
	info, err := b.Finish()
	require.NoError(t, err)
	return info
}

func open(t testing.TB, path string, want run.Info) *run.Reader {
	t.Helper()
	r, err := run.Open(path, want)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// text returns what a row is in the model; "" when there is none.
func text(row []byte, s memtable.State) string {
	switch s {
	case memtable.Live:
		return string(row)
	case memtable.Deleted:
		return deleted
	}
	return ""
}

// visited returns the rows that a walk visits: all of them must have the model's content.
func visited(t testing.TB, files run.Files, r storage.Range, model rows) (keys []string) {
	t.Helper()
	var w run.Walk
	keys = []string{}
	for w.Start(files, r, false); w.Valid() && !r.Past(w.Key()); w.Next() {
		key := string(w.Key())
		require.Equal(t, model[key], text(w.Row().Stored, w.Row().State), "key %q", key)
		keys = append(keys, key)
	}
	require.NoError(t, w.Err())
	return keys
}

// within returns the model's keys that a scan visits.
func (r rows) within(x storage.Range) []string {
	keys := slices.DeleteFunc(r.keys(), func(k string) bool { return !x.Contains([]byte(k)) })
	if x.Backward {
		slices.Reverse(keys)
	}
	return append([]string{}, keys...)
}

func randomRange(rnd *rand.Rand, key func() string) storage.Range {
	r := storage.Range{FromAfter: rnd.IntN(2) == 0, ToBefore: rnd.IntN(2) == 0, Backward: rnd.IntN(2) == 0}
	if rnd.IntN(4) > 0 {
		r.From = []byte(key())
	}
	if rnd.IntN(4) > 0 {
		r.To = []byte(key())
	}
	return r
}

func TestFile_HasTheRowsThatWereAdded(t *testing.T) {
	rnd := random(t)
	id := run.Identity{Store: "counts", Partition: 3, Sequence: 17}
	for kind := range 4 {
		for _, pageSize := range []int{1024, 4096, 16 << 10} {
			for _, n := range []int{0, 1, 30, 1500} {
				path := filepath.Join(t.TempDir(), "000017.run")
				model := randomRows(rnd, n, kind, 10)
				info := write(t, path, id, run.Options{PageSize: pageSize}, model)
				checkInfo(t, info, id, model, path)
				checkWithBbolt(t, path, model)

				r := open(t, path, info)
				require.Equal(t, info, *r.Info())
				require.NoError(t, r.Verify())
				probe := func() string {
					if keys := model.keys(); len(keys) > 0 && rnd.IntN(2) == 0 {
						return keys[rnd.IntN(len(keys))]
					}
					return randomKey(rnd, kind)
				}
				for k, want := range model {
					row, state, err := r.Get([]byte("before"), []byte(k))
					require.NoError(t, err)
					require.Equal(t, want, text(row[len("before"):], state), "key %q", k)
				}
				for range 300 {
					k := probe()
					row, state, err := r.Get(nil, []byte(k))
					require.NoError(t, err)
					require.Equal(t, model[k], text(row, state), "key %q", k)
				}
				if n == 0 {
					continue
				}
				files := run.Files{{Reader: r}}
				for range 8 {
					x := randomRange(rnd, probe)
					require.Equal(t, model.within(x), visited(t, files, x, model), "range %+v", x)
					files[0].After = []byte(probe())
					behind := maps.Clone(model)
					maps.DeleteFunc(behind, func(k, _ string) bool { return k <= string(files[0].After) })
					require.Equal(t, behind.within(x), visited(t, files, x, model), "range %+v after %q", x, files[0].After)
					if f := files.For([]byte(probe())); f != nil {
						require.Same(t, r, f.Reader)
					}
					files[0].After = nil
				}
			}
		}
	}
}

func checkInfo(t *testing.T, info run.Info, id run.Identity, model rows, path string) {
	stat, err := os.Stat(path)
	require.NoError(t, err)
	tombstones := int64(0)
	for _, v := range model {
		if v == deleted {
			tombstones++
		}
	}
	want := run.Info{Identity: id, Rows: int64(len(model)) - tombstones, Tombstones: tombstones, Length: stat.Size(), Sum: info.Sum}
	if keys := model.keys(); len(keys) > 0 {
		want.Smallest, want.Largest = []byte(keys[0]), []byte(keys[len(keys)-1])
	}
	require.Equal(t, want, info)
}

// checkWithBbolt lets bbolt check the file, and compares the rows that bbolt reads.
func checkWithBbolt(t *testing.T, path string, model rows) {
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	require.NoError(t, err)
	got := rows{}
	require.NoError(t, db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		buckets := 0
		require.NoError(t, tx.ForEach(func([]byte, *bbolt.Bucket) error { buckets++; return nil }))
		require.Equal(t, 1, buckets)
		return tx.Bucket([]byte("rows")).ForEach(func(k, v []byte) error {
			require.Equal(t, byte('r'), k[0])
			got[string(k[1:])] = string(v)
			return nil
		})
	}))
	require.NoError(t, db.Close())
	require.Equal(t, model, got)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after))
}

func TestFile_OneThatIsAbortedIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "000001.run")
	b, err := run.Create(path, run.Identity{}, run.Options{})
	require.NoError(t, err)
	require.NoError(t, b.Add([]byte("a"), []byte(stored(1, nil))))
	require.FileExists(t, path)
	require.NoError(t, b.Abort())
	assert.NoFileExists(t, path)
}

func TestFile_KeysOutOfOrderAreAnError(t *testing.T) {
	b, err := run.Create(filepath.Join(t.TempDir(), "000001.run"), run.Identity{}, run.Options{})
	require.NoError(t, err)
	defer b.Abort()
	require.NoError(t, b.Add([]byte("b"), []byte(stored(1, nil))))
	for _, k := range []string{"b", "a", ""} {
		assert.ErrorContains(t, b.Add([]byte(k), []byte(stored(1, nil))), "out of order", k)
		assert.Error(t, b.AddDeleted([]byte(k)), k)
	}
}

// The filter is what makes a Get cheap in the runs that do not have the key.
func TestFilter_LetsFewKeysPassThatAreNotThere(t *testing.T) {
	const n = 100_000
	path := filepath.Join(t.TempDir(), "000001.run")
	b, err := run.Create(path, run.Identity{}, run.Options{NoSync: true})
	require.NoError(t, err)
	key := func(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }
	for i := range n {
		require.NoError(t, b.Add(key(2*i), []byte(stored(1, nil))))
	}
	info, err := b.Finish()
	require.NoError(t, err)
	r := open(t, path, info)
	passed := 0
	for i := range n {
		if run.MayHave(r, key(2*i+1)) {
			passed++
		}
		require.True(t, run.MayHave(r, key(2*i)))
	}
	t.Logf("%.2f%% of the keys that are not there pass", 100*float64(passed)/n)
	assert.Less(t, passed, n/50)
}

// The hash is part of the format: files are read by processes that did not write them.
func TestHash_IsAlwaysTheSame(t *testing.T) {
	assert.Equal(t, []uint64{0x670527f286862c69, 0x46e678d26c033601, 0x674f5a6fb4602ff0, 0x22664c2cdb3e5406}, []uint64{
		run.Hash(nil), run.Hash([]byte("a")), run.Hash([]byte("8 bytes.")), run.Hash([]byte("a key of more than sixteen bytes")),
	})
}

func TestReader_AllocatesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "000001.run")
	model := randomRows(rand.New(rand.NewPCG(1, 1)), 5000, 1, 5)
	info := write(t, path, run.Identity{}, run.Options{PageSize: 1024}, model)
	r := open(t, path, info)
	keys := model.keys()
	buf, i := make([]byte, 0, 100<<10), 0
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		i += 7
		_, _, err := r.Get(buf, []byte(keys[i%len(keys)]))
		if err != nil {
			t.Error(err)
		}
	}), "Get")
	files := run.Files{{Reader: r}}
	for _, x := range []storage.Range{{}, {Backward: true}, {From: []byte("customer-5")}} {
		var w run.Walk
		w.Start(files, x, false)
		assert.Zero(t, testing.AllocsPerRun(20, func() {
			n := 0
			for w.Start(files, x, false); w.Valid(); w.Next() {
				n++
			}
			if n < 100 {
				t.Error(n, "rows")
			}
		}), "a walk over %+v", x)
	}
}

// TestReader_SeveralAtOnce is for the race detector: pages are compared with their checksums by
// whoever touches them first.
func TestReader_SeveralAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "000001.run")
	model := randomRows(random(t), 3000, 1, 5)
	info := write(t, path, run.Identity{}, run.Options{PageSize: 1024}, model)
	r := open(t, path, info)
	failed := make(chan error, 4)
	for range cap(failed) {
		go func() {
			failed <- func() error {
				for k, want := range model {
					row, state, err := r.Get(nil, []byte(k))
					if err != nil || text(row, state) != want {
						return fmt.Errorf("key %q: %q, %w", k, row, err)
					}
				}
				return r.Verify()
			}()
		}()
	}
	for range cap(failed) {
		require.NoError(t, <-failed)
	}
}

// TestGoldenFile reads the file of each version that there has been.
func TestGoldenFile(t *testing.T) {
	windows := rows{"\x01": stored(9, []byte("meta")), "\x02s1\x00\x00\x00\x00\x00\x00\x00\x05last": stored(5, []byte("v"))}
	windows["\x02s2\x00\x00\x00\x00\x00\x00\x01\x07last"] = deleted
	for version, tt := range map[string]struct {
		o     run.Options
		model rows
	}{
		"v1": {run.Options{}, rows{"": stored(-1, []byte("empty key")), "\x00": stored(0, nil),
			"a": stored(1_700_000_000_000, []byte("1")), "deleted": deleted}},
		"v2": {run.Options{Series: storage.Series{Class: 2, Tail: 12}}, windows},
	} {
		t.Run(version, func(t *testing.T) {
			golden := filepath.Join("testdata", version+".run")
			id := run.Identity{Store: "counts", Partition: 3, Sequence: 17}
			path := filepath.Join(t.TempDir(), "000017.run")
			tt.o.PageSize = 1024
			info := write(t, path, id, tt.o, tt.model)
			written, err := os.ReadFile(path)
			require.NoError(t, err)
			if *rewrite {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(golden, written, 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 { // bbolt's pages are in the order of the machine
				assert.True(t, bytes.Equal(want, written), "the format has changed: it needs a new version")
			}
			r := open(t, golden, info)
			assert.Equal(t, tt.model.keys(), visited(t, run.Files{{Reader: r}}, storage.Range{}, tt.model))
		})
	}
}

// A file says of scans of a series whether it has such numbers. Where it does not know, it may have them.
func TestFiles_MayHave(t *testing.T) {
	key := func(number uint64) []byte { return binary.BigEndian.AppendUint64([]byte("\x02s1"), number) }
	scan := func(from, to uint64) storage.Range { return storage.Range{From: key(from), To: key(to), Series: 3} }
	of := storage.Series{Class: 2, Tail: 8}
	model := rows{string(key(10)): stored(1, nil), string(key(20)): deleted, "\x01": stored(1, nil), "\x03s1\x00\x00\x00\x00\x00\x00\x00\x63": stored(1, nil)}
	files := func(o run.Options) run.Files {
		path := filepath.Join(t.TempDir(), "000001.run")
		return run.Files{{Reader: open(t, path, write(t, path, run.Identity{Sequence: 1}, o, model))}}
	}
	with, without := files(run.Options{Series: of}), files(run.Options{})
	for _, tt := range []struct {
		from, to uint64
		want     bool
	}{{0, 9, false}, {0, 10, true}, {12, 13, true}, {20, 30, true}, {21, 99, false}} {
		assert.Equal(t, tt.want, with.MayHave(of, scan(tt.from, tt.to)), "from %d to %d", tt.from, tt.to)
		assert.True(t, without.MayHave(of, scan(tt.from, tt.to)))
		assert.True(t, with.MayHave(storage.Series{}, scan(tt.from, tt.to)))
		assert.True(t, with.MayHave(storage.Series{Class: 2, Tail: 9}, scan(tt.from, tt.to)))
		assert.True(t, append(with[:1:1], without...).MayHave(of, scan(tt.from, tt.to)))
	}
	assert.True(t, with.MayHave(of, storage.Range{From: key(50), To: key(60)}), "not a scan of a series")
}
