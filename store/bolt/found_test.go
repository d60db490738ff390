package bolt_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/bolt"
	"github.com/millstream-go/millstream/store/storetest"
)

var rewrite = flag.Bool("rewrite", false, "write the golden file of the current version")

// made returns options of a closed store with a hundred rows in its file.
func made(t *testing.T) bolt.Options {
	o := bolt.Options{Path: pathIn(t), NoSync: true, PageSize: 4096}
	e := open(t, o)
	putRows(t, e, 0, 100, "value")
	settle(t, e, 100)
	require.NoError(t, e.Close(true))
	return o
}

// aside opens a store whose file must not be trusted.
func aside(t *testing.T, o bolt.Options) bolt.Info {
	t.Helper()
	e, info, err := bolt.Open(o)
	require.NoError(t, err)
	defer e.Close(false)
	assert.FileExists(t, info.Aside)
	assert.NotEmpty(t, info.Reason)
	assert.NoFileExists(t, o.Path)
	assert.NoFileExists(t, bolt.MarkerOf(o.Path))
	_, ok := e.Checkpoint()
	assert.False(t, ok, "the store is to be restored in full")
	assert.Empty(t, storetest.Rows(t, e, store.Range{}))
	return info
}

func TestASuspectFileIsMovedAsideUnopened(t *testing.T) {
	o := made(t)
	require.NoError(t, os.WriteFile(bolt.MarkerOf(o.Path), nil, 0o600))
	assert.Contains(t, aside(t, o).Reason, "the process ended")
}

func TestAMarkerWithoutFileMeansNothing(t *testing.T) {
	o := made(t)
	require.NoError(t, os.Remove(o.Path))
	require.NoError(t, os.WriteFile(bolt.MarkerOf(o.Path), nil, 0o600))
	e, info, err := bolt.Open(o)
	require.NoError(t, err)
	assert.Empty(t, info.Aside)
	require.NoError(t, e.Close(false))
	assert.NoFileExists(t, bolt.MarkerOf(o.Path))
}

func TestDamagedFilesAreMovedAside(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"cut short":          func(b []byte) []byte { return b[:3*4096] },
		"of text":            func([]byte) []byte { return []byte("not a store") },
		"of zeros":           func(b []byte) []byte { return make([]byte, len(b)) },
		"without meta pages": func(b []byte) []byte { clear(b[:2*4096]); return b },
		"without data pages": func(b []byte) []byte { clear(b[2*4096:]); return b },
		"with a wrong number of pages": func(b []byte) []byte {
			b[16+40], b[4096+16+40] = 0xff, 0xff
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := made(t)
			b, err := os.ReadFile(o.Path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(o.Path, damage(b), 0o600))
			aside(t, o)
		})
	}
}

func TestOneDamagedMetaPageIsHarmless(t *testing.T) {
	for page := range 2 {
		o := made(t)
		b, err := os.ReadFile(o.Path)
		require.NoError(t, err)
		b[page*4096+20] ^= 0xff
		require.NoError(t, os.WriteFile(o.Path, b, 0o600))
		e, info, err := bolt.Open(o)
		require.NoError(t, err)
		assert.Empty(t, info.Aside)
		require.NoError(t, e.Close(false))
	}
}

func TestAnEmptyFileIsNoFile(t *testing.T) {
	o := bolt.Options{Path: pathIn(t)}
	require.NoError(t, os.MkdirAll(filepath.Dir(o.Path), 0o700))
	require.NoError(t, os.WriteFile(o.Path, nil, 0o600))
	e, info, err := bolt.Open(o)
	require.NoError(t, err)
	assert.Empty(t, info.Aside)
	require.NoError(t, e.Close(false))
}

func TestAnUnknownVersionIsAnErrorAndTheFileStays(t *testing.T) {
	o := made(t)
	edit(t, o.Path, func(meta *bbolt.Bucket) error { return meta.Put([]byte("version"), []byte{9}) })
	before, err := os.ReadFile(o.Path)
	require.NoError(t, err)
	for range 2 {
		_, info, err := bolt.Open(o)
		assert.ErrorIs(t, err, bolt.ErrVersion)
		assert.ErrorContains(t, err, "[9], known is 1")
		assert.Empty(t, info.Aside)
	}
	after, err := os.ReadFile(o.Path)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(before, after))
}

func TestADamagedCheckpointMovesTheFileAside(t *testing.T) {
	o := made(t)
	edit(t, o.Path, func(meta *bbolt.Bucket) error {
		b := bolt.AppendCheckpoint(nil, storetest.Checkpoint(100))
		b[20]++
		return meta.Put([]byte("checkpoint"), b)
	})
	assert.Contains(t, aside(t, o).Reason, "checksum")
}

func edit(t *testing.T, path string, change func(meta *bbolt.Bucket) error) {
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error { return change(tx.Bucket([]byte("meta"))) }))
	require.NoError(t, db.Close())
}

// TestGoldenFile opens a file of each version that there has been.
func TestGoldenFile(t *testing.T) {
	o := bolt.Options{Path: pathIn(t), PageSize: 1024}
	golden := filepath.Join("testdata", "store-v1.db")
	if *rewrite {
		writeGolden(t, o, golden)
	}
	b, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(o.Path), 0o700))
	require.NoError(t, os.WriteFile(o.Path, b, 0o600))
	e, info, err := bolt.Open(o)
	require.NoError(t, err)
	defer e.Close(false)
	assert.Empty(t, info.Aside)
	c, ok := e.Checkpoint()
	assert.True(t, ok)
	assert.Equal(t, storetest.Checkpoint(42), c)
	assert.Equal(t, []storetest.Row{
		{Key: "", Value: "empty key", Time: -1}, {Key: "\x00", Value: "zero", Time: 0},
		{Key: "a", Value: "1", Time: 1_700_000_000_000}, {Key: "empty value", Value: "", Time: 2},
	}, storetest.Rows(t, e, store.Range{}))
	require.NoError(t, e.Put([]byte("b"), []byte("written by this version"), 3))
	settle(t, e, 43)
	require.NoError(t, e.Flush(true))
}

func writeGolden(t *testing.T, o bolt.Options, golden string) {
	e := open(t, o)
	for _, r := range []storetest.Row{
		{Key: "", Value: "empty key", Time: -1}, {Key: "\x00", Value: "zero", Time: 0},
		{Key: "a", Value: "1", Time: 1_700_000_000_000}, {Key: "empty value", Value: "", Time: 2}, {Key: "gone", Value: "x"},
	} {
		require.NoError(t, e.Put([]byte(r.Key), []byte(r.Value), r.Time))
	}
	require.NoError(t, e.Delete([]byte("gone"), 0))
	settle(t, e, 42)
	require.NoError(t, e.Close(true))
	b, err := os.ReadFile(o.Path)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll("testdata", 0o755))
	// The file ends where its last page does: bbolt makes it larger in steps.
	last := len(bytes.TrimRight(b, "\x00"))
	require.NoError(t, os.WriteFile(golden, b[:(last+o.PageSize-1)/o.PageSize*o.PageSize], 0o644))
}

func FuzzDecodeCheckpoint(f *testing.F) {
	f.Add(bolt.AppendCheckpoint(nil, storetest.Checkpoint(7)))
	f.Add(bolt.AppendCheckpoint(nil, many(3, 0, 4)))
	f.Add(bolt.AppendCheckpoint(nil, many()))
	f.Add([]byte{})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := bolt.DecodeCheckpoint(b)
		if err == nil && !bytes.Equal(b, bolt.AppendCheckpoint(nil, c)) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", b, c, bolt.AppendCheckpoint(nil, c))
		}
	})
}

// many is the checkpoint of a store that is kept from several partitions.
func many(offsets ...int64) store.Checkpoint {
	c := storetest.Checkpoint(7)
	c.Offsets = append([]int64{}, offsets...)
	return c
}

func TestCheckpointOfSeveralPartitions(t *testing.T) {
	o := bolt.Options{Path: pathIn(t)}
	e := open(t, o)
	for _, offsets := range [][]int64{{3, 0, 4}, {3, 1, 4, 2}, {}} {
		require.NoError(t, e.Put([]byte("a"), []byte("1"), 0))
		epoch, err := e.Cut(func(store.Change) error { return nil })
		require.NoError(t, err)
		e.Settle(epoch, many(offsets...))
		require.NoError(t, e.Close(true))
		e = open(t, o)
		c, ok := e.Checkpoint()
		assert.True(t, ok)
		assert.Equal(t, many(offsets...), c)
	}
	require.NoError(t, e.Close(false))
}

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), int64(7), int64(1_700_000_000_000))
	f.Fuzz(func(t *testing.T, topic []byte, offset, ms int64) {
		c := storetest.Checkpoint(0)
		copy(c.TopicID[:], topic)
		c.Offset, c.Time = offset, time.UnixMilli(ms).UTC()
		got, err := bolt.DecodeCheckpoint(bolt.AppendCheckpoint(nil, c))
		require.NoError(t, err)
		require.Equal(t, c, got)
	})
}

func FuzzDecodeRow(f *testing.F) {
	f.Add([]byte("12345678value"))
	f.Fuzz(func(t *testing.T, b []byte) {
		value, _, err := bolt.DecodeRow(b)
		if (err == nil) != (len(b) >= 8) || err == nil && value == nil {
			t.Fatalf("%x: %v %v", b, value, err)
		}
	})
}

// FuzzVerify gives the check of pages, which stands before bbolt, any bytes.
func FuzzVerify(f *testing.F) {
	if b, err := os.ReadFile(filepath.Join("testdata", "store-v1.db")); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(_ *testing.T, b []byte) { _ = bolt.VerifyPages(bytes.NewReader(b), uint64(len(b))) })
}
