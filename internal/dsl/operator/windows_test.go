package operator_test

import (
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/dsl/operator"
	"github.com/millstream-go/millstream/internal/dsl/wire"
	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/retry"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
	"github.com/millstream-go/millstream/internal/storage/segmented"
	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/topology"
	"github.com/millstream-go/millstream/window"
)

var errBroken = errors.New("the disk is broken")

// fuse blows at one of the calls on a store.
type fuse struct{ left int }

func (f *fuse) blown() bool {
	f.left--
	return f.left == 0
}

// scanned ends a scan with an error if the fuse blows.
func (f *fuse) scanned(rows iter.Seq2[storage.WindowEntry, error]) iter.Seq2[storage.WindowEntry, error] {
	if f.blown() {
		return func(yield func(storage.WindowEntry, error) bool) { yield(storage.WindowEntry{}, errBroken) }
	}
	return rows
}

type brokenWindows struct {
	storage.WindowBytes
	*fuse
}

func (b brokenWindows) Get(key []byte, start int64) ([]byte, int64, bool, error) {
	if b.blown() {
		return nil, 0, false, errBroken
	}
	return b.WindowBytes.Get(key, start)
}

func (b brokenWindows) Put(key []byte, start int64, v []byte, at int64) (bool, error) {
	if b.blown() {
		return false, errBroken
	}
	return b.WindowBytes.Put(key, start, v, at)
}

func (b brokenWindows) Delete(key []byte, start, at int64) error {
	if b.blown() {
		return errBroken
	}
	return b.WindowBytes.Delete(key, start, at)
}

func (b brokenWindows) Fetch(key []byte, from, to int64, backward bool) iter.Seq2[storage.WindowEntry, error] {
	return b.scanned(b.WindowBytes.Fetch(key, from, to, backward))
}

func (b brokenWindows) ByTime(from, to int64) iter.Seq2[storage.WindowEntry, error] {
	return b.scanned(b.WindowBytes.ByTime(from, to))
}

type brokenSessions struct {
	storage.SessionBytes
	*fuse
}

func (b brokenSessions) Put(key []byte, start, end int64, v []byte, at int64) (bool, error) {
	if b.blown() {
		return false, errBroken
	}
	return b.SessionBytes.Put(key, start, end, v, at)
}

func (b brokenSessions) Delete(key []byte, start, end, at int64) error {
	if b.blown() {
		return errBroken
	}
	return b.SessionBytes.Delete(key, start, end, at)
}

func (b brokenSessions) Find(key []byte, endFrom, startTo int64, backward bool) iter.Seq2[storage.WindowEntry, error] {
	return b.scanned(b.SessionBytes.Find(key, endFrom, startTo, backward))
}

func (b brokenSessions) ByTime(from, to int64) iter.Seq2[storage.WindowEntry, error] {
	return b.scanned(b.SessionBytes.ByTime(from, to))
}

// windowStore opens a store that breaks at the n-th call on it; 0: it does not.
func windowStore(t *testing.T, kind graph.StoreKind, n int) (storage.WindowBytes, storage.SessionBytes) {
	t.Helper()
	s := &graph.Store{Name: "s", Kind: kind, Retention: time.Hour, Size: 10 * time.Millisecond, ByTime: true}
	e, err := segmented.Wrap(s, memtable.New(nil))
	require.NoError(t, err)
	h, err := segmented.Handle(s, e, func() int64 { return 0 })
	require.NoError(t, err)
	f := &fuse{n}
	return brokenWindows{h.Windows, f}, brokenSessions{h.Sessions, f}
}

type aggregation interface {
	Record(r topology.Record[string, string]) error
}

// aggregations make a concatenation in windows on a store that breaks, with texts written by v.
func aggregations(t *testing.T, n int, v serde.Serde[string], out wire.TableOutlet[window.Key[string], string]) map[string]aggregation {
	with := func(onClose bool) operator.Windowing[string, string, string] {
		now := int64(-1)
		return operator.Windowing[string, string, string]{
			Start: func() string { return "" }, Add: func(_, v, a string, _ bool) string { return a + v },
			Delete: func(_ window.Key[string], a string) bool { return len(a) > 3 },
			Old:    true, OnClose: onClose, Time: &now, CountLate: func() {}, Out: out,
		}
	}
	windows := func(onClose bool) operator.Windows[string, string, string] {
		w, _ := windowStore(t, graph.Window, n)
		rows, err := operator.OpenWindows("s", w, serde.Serde[string](serde.String), v, skip)
		require.NoError(t, err)
		return operator.Windows[string, string, string]{Windowing: with(onClose), Rows: rows, Size: 10}
	}
	sessions := func(onClose bool) aggregation {
		_, s := windowStore(t, graph.Session, n)
		rows, err := operator.OpenSessions("s", s, serde.Serde[string](serde.String), v, skip)
		require.NoError(t, err)
		return &operator.Sessions[string, string, string]{Windowing: with(onClose), Rows: rows, Gap: 5, Merge: func(_, a, b string) string { return a + b }}
	}
	return map[string]aggregation{
		"fixed": &operator.FixedWindows[string, string, string]{Windows: windows(false), Advance: 5}, "fixed on close": &operator.FixedWindows[string, string, string]{Windows: windows(true), Advance: 5},
		"sliding": operator.NewSlidingWindows(windows(false)), "sliding on close": operator.NewSlidingWindows(windows(true)),
		"sessions": sessions(false), "sessions on close": sessions(true),
	}
}

func windowRecord(v string, at int64) topology.Record[string, string] {
	return topology.Record[string, string]{Key: "a", Value: v, Time: time.UnixMilli(at)}
}

// TestWindows_ReturnEveryStoreError breaks the store at each call that a few records make.
func TestWindows_ReturnEveryStoreError(t *testing.T) {
	times := []int64{3, 5, 4, 13, 12, 21, 22, 40, 38, 60}
	for name := range aggregations(t, 0, serde.String, nil) {
		calls := 0
		for n := 1; ; n++ {
			a := aggregations(t, n, serde.String, func(wire.Change[window.Key[string], string]) error { return nil })[name]
			var failed []error
			for _, at := range times {
				if err := a.Record(windowRecord("v", at)); err != nil {
					failed = append(failed, err)
				}
			}
			if len(failed) == 0 {
				calls = n - 1
				break
			}
			require.Len(t, failed, 1, "%s, call %d", name, n)
			require.ErrorIs(t, failed[0], errBroken)
			assert.ErrorContains(t, failed[0], `store "s"`)
		}
		assert.Greater(t, calls, 2*len(times), name)
	}
}

// TestWindows_ReturnDownstreamErrorsUnchanged: they have been dealt with where they happened.
func TestWindows_ReturnDownstreamErrorsUnchanged(t *testing.T) {
	for name, a := range aggregations(t, 0, serde.String, func(wire.Change[window.Key[string], string]) error { return errBroken }) {
		var err error
		for at := int64(1); at < 100 && err == nil; at += 20 {
			err = a.Record(windowRecord("v", at))
		}
		assert.Equal(t, errBroken, err, name)
	}
}

func TestWindowRows_CannotBeWrittenOrRead(t *testing.T) {
	picky := serde.Func(func(d []byte, v string) ([]byte, error) {
		if v == "bad" {
			return nil, errBroken
		}
		return append(d, v...), nil
	}, func(b []byte) (string, error) {
		if string(b) == "odd" {
			return "", errBroken
		}
		return string(b), nil
	})
	none := func(wire.Change[window.Key[string], string]) error { return nil }
	for name, a := range aggregations(t, 0, picky, none) {
		require.ErrorIs(t, a.Record(windowRecord("bad", 50)), retry.ErrSkipped, "%s: the record cannot be stored", name)
		require.NoError(t, a.Record(windowRecord("odd", 50)), name)
		err := a.Record(windowRecord("v", 50))
		require.ErrorIs(t, err, errBroken, name)
		assert.NotErrorIs(t, err, retry.ErrSkipped, "%s: a row that does not decode is the store's failure", name)
	}
}

func TestWindowRows_Get(t *testing.T) {
	none := func(wire.Change[window.Key[string], string]) error { return nil }
	w, _ := windowStore(t, graph.Window, 0)
	rows, err := operator.OpenWindows("s", w, serde.Serde[string](serde.String), serde.Serde[string](serde.String), nil)
	require.NoError(t, err)
	now := int64(-1)
	fixed := &operator.FixedWindows[string, string, string]{Advance: 10, Windows: operator.Windows[string, string, string]{Rows: rows, Size: 10, Windowing: operator.Windowing[string, string, string]{
		Add: func(_, v, a string, _ bool) string { return a + v }, Time: &now, Out: none,
	}}}
	require.NoError(t, fixed.Record(windowRecord("x", 13)))
	key := func(start, end int64) window.Key[string] {
		return window.Key[string]{Key: "a", Start: time.UnixMilli(start), End: time.UnixMilli(end)}
	}
	v, at, ok, err := rows.Get(key(10, 20))
	require.NoError(t, err)
	assert.Equal(t, []any{"x", int64(13), true}, []any{v, at, ok})
	_, _, ok, err = rows.Get(key(0, 10))
	require.NoError(t, err)
	assert.False(t, ok)

	_, s := windowStore(t, graph.Session, 0)
	found, err := operator.OpenSessions("s", s, serde.Serde[string](serde.String), serde.Serde[string](serde.String), nil)
	require.NoError(t, err)
	now = -1
	sessions := &operator.Sessions[string, string, string]{Rows: found, Gap: 5, Windowing: fixed.Windowing, Merge: func(_, a, b string) string { return a + b }}
	require.NoError(t, sessions.Record(windowRecord("x", 13)))
	require.NoError(t, sessions.Record(windowRecord("y", 15)))
	v, at, ok, err = found.Get(key(13, 15))
	require.NoError(t, err)
	assert.Equal(t, []any{"xy", int64(15), true}, []any{v, at, ok})
	_, _, ok, err = found.Get(key(13, 13))
	require.NoError(t, err)
	assert.False(t, ok)
}

// TestWindows_EmitClosedAfterCrash: a process may die when the record that closes windows is in the
// changelog, and what it closed is not out.
func TestWindows_EmitClosedAfterCrash(t *testing.T) {
	w, _ := windowStore(t, graph.Window, 0)
	_, err := w.Put([]byte("a"), 0, []byte("1"), 3)
	require.NoError(t, err)
	_, err = w.Put([]byte("b"), 100_000_000, []byte("2"), 100_000_003)
	require.NoError(t, err)
	_, s := windowStore(t, graph.Session, 0)
	_, err = s.Put([]byte("a"), 3, 4, []byte("1"), 4)
	require.NoError(t, err)
	_, err = s.Put([]byte("b"), 100_000_003, 100_000_003, []byte("2"), 100_000_003)
	require.NoError(t, err)
	var sent []string
	with := func() operator.Windowing[string, string, string] {
		now := int64(4)
		return operator.Windowing[string, string, string]{
			Add: func(_, v, a string, _ bool) string { return a + v }, OnClose: true, Time: &now, CountLate: func() {},
			Out: func(c wire.Change[window.Key[string], string]) error {
				sent = append(sent, c.Key.Key+c.Value)
				return nil
			},
		}
	}
	rows, err := operator.OpenWindows("s", w, serde.Serde[string](serde.String), serde.Serde[string](serde.String), nil)
	require.NoError(t, err)
	found, err := operator.OpenSessions("s", s, serde.Serde[string](serde.String), serde.Serde[string](serde.String), nil)
	require.NoError(t, err)
	for _, a := range []aggregation{
		&operator.FixedWindows[string, string, string]{Advance: 10, Windows: operator.Windows[string, string, string]{Rows: rows, Size: 10, Windowing: with()}},
		&operator.Sessions[string, string, string]{Rows: found, Gap: 5, Windowing: with(), Merge: func(_, a, b string) string { return a + b }},
	} {
		r := windowRecord("2", 100_000_003)
		r.Key = "b"
		require.NoError(t, a.Record(r))
	}
	assert.Equal(t, []string{"a1", "a1"}, sent)
}
