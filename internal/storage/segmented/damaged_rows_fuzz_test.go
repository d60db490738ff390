package segmented_test

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/codec"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/segmented"
)

// kinds are the kinds of segmented stores.
var kinds = []graph.Store{
	{Name: "w", Kind: graph.Window, Size: 10 * time.Millisecond},
	{Name: "i", Kind: graph.Window, Size: 10 * time.Millisecond, ByTime: true, KeepHeaders: true},
	{Name: "d", Kind: graph.Window, Size: 10 * time.Millisecond, Duplicates: true},
	{Name: "s", Kind: graph.Session, ByTime: true},
	{Name: "v", Kind: graph.Versioned},
	{Name: "h", Kind: graph.Versioned, KeepHeaders: true},
}

func kindOf(n byte) *graph.Store {
	s := kinds[int(n)%len(kinds)]
	s.Retention = time.Second
	return &s
}

// changesOf cuts fuzzed bytes into changes: the length of the key, that of the value and one more,
// 0 for none, the time, key, value.
func changesOf(b []byte) (changes []storage.Change) {
	for len(b) >= 10 {
		k, v, at := int(b[0]), int(b[1]), int64(binary.BigEndian.Uint64(b[2:]))
		b = b[10:]
		c := storage.Change{Key: append([]byte{}, b[:min(k, len(b))]...), Time: at}
		b = b[len(c.Key):]
		if v > 0 {
			c.Value = append([]byte{}, b[:min(v-1, len(b))]...)
			b = b[len(c.Value):]
		}
		changes = append(changes, c)
	}
	return changes
}

// appendChange is the inverse of changesOf.
func appendChange(b []byte, key string, value string, at int64) []byte {
	b = append(b, byte(len(key)), byte(len(value)+1))
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	return append(append(b, key...), value...)
}

// readAll reads a store in every way, and returns the keys of the rows that scans by key show. With
// whole each of them is found by its key too.
func readAll(t *testing.T, s *graph.Store, e storage.Engine, whole bool) (keys [][]byte, err error) {
	h, failed := segmented.Handle(s, e, func() int64 { return 1 })
	require.NoError(t, failed)
	// visitAll visits rows up to the first error, which is the result of seen.
	visitAll := func(rows iter.Seq2[storage.WindowEntry, error]) (found [][]byte) {
		for r, failed := range rows {
			if failed != nil {
				err = failed
				break
			}
			found = append(found, bytes.Clone(r.Key))
		}
		return found
	}
	const first, last = math.MinInt64, math.MaxInt64
	switch {
	case h.Windows != nil:
		keys = visitAll(h.Windows.All(storage.Range{}, first, last))
		visitAll(h.Windows.All(storage.Range{Backward: true}, 0, 100))
		visitAll(h.Windows.ByTime(first, last)) // expired ones too, where they have not settled
		for _, k := range append(keys, []byte{}) {
			found := visitAll(h.Windows.Fetch(k, first, last, true))
			require.False(t, whole && len(k) > 0 && len(found) == 0, "%x is not found by its key", k)
			_, _, _, _ = h.Windows.Get(k, 5)
		}
	case h.Sessions != nil:
		keys = visitAll(h.Sessions.All(storage.Range{}, first, last))
		visitAll(h.Sessions.ByTime(first, last))
		for _, k := range append(keys, []byte{}) {
			found := visitAll(h.Sessions.Find(k, first, last, true))
			require.False(t, whole && len(k) > 0 && len(found) == 0, "%x is not found by its key", k)
		}
	default:
		for r, failed := range h.Versions.Latest() {
			if failed != nil {
				err = failed
				break
			}
			keys = append(keys, bytes.Clone(r.Key))
		}
		for _, k := range append(keys, []byte{}) {
			v, ok, failed := h.Versions.Get(k)
			require.False(t, whole && len(k) > 0 && (!ok || failed != nil), "%x is not found by its key", k)
			before := int64(first)
			for v, failed := range h.Versions.History(k, first, last, false) {
				if failed != nil {
					err = failed
					break
				}
				require.False(t, whole && v.From < before, "versions come by time")
				before = v.From
			}
			_, _, _ = h.Versions.AsOf(k, v.From-1)
			_, _, _ = h.Versions.AsOf(k, 5)
		}
	}
	return keys, err
}

// FuzzRestore restores a store from records of any bytes and times, as a topic of that name may
// hold that another program wrote. What it refuses it says; what it takes can be read, and what the
// changelog should hold for each key makes the same store.
func FuzzRestore(f *testing.F) {
	f.Add(byte(0), appendChange(nil, "a\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00", "v", 5))
	f.Add(byte(3), appendChange(nil, "a\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x05", "v", 9))
	f.Add(byte(4), appendChange(appendChange(appendChange(nil, "a", "v", 9), "a", "w", 5), "b", "", 9))
	f.Add(byte(4), appendChange(appendChange(nil, "a", "v", math.MaxInt64), "a", "w", math.MinInt64))
	f.Add(byte(1), appendChange(nil, "a\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", "v", -1))
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		s := kindOf(kind)
		e, err := segmented.Wrap(s, memtable.New(nil))
		require.NoError(t, err)
		defer func() { _ = e.Close(false) }()
		changes := changesOf(b)
		keys := map[string]bool{}
		for _, c := range changes {
			keys[string(c.Key)] = true
		}
		if err := e.Restore(changes, storage.Checkpoint{Offset: 1}); err != nil {
			return
		}
		want, err := readAll(t, s, e, true)
		require.NoError(t, err)

		again, err := segmented.Wrap(s, memtable.New(nil))
		require.NoError(t, err)
		defer func() { _ = again.Close(false) }()
		observed, err := segmented.Unwrap(e).Observed(nil)
		require.NoError(t, err)
		require.NoError(t, segmented.Unwrap(again).Observe(observed))
		for key := range keys {
			var logged []storage.Change
			require.NoError(t, segmented.Unwrap(e).ChangelogRows([]byte(key), observed, func(c storage.Change) error {
				c.Key, c.Value = bytes.Clone(c.Key), bytes.Clone(c.Value)
				logged = append(logged, c)
				return nil
			}))
			require.NoError(t, again.Restore(logged, storage.Checkpoint{Offset: 1}))
		}
		got, err := readAll(t, s, again, true)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

// FuzzDamagedRows has rows of any bytes where a store looks for its own, as a damaged file may show
// them. Reads end in an error or in what the rows say; none panics.
func FuzzDamagedRows(f *testing.F) {
	f.Add(byte(0), appendChange(nil, "\x02\x80\x00\x00\x00\x00\x00\x00\x00a\x00\x00\x80\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00", "v", 5))
	f.Add(byte(3), appendChange(nil, "\x02\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff", "v", 5))
	f.Add(byte(1), appendChange(nil, "\x03\x80\x00\x00\x00\x00\x00\x00\x05a\x00\x00\x00\x00\x00\x00", "", 5))
	f.Add(byte(4), appendChange(appendChange(nil, "\x05a", "\x01v", 50), "\x04\x80\x00\x00\x00\x00\x00\x00\x00a\x00\x00\x80\x00\x01", "\x01w", 5))
	f.Add(byte(5), appendChange(nil, "\x05a", "\x01", 5))
	f.Add(byte(3), appendChange(nil, "\x02\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80", "v", 5))
	f.Add(byte(4), appendChange(appendChange(nil, "\x05", "\x01v", 50), "\x04\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80", "\x01w", 5))
	f.Add(byte(2), appendChange(nil, "\x01", "m", 5))
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		s := kindOf(kind)
		under := memtable.New(nil)
		defer func() { _ = under.Close(false) }()
		require.NoError(t, under.Restore(changesOf(b), storage.Checkpoint{Offset: 1}))
		e, err := segmented.Wrap(s, under)
		if err != nil {
			return
		}
		_, _ = readAll(t, s, e, false)
		for _, c := range changesOf(b) {
			segmented.UserKey(c.Key)
		}
		// Times around 0, whose encodings have no byte in common: the rows between them may be short.
		key := map[graph.StoreKind]string{
			graph.Window:    "k\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00",
			graph.Session:   "k\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x03",
			graph.Versioned: "k",
		}[s.Kind]
		if err := e.Restore([]storage.Change{{Key: []byte(key), Value: []byte("v"), Time: 5}}, storage.Checkpoint{Offset: 2}); err == nil {
			_, _ = readAll(t, s, e, false)
		}
	})
}

// A row that is none is an error of the read that comes to it: it is neither left out nor taken for
// another.
func TestDamagedRows_AreErrors(t *testing.T) {
	const segment = "\x80\x00\x00\x00\x00\x00\x00\x00" // the first one
	for name, c := range map[string]struct {
		kind     byte
		key, row string
	}{
		"window without its start":           {0, "\x02" + segment + "a\x00\x00", "v"},
		"window whose key does not end":      {0, "\x02" + segment + "a", "v"},
		"session that is cut short":          {3, "\x02" + segment + "a\x00\x00\x80\x00", "v"},
		"key in the index that does not end": {1, "\x03" + segment + "a", ""},
		"version of no kind":                 {4, "\x05a", "\x07v"},
		"version without bytes":              {4, "\x05a", ""},
		"deletion with a value":              {4, "\x05a", "\x00v"},
	} {
		s := kindOf(c.kind)
		under := memtable.New(nil)
		require.NoError(t, under.Restore([]storage.Change{{Key: []byte(c.key), Value: []byte(c.row), Time: 5}}, storage.Checkpoint{Offset: 1}))
		e, err := segmented.Wrap(s, under)
		require.NoError(t, err)
		require.NoError(t, segmented.Unwrap(e).Observe(50))
		_, err = readAll(t, s, e, false)
		require.ErrorContains(t, err, "of such a store", name)
		require.NoError(t, e.Close(false))
	}
}

// A row of the store's own that does not decode is damage of the store, as one of the user's rows would be: the store is restored, and the
// App goes on. A plain error would end the App at each start.
func TestDamagedRows_OfTheStoreItself(t *testing.T) {
	for name, key := range map[string]string{"meta": "\x01", "changelog trim": "\x01\x01"} {
		s := kindOf(0)
		under := memtable.New(nil)
		require.NoError(t, under.Restore([]storage.Change{{Key: []byte(key), Value: []byte("\x07damaged"), Time: 5}}, storage.Checkpoint{Offset: 1}))
		_, err := segmented.Wrap(s, under)
		var damage *codec.DecodeError
		require.ErrorAs(t, err, &damage, name)
		require.Equal(t, s.Name, damage.Store)
		require.NoError(t, under.Close(false))
	}
}
