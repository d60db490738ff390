package segmented

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/internal/graph"
	"github.com/millstream-go/millstream/internal/storage/memtable"
)

// BenchmarkKeepHeaders is a read and a write of a row with and without headers.
func BenchmarkKeepHeaders(b *testing.B) {
	for name, keepHeaders := range map[string]bool{"none": false, "headers": true} {
		b.Run(name, func(b *testing.B) {
			update := updating(b, keepHeaders)
			b.ReportAllocs()
			for b.Loop() {
				update()
			}
		})
	}
}

func TestKeepHeaders_DoesNotAllocate(t *testing.T) {
	update := updating(t, true)
	update()
	assert.Zero(t, testing.AllocsPerRun(100, update))
}

// updating returns what reads a row and writes it.
func updating(t testing.TB, keepHeaders bool) func() {
	s := graph.Store{Name: "s", KeepHeaders: keepHeaders}
	e, err := Wrap(&s, memtable.New(nil))
	require.NoError(t, err)
	h, err := Handle(&s, e, func() int64 { return 0 })
	require.NoError(t, err)
	key, value := []byte("some-key"), make([]byte, 100)
	return func() {
		if keepHeaders {
			headerStoreOf(h).SetHeaders(someHeaders)
		}
		if _, _, _, err := h.Bytes.Get(key); err != nil {
			t.Fatal(err)
		}
		if err := h.Bytes.Put(key, value, 1); err != nil {
			t.Fatal(err)
		}
	}
}
