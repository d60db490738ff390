package segmented

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

var someHeaders = storage.Headers{{Name: "trace", Value: []byte("1")}, {Name: "null"}, {Name: "empty", Value: []byte{}}, {Name: "trace", Value: []byte("2")}}

// open returns a store that keeps headers, and what operators see of it.
func openWithHeaders(t *testing.T, s graph.Store) (storage.Engine, storage.Handle) {
	t.Helper()
	s.KeepHeaders, s.Retention = true, time.Hour
	e, err := Wrap(&s, memtable.New(nil))
	require.NoError(t, err)
	h, err := Handle(&s, e, func() int64 { return 7 })
	require.NoError(t, err)
	return e, h
}

// kind is a kind of store, with what is put and read in each test.
type kind struct {
	name  string
	store graph.Store
	put   func(h storage.Handle, key string, value []byte) error
	get   func(h storage.Handle, key string) ([]byte, bool, error)
	scan  func(h storage.Handle, yield func(value []byte, h storage.Headers))
}

func kinds(t *testing.T) []kind {
	key := func(k string) []byte { return []byte(k) }
	windows := func(rows func(func(storage.WindowEntry, error) bool), yield func([]byte, storage.Headers)) {
		for e, err := range rows {
			require.NoError(t, err)
			yield(e.Value, e.Headers)
		}
	}
	entries := func(rows func(func(storage.Entry, error) bool), yield func([]byte, storage.Headers)) {
		for e, err := range rows {
			require.NoError(t, err)
			yield(e.Value, e.Headers)
		}
	}
	return []kind{
		{
			"key-value", graph.Store{Name: "s", Kind: graph.Timestamped},
			func(h storage.Handle, k string, v []byte) error { return h.Bytes.Put(key(k), v, 10) },
			func(h storage.Handle, k string) ([]byte, bool, error) {
				v, _, ok, err := h.Bytes.Get(key(k))
				return v, ok, err
			},
			func(h storage.Handle, yield func([]byte, storage.Headers)) {
				entries(h.Bytes.Scan(storage.Range{}), yield)
			},
		},
		{
			"window", graph.Store{Name: "s", Kind: graph.Window, Size: time.Minute, ByTime: true},
			func(h storage.Handle, k string, v []byte) error {
				_, err := h.Windows.Put(key(k), 10, v, 10)
				return err
			},
			func(h storage.Handle, k string) ([]byte, bool, error) {
				v, _, ok, err := h.Windows.Get(key(k), 10)
				return v, ok, err
			},
			func(h storage.Handle, yield func([]byte, storage.Headers)) {
				windows(h.Windows.All(storage.Range{}, 0, 99), yield)
				n := 0
				windows(h.Windows.ByTime(0, 99), func(v []byte, h storage.Headers) { n++ })
				windows(h.Windows.Fetch(key("k"), 0, 99, true), func(v []byte, h storage.Headers) { assert.Equal(t, someHeaders, h) })
				assert.Equal(t, 2, n)
			},
		},
		{
			"session", graph.Store{Name: "s", Kind: graph.Session, ByTime: true},
			func(h storage.Handle, k string, v []byte) error {
				_, err := h.Sessions.Put(key(k), 5, 10, v, 10)
				return err
			},
			func(h storage.Handle, k string) ([]byte, bool, error) { return h.Sessions.Get(key(k), 5, 10) },
			func(h storage.Handle, yield func([]byte, storage.Headers)) {
				windows(h.Sessions.All(storage.Range{}, 0, 99), yield)
				windows(h.Sessions.Find(key("k"), 0, 99, false), func(v []byte, h storage.Headers) { assert.Equal(t, someHeaders, h) })
				n := 0
				windows(h.Sessions.ByTime(0, 99), func(v []byte, h storage.Headers) { n++ })
				assert.Equal(t, 2, n)
			},
		},
		{
			"versioned", graph.Store{Name: "s", Kind: graph.Versioned},
			func(h storage.Handle, k string, v []byte) error {
				_, _, err := h.Versions.Put(key(k), v, 10)
				return err
			},
			func(h storage.Handle, k string) ([]byte, bool, error) {
				v, ok, err := h.Versions.AsOf(key(k), 11)
				return v.Value, ok, err
			},
			func(h storage.Handle, yield func([]byte, storage.Headers)) {
				entries(h.Versions.Latest(), yield)
				for v, err := range h.Versions.History(key("k"), 0, 99, false) {
					require.NoError(t, err)
					assert.Equal(t, someHeaders, v.Headers)
				}
			},
		},
	}
}

func TestKeepHeaders_AllKindsOfStores(t *testing.T) {
	for _, k := range kinds(t) {
		t.Run(k.name, func(t *testing.T) {
			e, h := openWithHeaders(t, k.store)
			keeper := headerStoreOf(h)
			keeper.SetHeaders(someHeaders)
			require.NoError(t, k.put(h, "k", []byte("v")))
			keeper.SetHeaders(nil)
			require.NoError(t, k.put(h, "l", []byte{}))
			check := func(h storage.Handle) {
				v, ok, err := k.get(h, "k")
				require.NoError(t, err)
				assert.True(t, ok)
				assert.Equal(t, []byte("v"), v)
				got, err := headerStoreOf(h).LastHeaders()
				require.NoError(t, err)
				assert.Equal(t, someHeaders, got)
				v, ok, err = k.get(h, "l")
				require.NoError(t, err)
				assert.True(t, ok && v != nil && len(v) == 0, "an empty value is a value")
				got, err = headerStoreOf(h).LastHeaders()
				require.NoError(t, err)
				assert.Nil(t, got)
				n := 0
				k.scan(h, func(v []byte, h storage.Headers) {
					if n++; len(v) > 0 {
						assert.Equal(t, someHeaders, h)
					}
				})
				assert.Equal(t, 2, n)
			}
			check(h)

			var log []storage.Change
			epoch, err := e.Cut(func(c storage.Change) error {
				log = append(log, storage.Change{Key: bytes.Clone(c.Key), Value: append([]byte{}, c.Value...), Time: c.Time, Headers: c.Headers})
				return nil
			})
			require.NoError(t, err)
			e.Settle(epoch, storage.Checkpoint{})
			require.Len(t, log, 2)
			for _, c := range log {
				if len(c.Value) > 0 {
					assert.Equal(t, "v", string(c.Value), "the changelog has it plain")
					assert.Equal(t, someHeaders, c.Headers)
				} else {
					assert.Empty(t, c.Headers)
				}
			}
			l := e.(interface {
				ChangelogRows([]byte, int64, func(storage.Change) error) error
			})
			for _, c := range log {
				require.NoError(t, l.ChangelogRows(c.Key, 99, func(again storage.Change) error {
					assert.Equal(t, c.Headers, again.Headers)
					assert.Equal(t, string(c.Value), string(again.Value))
					return nil
				}))
			}
			other, restored := openWithHeaders(t, k.store)
			require.NoError(t, other.Restore(log, storage.Checkpoint{Offset: 2}))
			check(restored)
		})
	}
}

func headerStoreOf(h storage.Handle) storage.HeaderStore {
	for _, b := range []any{h.Bytes, h.Windows, h.Sessions, h.Versions} {
		if k, ok := b.(storage.HeaderStore); ok {
			return k
		}
	}
	return nil
}

func TestKeepHeaders_RowWithoutHeadersIsAnError(t *testing.T) {
	for _, b := range [][]byte{nil, {9}, {0xff}, {2, 5, 'a'}, {3, 1, 'a', 9}, {2, 1, 'a'}} {
		_, _, err := splitHeadersOf(b)
		require.ErrorIs(t, err, errHeaders, "%x", b)
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add(appendHeaders(nil, someHeaders))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		value, h, err := splitHeadersOf(b)
		if err != nil {
			return
		}
		again, h2, err := splitHeadersOf(append(appendHeaders(nil, h), value...))
		require.NoError(t, err)
		assert.Equal(t, h, h2)
		assert.Equal(t, value, again)
	})
}
