package layout

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
)

var some = store.Headers{{Name: "trace", Value: []byte("1")}, {Name: "null"}, {Name: "empty", Value: []byte{}}, {Name: "trace", Value: []byte("2")}}

// open returns a store that keeps headers, and what operators see of it.
func openHeaded(t *testing.T, s graph.Store) (store.Engine, store.Handle) {
	t.Helper()
	s.KeepHeaders, s.Retention = true, time.Hour
	e, err := Wrap(&s, memory.New(nil))
	require.NoError(t, err)
	h, err := Handle(&s, e, func() int64 { return 7 })
	require.NoError(t, err)
	return e, h
}

// kind is a kind of store, with what is put and read in each test.
type kind struct {
	name  string
	store graph.Store
	put   func(h store.Handle, key string, value []byte) error
	get   func(h store.Handle, key string) ([]byte, bool, error)
	scan  func(h store.Handle, yield func(value []byte, h store.Headers))
}

func kinds(t *testing.T) []kind {
	key := func(k string) []byte { return []byte(k) }
	windows := func(rows func(func(store.WindowEntry, error) bool), yield func([]byte, store.Headers)) {
		for e, err := range rows {
			require.NoError(t, err)
			yield(e.Value, e.Headers)
		}
	}
	entries := func(rows func(func(store.Entry, error) bool), yield func([]byte, store.Headers)) {
		for e, err := range rows {
			require.NoError(t, err)
			yield(e.Value, e.Headers)
		}
	}
	return []kind{
		{
			"key-value", graph.Store{Name: "s", Kind: graph.Timestamped},
			func(h store.Handle, k string, v []byte) error { return h.Bytes.Put(key(k), v, 10) },
			func(h store.Handle, k string) ([]byte, bool, error) {
				v, _, ok, err := h.Bytes.Get(key(k))
				return v, ok, err
			},
			func(h store.Handle, yield func([]byte, store.Headers)) { entries(h.Bytes.Scan(store.Range{}), yield) },
		},
		{
			"window", graph.Store{Name: "s", Kind: graph.Window, Size: time.Minute, ByTime: true},
			func(h store.Handle, k string, v []byte) error {
				_, err := h.Windows.Put(key(k), 10, v, 10)
				return err
			},
			func(h store.Handle, k string) ([]byte, bool, error) {
				v, _, ok, err := h.Windows.Get(key(k), 10)
				return v, ok, err
			},
			func(h store.Handle, yield func([]byte, store.Headers)) {
				windows(h.Windows.All(0, 99), yield)
				n := 0
				windows(h.Windows.ByTime(0, 99), func(v []byte, h store.Headers) { n++ })
				windows(h.Windows.Fetch(key("k"), 0, 99, true), func(v []byte, h store.Headers) { assert.Equal(t, some, h) })
				assert.Equal(t, 2, n)
			},
		},
		{
			"session", graph.Store{Name: "s", Kind: graph.Session, ByTime: true},
			func(h store.Handle, k string, v []byte) error {
				_, err := h.Sessions.Put(key(k), 5, 10, v, 10)
				return err
			},
			func(h store.Handle, k string) ([]byte, bool, error) { return h.Sessions.Get(key(k), 5, 10) },
			func(h store.Handle, yield func([]byte, store.Headers)) {
				windows(h.Sessions.All(0, 99), yield)
				windows(h.Sessions.Find(key("k"), 0, 99, false), func(v []byte, h store.Headers) { assert.Equal(t, some, h) })
				n := 0
				windows(h.Sessions.ByTime(0, 99), func(v []byte, h store.Headers) { n++ })
				assert.Equal(t, 2, n)
			},
		},
		{
			"versioned", graph.Store{Name: "s", Kind: graph.Versioned},
			func(h store.Handle, k string, v []byte) error {
				_, _, err := h.Versions.Put(key(k), v, 10)
				return err
			},
			func(h store.Handle, k string) ([]byte, bool, error) {
				v, ok, err := h.Versions.AsOf(key(k), 11)
				return v.Value, ok, err
			},
			func(h store.Handle, yield func([]byte, store.Headers)) {
				entries(h.Versions.Latest(), yield)
				for v, err := range h.Versions.History(key("k"), 0, 99, false) {
					require.NoError(t, err)
					assert.Equal(t, some, v.Headers)
				}
			},
		},
	}
}

func TestHeadersAreKeptApartFromValues(t *testing.T) {
	for _, k := range kinds(t) {
		t.Run(k.name, func(t *testing.T) {
			e, h := openHeaded(t, k.store)
			keeper := keeperOf(h)
			keeper.Keep(some)
			require.NoError(t, k.put(h, "k", []byte("v")))
			keeper.Keep(nil)
			require.NoError(t, k.put(h, "l", []byte{}))
			check := func(h store.Handle) {
				v, ok, err := k.get(h, "k")
				require.NoError(t, err)
				assert.True(t, ok)
				assert.Equal(t, []byte("v"), v)
				got, err := keeperOf(h).Kept()
				require.NoError(t, err)
				assert.Equal(t, some, got)
				v, ok, err = k.get(h, "l")
				require.NoError(t, err)
				assert.True(t, ok && v != nil && len(v) == 0, "an empty value is a value")
				got, err = keeperOf(h).Kept()
				require.NoError(t, err)
				assert.Nil(t, got)
				n := 0
				k.scan(h, func(v []byte, h store.Headers) {
					if n++; len(v) > 0 {
						assert.Equal(t, some, h)
					}
				})
				assert.Equal(t, 2, n)
			}
			check(h)

			var log []store.Change
			epoch, err := e.Cut(func(c store.Change) error {
				log = append(log, store.Change{Key: bytes.Clone(c.Key), Value: append([]byte{}, c.Value...), Time: c.Time, Headers: c.Headers})
				return nil
			})
			require.NoError(t, err)
			e.Settle(epoch, store.Checkpoint{})
			require.Len(t, log, 2)
			for _, c := range log {
				if len(c.Value) > 0 {
					assert.Equal(t, "v", string(c.Value), "the changelog has it plain")
					assert.Equal(t, some, c.Headers)
				} else {
					assert.Empty(t, c.Headers)
				}
			}
			l := e.(interface {
				Logged([]byte, int64, func(store.Change) error) error
			})
			for _, c := range log {
				require.NoError(t, l.Logged(c.Key, 99, func(again store.Change) error {
					assert.Equal(t, c.Headers, again.Headers)
					assert.Equal(t, string(c.Value), string(again.Value))
					return nil
				}))
			}
			other, restored := openHeaded(t, k.store)
			require.NoError(t, other.Restore(log, store.Checkpoint{Offset: 2}))
			check(restored)
		})
	}
}

func keeperOf(h store.Handle) store.HeaderKeeper {
	for _, b := range []any{h.Bytes, h.Windows, h.Sessions, h.Versions} {
		if k, ok := b.(store.HeaderKeeper); ok {
			return k
		}
	}
	return nil
}

func TestARowWithoutItsHeadersIsAnError(t *testing.T) {
	for _, b := range [][]byte{nil, {9}, {0xff}, {2, 5, 'a'}, {3, 1, 'a', 9}, {2, 1, 'a'}} {
		_, _, err := part(b)
		require.ErrorIs(t, err, errHeaders, "%x", b)
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add(appendHeaders(nil, some))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		value, h, err := part(b)
		if err != nil {
			return
		}
		again, h2, err := part(append(appendHeaders(nil, h), value...))
		require.NoError(t, err)
		assert.Equal(t, h, h2)
		assert.Equal(t, value, again)
	})
}
