package global

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millstream-go/millstream/internal/storage"
	"github.com/millstream-go/millstream/internal/storage/lsm"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engines are those that an App can have.
func engines(t testing.TB) map[string]storage.Engine {
	e, _, err := lsm.Open(lsm.Options{Path: filepath.Join(t.TempDir(), "s", "0"), NoSync: true, ReplayBytes: 4 << 10})
	require.NoError(t, err)
	m := memtable.New(nil)
	t.Cleanup(func() {
		require.NoError(t, e.Close(false))
		require.NoError(t, m.Close(false))
	})
	return map[string]storage.Engine{"memory": m, "bolt": e}
}

func share(t testing.TB, e storage.Engine) (*SharedStore, *writerView) {
	s, err := NewSharedStore("s", e)
	require.NoError(t, err)
	return s, newWriterView(s)
}

func commit(t testing.TB, o *writerView, offset int64) {
	epoch, err := o.Cut(func(storage.Change) error { return nil })
	require.NoError(t, err)
	o.Settle(epoch, storage.Checkpoint{Offset: offset, Offsets: []int64{offset}})
}

// Readers see each row as a whole, as it was at some time, while the writer writes, commits and
// flushes.
func TestSharedStore_ReadersBesideAWriter(t *testing.T) {
	for name, e := range engines(t) {
		t.Run(name, func(t *testing.T) {
			s, o := share(t, e)
			const keys, rounds = 50, 200
			row := func(round int) []byte {
				b := make([]byte, 8+round%300)
				binary.BigEndian.PutUint64(b, uint64(round))
				for i := 8; i < len(b); i++ {
					b[i] = byte(round)
				}
				return b
			}
			check := func(b []byte) int {
				round := int(binary.BigEndian.Uint64(b))
				assert.Equal(t, row(round), b)
				return round
			}
			var wg sync.WaitGroup
			done := make(chan struct{})
			for range 3 {
				wg.Go(func() {
					v := s.View()
					last := make([]int, keys)
					for i := 0; ; i++ {
						select {
						case <-done:
							return
						default:
						}
						k := i % keys
						b, _, ok, err := v.Get(fmt.Appendf(nil, "k%02d", k))
						if !assert.NoError(t, err) {
							return
						}
						if ok {
							round := check(b)
							assert.GreaterOrEqual(t, round, last[k], "a row goes back")
							last[k] = round
						}
						if i%500 == 0 {
							n := 0
							for e, err := range v.Scan(storage.Range{}) {
								assert.NoError(t, err)
								check(e.Value)
								n++
							}
							assert.LessOrEqual(t, n, keys)
						}
					}
				})
			}
			for round := range rounds {
				for k := range keys {
					require.NoError(t, o.Put(fmt.Appendf(nil, "k%02d", k), row(round), int64(round)))
				}
				commit(t, o, int64(round))
				if round%20 == 19 {
					require.NoError(t, o.Flush(true))
				}
			}
			close(done)
			wg.Wait()
			n, err := s.View().Len()
			require.NoError(t, err)
			assert.EqualValues(t, keys, n)
		})
	}
}

func TestSharedStore_WriterScanSeesItsWrites(t *testing.T) {
	for name, e := range engines(t) {
		t.Run(name, func(t *testing.T) {
			_, o := share(t, e)
			require.NoError(t, o.Put([]byte{}, []byte{}, 0))
			for i := range 100 {
				require.NoError(t, o.Put(fmt.Appendf(nil, "k%02d", i), []byte("v"), 0))
			}
			var got []string
			for e, err := range o.Scan(storage.Range{Backward: true}) {
				require.NoError(t, err)
				got = append(got, string(e.Key))
				switch string(e.Key) {
				case "k90":
					require.NoError(t, o.Delete([]byte("k89"), 0))
					require.NoError(t, o.Put([]byte("k88a"), []byte("new"), 0))
				case "k50":
					for i := range 50 {
						require.NoError(t, o.Delete(fmt.Appendf(nil, "k%02d", i), 0))
					}
				}
			}
			assert.Equal(t, []string{"k91", "k90", "k88a", "k88"}, got[8:12])
			assert.Equal(t, []string{"k51", "k50", ""}, got[len(got)-3:])
		})
	}
}

func TestSharedStore_EmptyValues(t *testing.T) {
	for name, e := range engines(t) {
		t.Run(name, func(t *testing.T) {
			s, o := share(t, e)
			require.NoError(t, o.Put([]byte{}, []byte{}, 7))
			for _, r := range []storage.Bytes{s.View(), o} {
				v, at, ok, err := r.Get([]byte{})
				require.NoError(t, err)
				assert.True(t, ok)
				assert.NotNil(t, v)
				assert.EqualValues(t, 7, at)
				for e, err := range r.Scan(storage.Range{}) {
					require.NoError(t, err)
					assert.NotNil(t, e.Key)
					assert.NotNil(t, e.Value)
				}
				v, _, ok, err = r.Get([]byte("none"))
				require.NoError(t, err)
				assert.False(t, ok)
				assert.Nil(t, v)
				_, _, _, err = r.Get(nil)
				require.ErrorIs(t, err, storage.ErrNilKey)
			}
		})
	}
}

func TestSharedStore_ReadAfterClose(t *testing.T) {
	s, o := share(t, memtable.New(nil))
	v := s.View()
	require.NotNil(t, s.Close())
	assert.Nil(t, s.Close())
	_, _, _, err := v.Get([]byte("k"))
	require.ErrorIs(t, err, ErrClosed)
	_, err = v.Len()
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, o.Put([]byte("k"), []byte("v"), 0), ErrClosed)
	require.ErrorIs(t, o.Delete([]byte("k"), 0), ErrClosed)
}

// BenchmarkSharedStore is what a look-up costs a task: of the engine alone, through a view, and
// beside others that do the same.
func BenchmarkSharedStore(b *testing.B) {
	const n = 1000 // in the processor's cache: what is measured is the way, not the memory
	key := make([]byte, 0, 16)
	fill := func(b *testing.B) (storage.Engine, *SharedStore, *writerView) {
		e := memtable.New(nil)
		b.Cleanup(func() { _ = e.Close(false) })
		s, o := share(b, e)
		value := make([]byte, 100)
		for i := range n {
			require.NoError(b, o.Put(fmt.Appendf(key[:0], "key%08d", i), value, 0))
		}
		commit(b, o, n)
		return e, s, o
	}
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key%08d", (i*7919)%n)
	}
	b.Run("engine", func(b *testing.B) {
		e, _, _ := fill(b)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_, _, _, _ = e.Get(keys[i%n])
		}
	})
	b.Run("view", func(b *testing.B) {
		_, s, _ := fill(b)
		v := s.View()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_, _, _, _ = v.Get(keys[i%n])
		}
	})
	b.Run("views of all processors", func(b *testing.B) {
		_, s, _ := fill(b)
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(p *testing.PB) {
			v := s.View()
			for i := 0; p.Next(); i++ {
				_, _, _, _ = v.Get(keys[i%n])
			}
		})
	})
	b.Run("view beside a writer", func(b *testing.B) {
		_, s, o := fill(b)
		done, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			value := make([]byte, 100)
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				_ = o.Put(keys[i%n], value, 0)
				if i%1000 == 999 {
					commit(b, o, int64(n+i))
				}
			}
		}()
		v := s.View()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_, _, _, _ = v.Get(keys[i%n])
		}
		close(done)
		<-ended
	})
}
