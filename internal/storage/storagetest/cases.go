package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/storage"
)

var cases = map[string]func(t *testing.T, s Store){
	"rows are read back":                      readBack,
	"empty keys and values are rows":          emptyBytes,
	"nil and oversized keys are errors":       badRows,
	"bounds of ranges":                        bounds,
	"prefix scans":                            prefixes,
	"writes during a scan":                    writesDuringScan,
	"scans nest, and reads within":            nestedScans,
	"a value may be put under another key":    aliasing,
	"cut emits the last change of each key":   cutEmits,
	"cut fails and the epoch goes on":         cutFails,
	"undo takes back what is not settled":     undo,
	"restore is not emitted":                  restore,
	"truncate leaves nothing":                 truncate,
	"values grow and shrink":                  growing,
	"a deleted and settled row may come back": putDeletedAgain,
	"rows expire once their epoch settles":    expireUndone,
	"readers beside an owner":                 readersBesideOwner,
}

func open(t *testing.T, s Store) storage.Engine {
	e := s.Open(t)
	t.Cleanup(func() { require.NoError(t, e.Close(false)) })
	return e
}

func put(t *testing.T, e storage.Engine, kv ...string) {
	t.Helper()
	for i := 0; i < len(kv); i += 2 {
		require.NoError(t, e.Put([]byte(kv[i]), []byte(kv[i+1]), int64(i)))
	}
}

func get(t *testing.T, e storage.Engine, key string) string {
	t.Helper()
	v, _, ok, err := e.Get([]byte(key))
	require.NoError(t, err)
	if !ok {
		return "absent"
	}
	return string(v)
}

func cut(t *testing.T, e storage.Engine) (uint64, []storage.Change) {
	t.Helper()
	var changes []storage.Change
	epoch, err := e.Cut(func(c storage.Change) error {
		changes = append(changes, storage.Change{Key: bytes.Clone(c.Key), Value: bytes.Clone(c.Value), Time: c.Time})
		return nil
	})
	require.NoError(t, err)
	return epoch, changes
}

func keys(t *testing.T, e storage.Engine, r storage.Range) string {
	t.Helper()
	var k []string
	for _, row := range Rows(t, e, r) {
		k = append(k, row.Key)
	}
	return strings.Join(k, " ")
}

func readBack(t *testing.T, s Store) {
	e := open(t, s)
	require.NoError(t, e.Put([]byte("a"), []byte("1"), 7))
	v, ts, ok, err := e.Get([]byte("a"))
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "1", string(v))
	assert.EqualValues(t, 7, ts)
	require.NoError(t, e.Put([]byte("a"), []byte("22"), -1))
	v, ts, _, _ = e.Get([]byte("a"))
	assert.Equal(t, "22", string(v))
	assert.EqualValues(t, -1, ts)
	n, err := e.Len()
	require.NoError(t, err)
	assert.EqualValues(t, 1, n)
	require.NoError(t, e.Delete([]byte("a"), 9))
	require.NoError(t, e.Delete([]byte("never there"), 9))
	assert.Equal(t, "absent", get(t, e, "a"))
	n, err = e.Len()
	require.NoError(t, err)
	assert.Zero(t, n)
}

func emptyBytes(t *testing.T, s Store) {
	e := open(t, s)
	put(t, e, "", "empty key", "empty value", "")
	v, _, ok, err := e.Get([]byte{})
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "empty key", string(v))
	v, _, ok, err = e.Get([]byte("empty value"))
	require.NoError(t, err)
	assert.True(t, ok)
	assert.NotNil(t, v, "an empty value is not an absent one")
	assert.Empty(t, v)
	_, changes := cut(t, e)
	require.Len(t, changes, 2)
	assert.NotNil(t, changes[1].Value)
	assert.Equal(t, " empty value", keys(t, e, storage.Range{}))
	assert.Equal(t, "empty value", keys(t, e, storage.Range{From: []byte{}, FromAfter: true}))
}

func badRows(t *testing.T, s Store) {
	e := open(t, s)
	_, _, _, err := e.Get(nil)
	assert.ErrorIs(t, err, storage.ErrNilKey)
	assert.ErrorIs(t, e.Put(nil, []byte{}, 0), storage.ErrNilKey)
	assert.ErrorIs(t, e.Delete(nil, 0), storage.ErrNilKey)
	assert.ErrorIs(t, e.Put([]byte("a"), nil, 0), storage.ErrNilValue)
	longest := bytes.Repeat([]byte("k"), storage.MaxKey)
	assert.NoError(t, e.Put(longest, []byte("v"), 0))
	assert.ErrorIs(t, e.Put(append(longest, 'k'), []byte("v"), 0), storage.ErrKeyTooLong)
	assert.ErrorIs(t, e.Delete(append(longest, 'k'), 0), storage.ErrKeyTooLong)
	_, _, ok, err := e.Get(append(longest, 'k'))
	assert.NoError(t, err)
	assert.False(t, ok)
	assert.Equal(t, "v", get(t, e, string(longest)))
}

func bounds(t *testing.T, s Store) {
	e := open(t, s)
	put(t, e, "a", "", "c", "", "e", "", "g", "")
	b := func(s string) []byte { return []byte(s) }
	for _, c := range []struct {
		r    storage.Range
		want string
	}{
		{storage.Range{}, "a c e g"},
		{storage.Range{From: b("c")}, "c e g"},
		{storage.Range{From: b("c"), FromAfter: true}, "e g"},
		{storage.Range{From: b("b")}, "c e g"},
		{storage.Range{To: b("e")}, "a c e"},
		{storage.Range{To: b("e"), ToBefore: true}, "a c"},
		{storage.Range{To: b("f"), ToBefore: true}, "a c e"},
		{storage.Range{From: b("c"), To: b("e")}, "c e"},
		{storage.Range{From: b("c"), To: b("c")}, "c"},
		{storage.Range{From: b("c"), To: b("c"), ToBefore: true}, ""},
		{storage.Range{From: b("c"), To: b("e"), FromAfter: true, ToBefore: true}, ""},
		{storage.Range{From: b("e"), To: b("c")}, ""},
		{storage.Range{From: b("h")}, ""},
		{storage.Range{To: b("")}, ""},
	} {
		assert.Equal(t, c.want, keys(t, e, c.r), "%+v", c.r)
		c.r.Backward = true
		f := strings.Fields(c.want)
		for i, j := 0, len(f)-1; i < j; i, j = i+1, j-1 {
			f[i], f[j] = f[j], f[i]
		}
		assert.Equal(t, strings.Join(f, " "), keys(t, e, c.r), "%+v", c.r)
	}
}

func prefixes(t *testing.T, s Store) {
	e := open(t, s)
	put(t, e, "", "", "a", "", "ab", "", "ab\xff", "", "ac", "", "\xff", "", "\xff\xff", "", "\xff\xffz", "")
	assert.Equal(t, "ab ab\xff", keys(t, e, storage.PrefixRange([]byte("ab"))))
	assert.Equal(t, "\xff\xff \xff\xffz", keys(t, e, storage.PrefixRange([]byte("\xff\xff"))))
	assert.Len(t, Rows(t, e, storage.PrefixRange([]byte{})), 8)
}

func writesDuringScan(t *testing.T, s Store) {
	e := open(t, s)
	put(t, e, "b", "", "d", "", "f", "")
	var seen []string
	for row, err := range e.Scan(storage.Range{}) {
		require.NoError(t, err)
		k := string(row.Key)
		seen = append(seen, k)
		if k == "b" {
			put(t, e, "a", "behind", "c", "ahead", "b", "itself")
		}
		if k == "c" {
			require.NoError(t, e.Delete([]byte("d"), 0))
		}
		if k == "f" {
			put(t, e, "g", "past what was the end")
		}
	}
	assert.Equal(t, "b c f g", strings.Join(seen, " "))
	seen = seen[:0]
	for row, err := range e.Scan(storage.Range{Backward: true}) {
		require.NoError(t, err)
		k := string(row.Key)
		seen = append(seen, k)
		if k == "f" {
			put(t, e, "h", "behind", "e", "ahead")
			require.NoError(t, e.Delete([]byte("f"), 0))
		}
		if k == "a" {
			put(t, e, "", "before what was the start")
		}
	}
	assert.Equal(t, "g f e c b a ", strings.Join(seen, " "))
}

func nestedScans(t *testing.T, s Store) {
	e := open(t, s)
	put(t, e, "a", "1", "b", "2", "c", "3")
	settle(t, e, 3)
	require.NoError(t, e.Flush(true))
	pairs := 0
	for range e.Scan(storage.Range{}) {
		for row, err := range e.Scan(storage.Range{Backward: true}) {
			require.NoError(t, err)
			assert.NotEqual(t, "absent", get(t, e, string(row.Key)))
			pairs++
			if pairs == 5 {
				break
			}
		}
	}
	assert.Equal(t, 8, pairs)
}

func settle(t *testing.T, e storage.Engine, offset int64) {
	t.Helper()
	epoch, _ := cut(t, e)
	e.Settle(epoch, Checkpoint(offset))
}

func aliasing(t *testing.T, s Store) {
	e := open(t, s)
	put(t, e, "a", "value of a")
	settle(t, e, 1)
	require.NoError(t, e.Flush(true))
	for i := range 1000 {
		if r, ok := e.(storage.ConcurrentReader); ok { // what it appends is a copy
			v, _, ok, err := r.AppendTo([]byte("before "), []byte("a"))
			require.NoError(t, err)
			assert.Equal(t, "before value of a", string(v))
			assert.True(t, ok)
			v, _, ok, err = r.AppendTo(v[:7], []byte("none"))
			require.NoError(t, err)
			assert.Equal(t, "before ", string(v))
			assert.False(t, ok)
		}
		v, ts, _, err := e.Get([]byte("a"))
		require.NoError(t, err)
		require.NoError(t, e.Put(fmt.Appendf(nil, "copy %d", i), v, ts))
		v, ts, _, err = e.Get([]byte("a"))
		require.NoError(t, err)
		require.NoError(t, e.Put([]byte("a"), v, ts))
	}
	for i := range 1000 {
		require.Equal(t, "value of a", get(t, e, fmt.Sprintf("copy %d", i)))
	}
}

func cutEmits(t *testing.T, s Store) {
	e := open(t, s)
	put(t, e, "a", "1", "b", "1", "c", "1", "a", "2")
	require.NoError(t, e.Delete([]byte("b"), 50))
	assert.Positive(t, e.Dirty())
	epoch, changes := cut(t, e)
	assert.Zero(t, e.Dirty())
	assert.Equal(t, []storage.Change{
		{Key: []byte("a"), Value: []byte("2"), Time: 6},
		{Key: []byte("c"), Value: []byte("1"), Time: 4},
		{Key: []byte("b"), Time: 50},
	}, changes, "puts first, then deletions")
	put(t, e, "b", "3")
	next, changes := cut(t, e)
	assert.Greater(t, next, epoch)
	assert.Len(t, changes, 1)
	_, changes = cut(t, e)
	assert.Empty(t, changes)
	e.Settle(epoch, Checkpoint(3))
	assert.Equal(t, "2", get(t, e, "a"))
	assert.Equal(t, "3", get(t, e, "b"))
}

func cutFails(t *testing.T, s Store) {
	e := open(t, s)
	put(t, e, "a", "1", "b", "1")
	full := errors.New("buffer full")
	_, err := e.Cut(func(storage.Change) error { return full })
	require.ErrorIs(t, err, full)
	_, changes := cut(t, e)
	assert.Len(t, changes, 2)
}

func undo(t *testing.T, s Store) {
	e := open(t, s)
	put(t, e, "a", "1", "b", "1", "gone", "1")
	settle(t, e, 3)
	put(t, e, "a", "2", "new", "2")
	require.NoError(t, e.Delete([]byte("b"), 0))
	first, _ := cut(t, e)
	put(t, e, "a", strings.Repeat("3", 500), "b", "3", "newer", "3")
	require.NoError(t, e.Delete([]byte("gone"), 0))
	cut(t, e)
	put(t, e, "a", "4", "gone", "4")
	require.NoError(t, e.Undo())
	assert.Equal(t, []Row{{"a", "1", 0}, {"b", "1", 2}, {"gone", "1", 4}}, Rows(t, e, storage.Range{}))
	_, changes := cut(t, e)
	assert.Empty(t, changes, "what is undone is not emitted")
	put(t, e, "a", "5")
	epoch, _ := cut(t, e)
	assert.Greater(t, epoch, first, "numbers are not used twice")
	e.Settle(epoch, Checkpoint(4))
	assert.Equal(t, "5", get(t, e, "a"))
}

func restore(t *testing.T, s Store) {
	e := open(t, s)
	b := func(s string) []byte { return []byte(s) }
	require.NoError(t, e.Restore([]storage.Change{
		{Key: b("a"), Value: b("1"), Time: 1}, {Key: b("b"), Value: b("1"), Time: 2}, {Key: b("a"), Time: 3},
		{Key: b("c"), Value: []byte{}, Time: 4}, {Key: b("never"), Time: 5},
	}, Checkpoint(5)))
	require.NoError(t, e.Restore([]storage.Change{{Key: b("b"), Value: b("2"), Time: 6}}, Checkpoint(6)))
	assert.Equal(t, []Row{{"b", "2", 6}, {"c", "", 4}}, Rows(t, e, storage.Range{}))
	_, changes := cut(t, e)
	assert.Empty(t, changes)
	put(t, e, "b", "3")
	require.NoError(t, e.Undo())
	assert.Equal(t, "2", get(t, e, "b"))
}

func truncate(t *testing.T, s Store) {
	e := open(t, s)
	put(t, e, "a", "1")
	settle(t, e, 1)
	require.NoError(t, e.Flush(true))
	put(t, e, "b", "1")
	require.NoError(t, e.Truncate())
	_, ok := e.Checkpoint()
	assert.False(t, ok)
	assert.Empty(t, Rows(t, e, storage.Range{}))
	put(t, e, "c", "1")
	settle(t, e, 1)
	require.NoError(t, e.Flush(true))
	assert.Equal(t, "c", keys(t, e, storage.Range{}))
}

func growing(t *testing.T, s Store) {
	e := open(t, s)
	for round := range 3 {
		for _, n := range []int{0, 1, 7, 8, 100, 1024, 1025, 2047, 5000, 65536, 65537, 300_000, 9, 0} {
			v := strings.Repeat("x", n)
			put(t, e, "k", v, fmt.Sprint("k", n), v)
			require.Equal(t, v, get(t, e, "k"))
			if n%2 == round%2 {
				settle(t, e, 1)
			}
		}
		require.NoError(t, e.Undo())
	}
}

func putDeletedAgain(t *testing.T, s Store) {
	e := open(t, s)
	for i := range 100 {
		put(t, e, "a", fmt.Sprint(i), fmt.Sprint("b", i), "x")
		first, _ := cut(t, e)
		require.NoError(t, e.Delete([]byte("a"), 0))
		require.NoError(t, e.Delete(fmt.Append(nil, "b", i), 0))
		second, _ := cut(t, e)
		if i%3 == 0 {
			put(t, e, "a", "again")
			require.NoError(t, e.Delete([]byte("a"), 0))
		}
		third, _ := cut(t, e)
		e.Settle(first, Checkpoint(1))
		if i%2 == 0 {
			e.Settle(second, Checkpoint(2))
		}
		e.Settle(third, Checkpoint(3))
		require.Empty(t, Rows(t, e, storage.Range{}))
	}
}

func readersBesideOwner(t *testing.T, s Store) {
	e := s.Open(t)
	if _, ok := e.(storage.Snapshotter); !ok {
		require.NoError(t, e.Close(false))
		return
	}
	epochs := 300
	if s.Steps > 0 { // each step costs more
		epochs = max(20, s.Steps/8)
	}
	Transfers(t, e, epochs)
}
